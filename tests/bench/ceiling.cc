// Measures how fast a FUSE file can be on this machine, with the session settings of peelfs and no
// work behind them.
//
//   peelfs_bench_ceiling constant SIZE MOUNTPOINT    every read is answered from one buffer that
//                                                    never changes: nobody reads anything
//   peelfs_bench_ceiling pread FILE MOUNTPOINT       pread into a buffer, and reply: what everyone
//                                                    writes first. Writes are pwrite.
//
// The mount holds one file, "disk". Runs in the foreground until it is unmounted or gets a signal.
#define FUSE_USE_VERSION 314

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

namespace {

// As in fusefs/mount: preflight.h, session.cc and operations.cc.
constexpr unsigned max_read_size = 1U << 20U;
constexpr unsigned threads_at_least = 16, threads_at_most = 64;
constexpr fuse_ino_t root_inode = 1, file_inode = 2;
constexpr double forever = 1e6;

struct Served {
  int descriptor = -1;  ///< -1: the constant buffer
  off_t size = 0;
};
Served served;

char* thread_buffer() {
  thread_local void* const memory =
      ::mmap(nullptr, max_read_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}

const char* constant_buffer() {
  static const char* const memory = [] {
    char* const pages = static_cast<char*>(
        ::mmap(nullptr, max_read_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (pages == MAP_FAILED) std::abort();
    std::memset(pages, 0x5A, max_read_size);
    return pages;
  }();
  return memory;
}

struct stat attributes(fuse_ino_t inode) {
  struct stat status {};
  status.st_ino = inode;
  status.st_uid = ::getuid();
  status.st_gid = ::getgid();
  status.st_mode = inode == root_inode ? S_IFDIR | 0755 : S_IFREG | 0600;
  status.st_nlink = inode == root_inode ? 2 : 1;
  status.st_size = inode == root_inode ? 0 : served.size;
  status.st_blocks = status.st_size / 512;
  return status;
}

void op_init(void*, fuse_conn_info* conn) {
  conn->max_read = max_read_size;
  conn->max_write = max_read_size;
  conn->max_readahead = std::max(conn->max_readahead, max_read_size);
  conn->max_background = 64;
  conn->congestion_threshold = 48;
  const unsigned unwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                            FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE;
  const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS;
  conn->want = (conn->want & ~unwanted) | (conn->capable & wanted);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  if (parent != root_inode || std::strcmp(name, "disk") != 0) {
    fuse_reply_err(req, ENOENT);
    return;
  }
  fuse_entry_param entry{};
  entry.ino = file_inode;
  entry.attr = attributes(file_inode);
  entry.attr_timeout = entry.entry_timeout = forever;
  fuse_reply_entry(req, &entry);
}

void op_getattr(fuse_req_t req, fuse_ino_t inode, fuse_file_info*) {
  const struct stat status = attributes(inode);
  fuse_reply_attr(req, &status, forever);
}

void op_open(fuse_req_t req, fuse_ino_t inode, fuse_file_info* info) {
  if (inode != file_inode) {
    fuse_reply_err(req, EISDIR);
    return;
  }
  info->keep_cache = 1;
  info->noflush = 1;
  fuse_reply_open(req, info);
}

void op_read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  size = std::min<size_t>(size, max_read_size);
  if (served.descriptor < 0) {
    const off_t left = std::max<off_t>(served.size - offset, 0);
    fuse_reply_buf(req, constant_buffer(), std::min(size, static_cast<size_t>(left)));
    return;
  }
  char* const buffer = thread_buffer();
  const ssize_t got = buffer == nullptr ? -1 : ::pread(served.descriptor, buffer, size, offset);
  if (got < 0) {
    fuse_reply_err(req, EIO);
    return;
  }
  fuse_reply_buf(req, buffer, static_cast<size_t>(got));
}

void op_write(fuse_req_t req, fuse_ino_t, const char* data, size_t size, off_t offset,
              fuse_file_info*) {
  if (served.descriptor < 0) {
    fuse_reply_write(req, size);
    return;
  }
  const ssize_t put = ::pwrite(served.descriptor, data, size, offset);
  if (put < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_write(req, static_cast<size_t>(put));
}

void op_fsync(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
  fuse_reply_err(req, served.descriptor >= 0 && ::fdatasync(served.descriptor) != 0 ? errno : 0);
}

/// As peelfs does it: only root may.
void widen_read_ahead(const char* mountpoint) {
  struct stat status {};
  if (::geteuid() != 0 || ::stat(mountpoint, &status) != 0) return;
  std::ofstream file("/sys/class/bdi/" + std::to_string(major(status.st_dev)) + ":" +
                     std::to_string(minor(status.st_dev)) + "/read_ahead_kb");
  file << max_read_size / 1024 << std::flush;
}

/// @return false: it cannot be served
bool open_served(const std::string& kind, const char* what) {
  if (kind == "constant") {
    served.size = static_cast<off_t>(std::stoull(what));
    return served.size > 0;
  }
  served.descriptor = ::open(what, O_RDWR | O_CLOEXEC);
  struct stat status {};
  if (kind != "pread" || served.descriptor < 0 || ::fstat(served.descriptor, &status) != 0) {
    std::perror(what);
    return false;
  }
  served.size = status.st_size;
  return true;
}

int serve(const char* mountpoint) {
  fuse_lowlevel_ops operations{};
  operations.init = op_init;
  operations.lookup = op_lookup;
  operations.getattr = op_getattr;
  operations.open = op_open;
  operations.read = op_read;
  operations.write = op_write;
  operations.fsync = op_fsync;
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  const std::string max_read = "max_read=" + std::to_string(max_read_size);
  for (const char* argument : {"peelfs_bench_ceiling", "-o", max_read.c_str()}) {
    fuse_opt_add_arg(&arguments, argument);
  }
  fuse_session* const session =
      fuse_session_new(&arguments, &operations, sizeof(operations), nullptr);
  if (session == nullptr || fuse_set_signal_handlers(session) != 0 ||
      fuse_session_mount(session, mountpoint) != 0) {
    return EXIT_FAILURE;
  }
  // The kernel asks for the root's attributes, which the loop must answer.
  std::jthread widener([mountpoint] { widen_read_ahead(mountpoint); });
  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, std::clamp(2 * std::thread::hardware_concurrency(),
                                                   threads_at_least, threads_at_most));
  const int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_session_unmount(session);
  fuse_remove_signal_handlers(session);
  fuse_session_destroy(session);
  fuse_opt_free_args(&arguments);
  return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count == 4 && open_served(arguments[1], arguments[2])) {
      return serve(arguments[3]);
    }
  } catch (const std::exception&) {
    // A size that is no number: what is expected follows.
  }
  std::fprintf(stderr,
               "usage: peelfs_bench_ceiling constant SIZE MOUNTPOINT\n"
               "       peelfs_bench_ceiling pread FILE MOUNTPOINT\n");
  return EXIT_FAILURE;
}
