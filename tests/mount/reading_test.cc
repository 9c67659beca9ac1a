// The same bytes on every way that Linux has of reading a file.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "mounted.h"

namespace peelfs::test {
namespace {

/// Not a multiple of a page, of a sector or of the largest request.
constexpr std::size_t odd_size = (std::size_t{9} << 20) + 4096 + 123;

Buffer read_through(const std::string& path, int flags, std::size_t step) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  EXPECT_GE(fd, 0) << std::strerror(errno);
  void* memory = nullptr;
  EXPECT_EQ(::posix_memalign(&memory, 4096, step), 0);
  Buffer all;
  for (;;) {
    const ssize_t got = ::pread(fd, memory, step, static_cast<off_t>(all.size()));
    EXPECT_GE(got, 0) << std::strerror(errno);
    if (got <= 0) break;
    const auto* const bytes = static_cast<const std::byte*>(memory);
    all.insert(all.end(), bytes, bytes + got);
  }
  std::free(memory);
  ::close(fd);
  return all;
}

class Reading : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    truth_ = pattern(odd_size, 7);
    write_file(folder_ / "disk.img", truth_);
    mount_.emplace(sh("raw:" + (folder_ / "disk.img")));
    file_ = *mount_ / "disk";
  }

  TemporaryDirectory folder_;
  Buffer truth_;
  std::optional<Mount> mount_;
  std::string file_;
};

TEST_F(Reading, HasTheSizeOfTheSourceToTheByte) {
  struct stat status {};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), odd_size);
}

TEST_F(Reading, BufferedEqualsTheSource) {
  EXPECT_TRUE(read_through(file_, 0, 1 << 20) == truth_);
  EXPECT_TRUE(read_through(file_, 0, 4096) == truth_);
}

TEST_F(Reading, DirectEqualsTheSource) {
  EXPECT_TRUE(read_through(file_, O_DIRECT, 1 << 20) == truth_);
  EXPECT_TRUE(read_through(file_, O_DIRECT, 3 << 20) == truth_);
  EXPECT_TRUE(read_through(file_, O_DIRECT, 512) == truth_);
}

TEST_F(Reading, MappedEqualsTheSource) {
  const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  for (const int sharing : {MAP_SHARED, MAP_PRIVATE}) {
    void* const memory = ::mmap(nullptr, odd_size, PROT_READ, sharing, fd, 0);
    ASSERT_NE(memory, MAP_FAILED) << std::strerror(errno);
    EXPECT_EQ(std::memcmp(memory, truth_.data(), odd_size), 0);
    ::munmap(memory, odd_size);
  }
  ::close(fd);
}

TEST_F(Reading, AnOpenFileOutlivesWhatTheKernelForgets) {
  const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  if (::geteuid() == 0) run("echo 3 >/proc/sys/vm/drop_caches");
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  std::byte byte{};
  EXPECT_EQ(::pread(fd, &byte, 1, odd_size - 1), 1);
  EXPECT_EQ(byte, truth_.back());
  ::close(fd);
}

TEST_F(Reading, EndsWhereTheDeviceEnds) {
  const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  std::array<std::byte, 4096> bytes{};
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), odd_size - 5), 5);
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), odd_size), 0);
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), odd_size + (1 << 30)), 0);
  ::close(fd);
}

TEST_F(Reading, EightReadersAtOnceAgree) {
  std::vector<std::thread> readers;
  std::array<std::size_t, 8> wrong{};
  for (unsigned reader = 0; reader < 8; ++reader) {
    readers.emplace_back([&, reader] {
      const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | (reader % 2 == 0 ? O_DIRECT : 0));
      std::mt19937_64 random(reader);
      void* memory = nullptr;
      wrong[reader] += ::posix_memalign(&memory, 4096, 1 << 20) != 0 ? 1 : 0;
      for (int i = 0; i < 60; ++i) {
        const std::size_t at = (random() % odd_size) & ~std::size_t{4095};
        const std::size_t want = ((random() % (1 << 20)) & ~std::size_t{4095}) + 4096;
        const std::size_t expected = std::min({want, odd_size - at, std::size_t{1} << 20});
        const ssize_t got =
            ::pread(fd, memory, std::min(want, std::size_t{1} << 20), static_cast<off_t>(at));
        if (got != static_cast<ssize_t>(expected) ||
            std::memcmp(memory, truth_.data() + at, expected) != 0) {
          ++wrong[reader];
        }
        if (i % 10 == 0) ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      }
      std::free(memory);
      ::close(fd);
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, (std::array<std::size_t, 8>{}));
}

TEST_F(Reading, AnswersTheSizeOfABlockDeviceAndNoOtherIoctl) {
  const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  std::uint64_t size = 0;
  EXPECT_EQ(::ioctl(fd, BLKGETSIZE64, &size), 0) << std::strerror(errno);
  EXPECT_EQ(size, odd_size);
  int sector = 0;
  EXPECT_EQ(::ioctl(fd, BLKSSZGET, &sector), -1);
  EXPECT_EQ(errno, ENOTTY);
  unsigned long small = 0;
  EXPECT_EQ(::ioctl(fd, BLKGETSIZE, &small), -1);
  EXPECT_EQ(errno, ENOTTY);
  ::close(fd);
}

TEST_F(Reading, HasNoExtendedAttributes) {
  std::array<char, 64> value{};
  EXPECT_EQ(::getxattr(file_.c_str(), "user.x", value.data(), value.size()), -1);
  EXPECT_EQ(errno, ENOTSUP);
}

TEST_F(Reading, ASourceThatShrankIsAnErrorAndNeverZeroes) {
  const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  ASSERT_EQ(::truncate((folder_ / "disk.img").c_str(), 1 << 20), 0);
  void* memory = nullptr;
  ASSERT_EQ(::posix_memalign(&memory, 4096, 1 << 20), 0);
  EXPECT_EQ(::pread(fd, memory, 1 << 20, 4 << 20), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(::pread(fd, memory, 4096, 0), 4096) << "what is left can still be read";
  struct stat status {};
  EXPECT_EQ(::fstat(fd, &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), odd_size) << "the kernel must not shrink it";
  // Told once in a while, not for each of a hundred reads.
  for (int i = 0; i < 100; ++i) EXPECT_EQ(::pread(fd, memory, 4096, 4 << 20), -1);
  const std::string log = mount_->log();
  const std::string needle = "disk: read of ";
  std::size_t lines = 0;
  for (std::size_t at = log.find(needle); at != std::string::npos; at = log.find(needle, at + 1)) {
    ++lines;
  }
  EXPECT_GE(lines, 1U) << log;
  EXPECT_LE(lines, 20U) << log;
  std::free(memory);
  ::close(fd);
}

TEST_F(Reading, AFileIsClosedInTheMomentInWhichItsReadFails) {
  ASSERT_EQ(::truncate((folder_ / "disk.img").c_str(), 1 << 20), 0);
  std::vector<std::thread> readers;
  std::atomic<unsigned> wrong = 0;
  for (int reader = 0; reader < 4; ++reader) {
    readers.emplace_back([&] {
      std::array<std::byte, 512> bytes{};
      for (int i = 0; i < 100; ++i) {
        const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
        wrong += ::pread(fd, bytes.data(), bytes.size(), 4 << 20) == -1 && errno == EIO ? 0 : 1;
        ::close(fd);
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_TRUE(runs(mount_->server()));
}

TEST_F(Reading, ASourceThatChangedIsReadAfresh) {
  EXPECT_TRUE(read_through(file_, 0, 1 << 20) == truth_);
  const Buffer other = pattern(odd_size, 8);
  const int fd = ::open((folder_ / "disk.img").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(fd, other.data(), other.size(), 0), static_cast<ssize_t>(odd_size));
  ::close(fd);
  EXPECT_TRUE(read_through(file_, 0, 1 << 20) == other) << "pages were kept over the next open";
}

TEST_F(Reading, TellsItsSizeToStatfs) {
  struct statvfs status {};
  ASSERT_EQ(::statvfs(mount_->path().c_str(), &status), 0);
  EXPECT_EQ(status.f_blocks * status.f_frsize, (odd_size + 511) / 512 * 512);
  EXPECT_EQ(status.f_bfree, 0U);
  EXPECT_EQ(status.f_bavail, 0U);
  EXPECT_GE(status.f_files, 5U);
  EXPECT_EQ(status.f_namemax, 255U);
  EXPECT_NE(status.f_flag & ST_RDONLY, 0U);
}

TEST_F(Reading, TimesAreTheSources) {
  struct stat source {};
  struct stat device {};
  ASSERT_EQ(::stat((folder_ / "disk.img").c_str(), &source), 0);
  ASSERT_EQ(::stat(file_.c_str(), &device), 0);
  EXPECT_EQ(device.st_mtim.tv_sec, source.st_mtim.tv_sec);
  EXPECT_EQ(device.st_mtim.tv_nsec, source.st_mtim.tv_nsec);
}

}  // namespace
}  // namespace peelfs::test
