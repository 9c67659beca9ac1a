// Disks with partitions to write to, and files opened as a person's program would.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "mounted.h"

namespace peelfs::test {

inline constexpr std::uint64_t mib = 1 << 20;

/// An open file; closed when it goes out of scope.
class Fd {
 public:
  explicit Fd(const std::string& path, int flags)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC)), error_(fd_ < 0 ? errno : 0) {}
  ~Fd() { close(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int error() const { return error_; }  ///< of open(2); 0: it is open
  int close() {
    const int result = fd_ < 0 ? 0 : ::close(fd_);
    fd_ = -1;
    return result;
  }
  /// @return 0, or the errno; short counts as EMSGSIZE
  int write(std::uint64_t offset, Bytes bytes) const {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    return put < 0 ? errno : put == static_cast<ssize_t>(bytes.size()) ? 0 : EMSGSIZE;
  }
  /// @return empty when it failed, with errno
  Buffer read(std::uint64_t offset, std::size_t length) const {
    Buffer bytes(length);
    const ssize_t got = ::pread(fd_, bytes.data(), length, static_cast<off_t>(offset));
    bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return bytes;
  }

 private:
  int fd_;
  int error_;
};

/// @return 0 when its first byte can be read, or the errno
inline int read_error(const Fd& fd) {
  std::byte byte{};
  return ::pread(fd.get(), &byte, 1, 0) == 1 ? 0 : errno;
}

/// Bytes at an address that O_DIRECT takes.
class Aligned {
 public:
  explicit Aligned(std::size_t size) : size_(size) {
    EXPECT_EQ(::posix_memalign(&memory_, 4096, size), 0);
  }
  explicit Aligned(Bytes bytes) : Aligned(bytes.size()) {
    std::memcpy(memory_, bytes.data(), bytes.size());
  }
  ~Aligned() { std::free(memory_); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  MutableBytes bytes() { return {static_cast<std::byte*>(memory_), size_}; }

 private:
  void* memory_ = nullptr;
  std::size_t size_;
};

/// A disk of 64 MiB: primary partitions 1 (from 1 MiB, 20 MiB) and 3 (from 42 MiB), the extended
/// one 2 (from 21 MiB, 20 MiB), and in it 5 (from 22 MiB, 8 MiB) and 6 (from 31 MiB, 8 MiB).
inline constexpr std::uint64_t disk_size = 64 * mib;
inline constexpr std::uint64_t p1_begin = 1 * mib;
inline constexpr std::uint64_t p1_size = 20 * mib;
inline constexpr std::uint64_t p5_begin = 22 * mib;
inline constexpr std::uint64_t p6_size = 8 * mib;

inline void make_disk(const std::string& path) {
  write_file(path, {});
  ASSERT_EQ(::truncate(path.c_str(), disk_size), 0);
  must_run(
      "printf 'label: dos\\nlabel-id: 0x1\\n1M,20M,L\\n21M,20M,E\\n22M,8M,L\\n31M,8M,L\\n42M,,L\\n'"
      " | sfdisk -q " +
      sh(path));
}

/// A mount of such a disk for writing, its source, and a copy that is not written to.
class WritableDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("sfdisk");
    source_ = folder_ / "d.img";
    plain_ = folder_ / "plain.img";
    make_disk(source_);
    must_run("cp --sparse=always " + sh(source_) + " " + sh(plain_));
    mount_.emplace("-o rw " + sh(source_));
  }
  std::string file(const std::string& name) const { return *mount_ / name; }
  /// Ends the mount; the source must then be the same as the plain copy.
  void expect_same_after_umount() {
    const CommandResult ended = mount_->umount();
    EXPECT_EQ(ended.exit_code, 0) << ended.output;
    const CommandResult same = run("cmp " + sh(source_) + " " + sh(plain_));
    EXPECT_EQ(same.exit_code, 0) << same.output << mount_->log();
  }

  TemporaryDirectory folder_;
  std::string source_, plain_;
  std::optional<Mount> mount_;
};

}  // namespace peelfs::test
