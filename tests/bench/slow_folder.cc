// Shows the files of a folder, each read of which takes as long as one says: a disk that has to
// seek, or a storage behind a network.
//
//   peelfs_bench_slow_folder FOLDER MICROSECONDS MOUNTPOINT
//
// Reads go past the page cache of the mount, so that each one of the reader's is one here. Runs in
// the foreground until it is unmounted or gets a signal, and prints then how many reads there were.
#define FUSE_USE_VERSION 314

#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

std::string folder;
std::chrono::microseconds delay;
std::atomic<unsigned long> reads{0};

std::string below(const char* path) {
  return folder + path;
}

void* op_init(fuse_conn_info*, fuse_config* config) {
  config->kernel_cache = 0;
  return nullptr;
}

int op_getattr(const char* path, struct stat* status, fuse_file_info*) {
  return ::lstat(below(path).c_str(), status) == 0 ? 0 : -errno;
}

int op_readdir(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
               fuse_readdir_flags) {
  DIR* const open = ::opendir(below(path).c_str());
  if (open == nullptr) return -errno;
  while (const dirent* const entry = ::readdir(open)) {
    fill(buffer, entry->d_name, nullptr, 0, fuse_fill_dir_flags{});
  }
  ::closedir(open);
  return 0;
}

int op_open(const char* path, fuse_file_info* info) {
  if ((info->flags & O_ACCMODE) != O_RDONLY) return -EROFS;
  const int descriptor = ::open(below(path).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return -errno;
  info->fh = static_cast<std::uint64_t>(descriptor);
  info->direct_io = 1;
  return 0;
}

int op_read(const char*, char* buffer, std::size_t size, off_t offset, fuse_file_info* info) {
  ++reads;
  std::this_thread::sleep_for(delay);
  const ssize_t got = ::pread(static_cast<int>(info->fh), buffer, size, offset);
  return got < 0 ? -errno : static_cast<int>(got);
}

int op_release(const char*, fuse_file_info* info) {
  ::close(static_cast<int>(info->fh));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s FOLDER MICROSECONDS MOUNTPOINT\n", argv[0]);
    return 2;
  }
  folder = argv[1];
  delay = std::chrono::microseconds(std::atol(argv[2]));
  fuse_operations operations{};
  operations.init = op_init;
  operations.getattr = op_getattr;
  operations.readdir = op_readdir;
  operations.open = op_open;
  operations.read = op_read;
  operations.release = op_release;
  std::string name = argv[0], foreground = "-f", option = "-omax_threads=64";
  char* arguments[] = {name.data(), foreground.data(), option.data(), argv[3], nullptr};
  const int result = fuse_main(4, arguments, &operations, nullptr);
  std::printf("%lu reads\n", reads.load());
  return result;
}
