// LD_PRELOADed into a process: logs every system call that changes a file below one directory.
//
// A call and its record are one step under a lock, so the log's order is the order of effects. A
// sync is logged when it has returned, with the log's position when it began: what came between is
// not durable by it.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "writing/cut/log.h"

using peelfs::test::Record;
using peelfs::test::RecordHeader;

namespace {

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/// What is known of each descriptor: its inode, when its file is below the directory.
constexpr ino_t unknown = 0;
constexpr ino_t elsewhere = 1;
std::array<std::atomic<ino_t>, 65536> inodes;

class Locked {
 public:
  Locked() { pthread_mutex_lock(&mutex); }
  ~Locked() { pthread_mutex_unlock(&mutex); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
};

/// The log, or -1 when this process is not recorded.
int log_fd() {
  static const int fd = [] {
    const char* const path = std::getenv(peelfs::test::record_log);
    if (path == nullptr) return -1;
    const long opened = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    // Out of the way of programs that close or dup2 low numbers.
    const long moved = syscall(SYS_fcntl, opened, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, opened);
    return static_cast<int>(moved);
  }();
  return fd;
}

[[noreturn]] void die(const char* why) {
  dprintf(2, "record_syscalls: %s: %s\n", why, std::strerror(errno));
  _exit(99);
}

void append(RecordHeader header, const iovec* data, int count, std::size_t length) {
  if (log_fd() < 0) return;
  header.data_length = length;
  std::array<iovec, 1025> parts{};
  parts[0] = {&header, sizeof(header)};
  int used = 1;
  for (int i = 0; i < count && length != 0; ++i) {
    const std::size_t part = data[i].iov_len < length ? data[i].iov_len : length;
    if (part == 0) continue;
    parts.at(static_cast<std::size_t>(used++)) = {data[i].iov_base, part};
    length -= part;
  }
  std::size_t all = sizeof(header) + header.data_length;
  if (syscall(SYS_writev, log_fd(), parts.data(), used) != static_cast<long>(all)) {
    die("the log cannot be written");
  }
}

void append_text(RecordHeader header, const char* text, std::size_t length) {
  const iovec data{const_cast<char*>(text), length};
  append(header, &data, 1, length);
}

std::uint64_t log_position() {
  return static_cast<std::uint64_t>(syscall(SYS_lseek, log_fd(), 0, SEEK_END));
}

/// @return the path below the recorded directory ("" is the directory itself), or null
const char* below_or_same(const char* path) {
  static const char* const directory = std::getenv(peelfs::test::record_directory);
  if (directory == nullptr) return nullptr;
  const std::size_t length = std::strlen(directory);
  if (std::strncmp(path, directory, length) != 0) return nullptr;
  if (path[length] == '\0') return path + length;
  return path[length] == '/' ? path + length + 1 : nullptr;
}

/// @return the path below the recorded directory, or null
const char* below(const char* path) {
  const char* const name = below_or_same(path);
  return name == nullptr || *name == '\0' ? nullptr : name;
}

using Path = std::array<char, 4096>;

/// What a descriptor was opened as; "" when that cannot be told.
Path path_of(int fd) {
  std::array<char, 64> link{};
  Path path{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  if (readlink(link.data(), path.data(), path.size() - 1) <= 0) path[0] = '\0';
  return path;
}

bool is_recorded_directory(int fd) {
  struct stat status {};
  if (log_fd() < 0 || fstat(fd, &status) != 0 || !S_ISDIR(status.st_mode)) return false;
  const Path path = path_of(fd);
  return below_or_same(path.data()) != nullptr;
}

void set_inode(int fd, ino_t inode) {
  if (fd >= 0 && static_cast<std::size_t>(fd) < inodes.size()) {
    inodes[static_cast<std::size_t>(fd)] = inode;
  }
}

/// Finds out what a descriptor is, and logs that it was opened if it is one of ours.
ino_t look_at(int fd, int flags) {
  const int kept = errno;
  const Path path = path_of(fd);
  const char* const name = below(path.data());
  struct stat status {};
  const bool tracked = name != nullptr && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  set_inode(fd, tracked ? status.st_ino : elsewhere);
  if (tracked) {
    const Locked lock;
    append_text({.kind = Record::open,
                 .file = status.st_ino,
                 .argument = static_cast<std::uint64_t>(flags)},
                name, std::strlen(name));
    if ((flags & O_TRUNC) != 0) {
      append({.kind = Record::truncate, .file = status.st_ino}, nullptr, 0, 0);
    }
  }
  errno = kept;
  return tracked ? status.st_ino : elsewhere;
}

/// The inode of a file of ours, or 0. What came by other ways than open() is looked at when it is
/// first used.
ino_t inode_of(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= inodes.size() || log_fd() < 0) return 0;
  ino_t inode = inodes[static_cast<std::size_t>(fd)].load();
  if (inode == unknown) inode = look_at(fd, static_cast<int>(syscall(SYS_fcntl, fd, F_GETFL)));
  return inode == elsewhere ? 0 : inode;
}

int opened(int fd, int flags) {
  if (fd >= 0 && log_fd() >= 0) look_at(fd, flags);
  return fd;
}

/// Does a call that stores `parts` at `offset`, and logs as much as was stored.
template <typename Call>
ssize_t storing(int fd, const iovec* parts, int count, off_t offset, const Call& call) {
  const ino_t inode = inode_of(fd);
  if (inode == 0) return call();
  const Locked lock;
  const ssize_t put = call();
  if (put > 0) {
    const int kept = errno;
    append({.kind = Record::write,
            .file = inode,
            .offset = static_cast<std::uint64_t>(offset),
            .length = static_cast<std::uint64_t>(put)},
           parts, count, static_cast<std::size_t>(put));
    errno = kept;
  }
  return put;
}

/// For calls that go by the file position: where they will store.
off_t position_of(int fd) {
  const int flags = static_cast<int>(syscall(SYS_fcntl, fd, F_GETFL));
  struct stat status {};
  if ((flags & O_APPEND) != 0 && fstat(fd, &status) == 0) return status.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

template <typename Call>
int changing(int fd, RecordHeader header, const Call& call) {
  header.file = inode_of(fd);
  if (header.file == 0) return call();
  const Locked lock;
  const int result = call();
  if (result == 0) append(header, nullptr, 0, 0);
  return result;
}

template <typename Call>
int syncing(int fd, const Call& call) {
  const ino_t inode = inode_of(fd);
  const bool names = inode == 0 && is_recorded_directory(fd);
  if (inode == 0 && !names) return call();
  std::uint64_t begin = 0;
  {
    const Locked lock;
    begin = log_position();
  }
  const int result = call();
  const int kept = errno;
  if (result == 0) {
    const Locked lock;
    append({.kind = names ? Record::sync_names : Record::sync, .file = inode, .offset = begin},
           nullptr, 0, 0);
  }
  errno = kept;
  return result;
}

void unrecordable(const char* what) {
  const Locked lock;
  append_text({.kind = Record::unrecordable}, what, std::strlen(what));
}

/// A path as the log has it; null when it is not below the directory.
const char* path_below(int directory, const char* path, std::array<char, 8192>& buffer) {
  if (path[0] == '/') return below(path);
  std::array<char, 64> link{};
  if (directory == AT_FDCWD) {
    std::snprintf(link.data(), link.size(), "/proc/self/cwd");
  } else {
    std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", directory);
  }
  const ssize_t got = readlink(link.data(), buffer.data(), 4096);
  if (got <= 0) return nullptr;
  std::snprintf(buffer.data() + got, 4096, "/%s", path);
  return below(buffer.data());
}

int renaming(int from_directory, const char* from, int to_directory, const char* to,
             unsigned flags) {
  const Locked lock;
  const long result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
  if (result != 0 || log_fd() < 0) return static_cast<int>(result);
  std::array<char, 8192> first{};
  std::array<char, 8192> second{};
  const char* const old_name = path_below(from_directory, from, first);
  const char* const new_name = path_below(to_directory, to, second);
  if (old_name == nullptr || new_name == nullptr) return 0;
  const std::array<iovec, 2> names{iovec{const_cast<char*>(old_name), std::strlen(old_name) + 1},
                                   iovec{const_cast<char*>(new_name), std::strlen(new_name)}};
  append({.kind = Record::rename}, names.data(), 2, names[0].iov_len + names[1].iov_len);
  return 0;
}

int unlinking(int directory, const char* path, int flags) {
  const Locked lock;
  const long result = syscall(SYS_unlinkat, directory, path, flags);
  if (result != 0 || log_fd() < 0) return static_cast<int>(result);
  std::array<char, 8192> buffer{};
  const char* const name = path_below(directory, path, buffer);
  if (name != nullptr) append_text({.kind = Record::unlink}, name, std::strlen(name));
  return 0;
}

int open_at(int directory, const char* path, int flags, mode_t mode) {
  return opened(static_cast<int>(syscall(SYS_openat, directory, path, flags, mode)), flags);
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

#define OPEN(name)                                 \
  int name(const char* path, int flags, ...) {     \
    va_list arguments;                             \
    va_start(arguments, flags);                    \
    const mode_t mode = mode_of(flags, arguments); \
    va_end(arguments);                             \
    return open_at(AT_FDCWD, path, flags, mode);   \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                          \
  int name(int directory, const char* path, int flags, ...) { \
    va_list arguments;                                        \
    va_start(arguments, flags);                               \
    const mode_t mode = mode_of(flags, arguments);            \
    va_end(arguments);                                        \
    return open_at(directory, path, flags, mode);             \
  }
OPENAT(openat)
OPENAT(openat64)
int __open_2(const char* path, int flags) {
  return open_at(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char* path, int flags) {
  return open_at(AT_FDCWD, path, flags, 0);
}
int __openat_2(int directory, const char* path, int flags) {
  return open_at(directory, path, flags, 0);
}
int __openat64_2(int directory, const char* path, int flags) {
  return open_at(directory, path, flags, 0);
}
int creat(const char* path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char* path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd) {
  set_inode(fd, unknown);
  return static_cast<int>(syscall(SYS_close, fd));
}
int dup(int fd) noexcept {
  const int copy = static_cast<int>(syscall(SYS_dup, fd));
  set_inode(copy, unknown);
  return copy;
}
int dup2(int fd, int copy) noexcept {
  const int result = static_cast<int>(syscall(SYS_dup2, fd, copy));
  if (result >= 0) set_inode(copy, unknown);
  return result;
}
int dup3(int fd, int copy, int flags) noexcept {
  const int result = static_cast<int>(syscall(SYS_dup3, fd, copy, flags));
  if (result >= 0) set_inode(copy, unknown);
  return result;
}
#define FCNTL(name)                                                                 \
  int name(int fd, int command, ...) {                                              \
    va_list arguments;                                                              \
    va_start(arguments, command);                                                   \
    void* const argument = va_arg(arguments, void*);                                \
    va_end(arguments);                                                              \
    const int result = static_cast<int>(syscall(SYS_fcntl, fd, command, argument)); \
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {                         \
      set_inode(result, unknown);                                                   \
    }                                                                               \
    return result;                                                                  \
  }
FCNTL(fcntl)
FCNTL(fcntl64)

ssize_t write(int fd, const void* data, size_t size) {
  const auto call = [&] { return static_cast<ssize_t>(syscall(SYS_write, fd, data, size)); };
  if (inode_of(fd) == 0) return call();
  const iovec part{const_cast<void*>(data), size};
  return storing(fd, &part, 1, position_of(fd), call);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  const auto call = [&] { return static_cast<ssize_t>(syscall(SYS_writev, fd, parts, count)); };
  if (inode_of(fd) == 0) return call();
  return storing(fd, parts, count, position_of(fd), call);
}
#define PWRITE(name)                                                              \
  ssize_t name(int fd, const void* data, size_t size, off_t offset) {             \
    const iovec part{const_cast<void*>(data), size};                              \
    return storing(fd, &part, 1, offset, [&] {                                    \
      return static_cast<ssize_t>(syscall(SYS_pwrite64, fd, data, size, offset)); \
    });                                                                           \
  }
PWRITE(pwrite)
PWRITE(pwrite64)
#define PWRITEV(name)                                                                  \
  ssize_t name(int fd, const iovec* parts, int count, off_t offset) {                  \
    return storing(fd, parts, count, offset, [&] {                                     \
      return static_cast<ssize_t>(syscall(SYS_pwritev, fd, parts, count, offset, 0L)); \
    });                                                                                \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)
#define PWRITEV2(name)                                                                         \
  ssize_t name(int fd, const iovec* parts, int count, off_t offset, int flags) {               \
    return storing(fd, parts, count, offset, [&] {                                             \
      return static_cast<ssize_t>(syscall(SYS_pwritev2, fd, parts, count, offset, 0L, flags)); \
    });                                                                                        \
  }
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

#define FALLOCATE(name)                                                                      \
  int name(int fd, int mode, off_t offset, off_t length) {                                   \
    const bool zeroes = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;         \
    const bool grows = (mode & FALLOC_FL_KEEP_SIZE) == 0;                                    \
    if ((mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0) {                 \
      unrecordable("fallocate that moves bytes");                                            \
    }                                                                                        \
    return changing(                                                                         \
        fd,                                                                                  \
        {.kind = zeroes ? Record::zero : Record::allocate,                                   \
         .offset = static_cast<std::uint64_t>(offset),                                       \
         .length = zeroes || grows ? static_cast<std::uint64_t>(length) : 0,                 \
         .argument = grows ? 1U : 0U},                                                       \
        [&] { return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length)); }); \
  }
FALLOCATE(fallocate)
FALLOCATE(fallocate64)
#define FTRUNCATE(name)                                                                           \
  int name(int fd, off_t length) noexcept {                                                       \
    return changing(fd, {.kind = Record::truncate, .length = static_cast<std::uint64_t>(length)}, \
                    [&] { return static_cast<int>(syscall(SYS_ftruncate, fd, length)); });        \
  }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

int fdatasync(int fd) {
  return syncing(fd, [&] { return static_cast<int>(syscall(SYS_fdatasync, fd)); });
}
int fsync(int fd) {
  return syncing(fd, [&] { return static_cast<int>(syscall(SYS_fsync, fd)); });
}

int rename(const char* from, const char* to) noexcept {
  return renaming(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  return renaming(from_directory, from, to_directory, to, 0);
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned flags) noexcept {
  return renaming(from_directory, from, to_directory, to, flags);
}
int link(const char* from, const char* to) noexcept {
  unrecordable("a second name of a file");
  return static_cast<int>(syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int unlink(const char* path) noexcept {
  return unlinking(AT_FDCWD, path, 0);
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return unlinking(directory, path, flags);
}

#define MMAP(name)                                                                   \
  void* name(void* address, size_t length, int protection, int flags, int fd,        \
             off_t offset) noexcept {                                                \
    const bool shared = (flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0; \
    if (shared && inode_of(fd) != 0) unrecordable("a writable shared mapping");      \
    return reinterpret_cast<void*>(                                                  \
        syscall(SYS_mmap, address, length, protection, flags, fd, offset));          \
  }
MMAP(mmap)
MMAP(mmap64)
ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t length,
                        unsigned flags) {
  if (inode_of(to) != 0) unrecordable("copy_file_range");
  return static_cast<ssize_t>(
      syscall(SYS_copy_file_range, from, from_offset, to, to_offset, length, flags));
}
}  // extern "C"
