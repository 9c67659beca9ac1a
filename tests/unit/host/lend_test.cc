// Bytes that are handed to the kernel where they lie. What the kernel takes out of them is what
// counts: everything here goes through writev into a memfd.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "engine/epoch.h"
#include "host/file_mapping.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "peelfs/io.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t kib = 1024;

/// What the kernel makes of pieces of memory: their bytes, or an errno.
struct Taken {
  Buffer bytes;
  int error = 0;
};

Taken take(std::span<const iovec> pieces) {
  const int file = ::memfd_create("taken", MFD_CLOEXEC);
  Taken taken;
  const ssize_t put = ::writev(file, pieces.data(), static_cast<int>(pieces.size()));
  if (put < 0) {
    taken.error = errno;
  } else {
    taken.bytes.resize(static_cast<std::size_t>(put));
    EXPECT_EQ(::pread(file, taken.bytes.data(), taken.bytes.size(), 0), put);
  }
  ::close(file);
  return taken;
}

/// @return how many windows on a file this process has
std::size_t windows_on(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.ends_with(path) ? 1 : 0;
  return count;
}

class Lend : public testing::Test {
 protected:
  std::string make(std::uint64_t size) {
    write_file(folder_ / "file", pattern(size, 1));
    return folder_ / "file";
  }

  /// @param pieces set to how many there were
  Taken lend_all(const BlockDevice& device, std::uint64_t offset, std::size_t length,
                 std::size_t* pieces = nullptr) {
    Buffer scratch(length, std::byte{0xee});
    Taken taken;
    unsigned calls = 0;
    lend(device, offset, scratch, [&](std::span<const iovec> lent) {
      ++calls;
      if (pieces != nullptr) *pieces = lent.size();
      taken = take(lent);
      copied_ = scratch != Buffer(length, std::byte{0xee});
    });
    EXPECT_EQ(calls, 1U);
    return taken;
  }

  const TemporaryDirectory folder_;
  bool copied_ = false;  ///< whether anything went through the scratch memory
};

TEST_F(Lend, AFilesBytesAreNotCopied) {
  const DevicePtr device = file_device(make(900 * kib));
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::size_t>>{
           {0, 900 * kib}, {512, 128 * kib}, {16 * kib, 16 * kib}, {900 * kib - 50'000, 50'000}}) {
    EXPECT_EQ(lend_all(*device, offset, length).bytes, read_bytes(*device, offset, length));
    EXPECT_FALSE(copied_) << offset;
  }
  EXPECT_EQ(lend_all(*device, 700, 100).bytes, read_bytes(*device, 700, 100));
}

/// Neighbours in every order of lent, copied and zero bytes, more than there may be pieces.
TEST_F(Lend, EveryMixtureComesInItsOrder) {
  const DevicePtr file = file_device(make(4096 * kib));
  const auto memory = std::make_shared<MemoryDevice>(pattern(512 * kib, 2));
  const DevicePtr hole = file_device([this] {
    write_file(folder_ / "hole", {});
    EXPECT_EQ(::truncate((folder_ / "hole").c_str(), 512 * kib), 0);
    return folder_ / "hole";
  }());
  const std::array<DevicePtr, 3> sorts{file, memory, hole};
  for (const std::size_t count : {3U, 60U, 300U}) {
    std::vector<Piece> list;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t length = 512 * (1 + (i * 37) % 79);
      list.push_back({sorts.at((i * i + i / 3) % 3), (i * 40'503 * 512) % (300 * kib), length});
      total += length;
    }
    const DevicePtr device = make_concat(list, Error(Fault::missing, "?"), "mixture");
    std::size_t pieces = 0;
    EXPECT_EQ(lend_all(*device, 0, total, &pieces).bytes, read_bytes(*device, 0, total));
    EXPECT_TRUE(count < 10 || pieces > 10) << pieces;
    EXPECT_LE(pieces, 128U);
    EXPECT_EQ(lend_all(*device, 700, total - 1000).bytes, read_bytes(*device, 700, total - 1000));
  }
}

TEST_F(Lend, AFileThatBecameShorterIsAnErrorAndNeverZeroes) {
  const std::string path = make(64 * kib);
  const DevicePtr device = file_device(path);
  ASSERT_EQ(lend_all(*device, 0, 64 * kib).bytes, pattern(64 * kib, 1));
  // Within a page: a mapping shows zeroes behind the end.
  ASSERT_EQ(::truncate(path.c_str(), 40'000), 0);
  EXPECT_THROW(lend_all(*device, 24 * kib, 16 * kib), Error);
  EXPECT_THROW(lend_all(*device, 0, 64 * kib), Error);
  EXPECT_EQ(lend_all(*device, 0, 40'000).bytes, read_bytes(*device, 0, 40'000));
}

TEST_F(Lend, ARangeThatTheFileHasNotToItsEndIsNotLent) {
  const std::string path = make(64 * kib);
  const auto file = HostFile::open(path);
  const Epochs::Request request;
  EXPECT_NE(file->lend(16 * kib, 24 * kib), nullptr);
  ASSERT_EQ(::truncate(path.c_str(), 40 * kib - 1), 0);
  EXPECT_EQ(file->lend(16 * kib, 24 * kib), nullptr);
}

TEST_F(Lend, AFileThatBecomesShorterMeanwhileIsAnErrorOfTheKernel) {
  const std::string path = make(256 * kib);
  const DevicePtr device = file_device(path);
  Buffer scratch(256 * kib);
  lend(*device, 0, scratch, [&](std::span<const iovec> lent) {
    ASSERT_EQ(::truncate(path.c_str(), 0), 0);
    EXPECT_EQ(take(lent).error, EFAULT);
  });
}

TEST_F(Lend, WhatIsNotToBeTrustedIsSaid) {
  const std::string path = make(256 * kib);
  const DevicePtr device = file_device(path);
  Buffer scratch(256 * kib);
  const auto lend_once = [&](const std::function<void()>& meanwhile) {
    const Lending lending = lend(*device, 0, scratch, [&](std::span<const iovec> lent) {
      meanwhile();
      take(lent);
    });
    return lending.trusted;
  };
  EXPECT_TRUE(lend_once([] {}));
  // To an end within the last page: the kernel takes zeroes, and no error.
  EXPECT_FALSE(lend_once([&] { ASSERT_EQ(::truncate(path.c_str(), 256 * kib - 100), 0); }));
  write_file(path, pattern(256 * kib, 1));
  EXPECT_TRUE(lend_once([] {}));
  lend_all(*device, 0, 256 * kib);
  EXPECT_TRUE(copied_) << "a file that became shorter once is not lent any more";
}

TEST_F(Lend, AFileThatBecomesShorterWhileOtherPiecesAreComputedIsRead) {
  const std::string path = make(256 * kib);
  /// Cuts the file when it is asked for its bytes.
  class Cutting : public MemoryDevice {
   public:
    explicit Cutting(std::string path) : MemoryDevice(Buffer(4096)), path_(std::move(path)) {}
    void compute(std::uint64_t offset, MutableBytes out) const override {
      EXPECT_EQ(::truncate(path_.c_str(), 256 * kib - 100), 0);
      MemoryDevice::compute(offset, out);
    }

   private:
    const std::string path_;
  };
  const DevicePtr device =
      make_concat({{file_device(path), 0, 256 * kib}, {std::make_shared<Cutting>(path), 0, 4096}},
                  Error(Fault::missing, "?"), "both");
  EXPECT_THROW(lend_all(*device, 0, 260 * kib), Error);
}

/// A request that hangs must not let windows pile up.
TEST_F(Lend, WindowsAreBoundedWhileARequestHangs) {
  const std::uint64_t count = FileMapping::max_windows() + 10;
  const std::string path = folder_ / "large";
  write_file(path, {});
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(count * FileMapping::kWindowSize)), 0);
  const DevicePtr device = file_device(path);
  std::atomic<bool> hangs{true};
  std::thread other([&] {
    const Epochs::Request request;
    while (hangs) ::usleep(1000);
  });
  Buffer bytes(16 * kib);
  for (int round = 0; round < 8; ++round) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = i * FileMapping::kWindowSize;
      read(*device, at, bytes);  // into the page cache
      EXPECT_EQ(lend_all(*device, at, 16 * kib).bytes, bytes);
    }
    ::usleep(120'000);
  }
  EXPECT_LE(windows_on(path), FileMapping::max_windows() + 1);
  hangs = false;
  other.join();
}

TEST_F(Lend, WhatIsWrittenIsLent) {
  const DevicePtr device = writable_file_device(make(64 * kib));
  const DevicePtr growable = device->growable();
  ASSERT_EQ(lend_all(*growable, 0, 64 * kib).bytes, pattern(64 * kib, 1));
  write(*growable, 8 * kib, pattern(100 * kib, 3));
  EXPECT_EQ(lend_all(*growable, 8 * kib, 100 * kib).bytes, pattern(100 * kib, 3));
  EXPECT_FALSE(copied_);
  zero(*device, 8 * kib, 16 * kib, WriteKind::discard);
  EXPECT_EQ(lend_all(*growable, 8 * kib, 16 * kib).bytes, Buffer(16 * kib));
}

TEST_F(Lend, WindowsAreBounded) {
  // More windows than there may be, and two for one slot.
  const std::uint64_t count = FileMapping::max_windows() + 70;
  const std::string path = folder_ / "large";
  {
    write_file(path, {});
    ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(count * FileMapping::kWindowSize)), 0);
    const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    for (std::uint64_t i = 0; i < count; ++i) {
      const Buffer bytes = pattern(16 * kib, i);
      // Across the end of the window before, too.
      const auto at = static_cast<off_t>(i * FileMapping::kWindowSize + (i % 2 == 0 ? 0 : 1 << 20));
      ASSERT_EQ(::pwrite(file, bytes.data(), bytes.size(), at), 16 * kib);
    }
    ::close(file);
  }
  {
    const DevicePtr device = file_device(path);
    for (int round = 0; round < 3; ++round) {
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t at = i * FileMapping::kWindowSize + (i % 2 == 0 ? 0 : 1U << 20U);
        ASSERT_EQ(lend_all(*device, at, 16 * kib).bytes, pattern(16 * kib, i)) << i;
        if (i > 0) {
          const std::uint64_t across = i * FileMapping::kWindowSize - 8 * kib;
          ASSERT_EQ(lend_all(*device, across, 16 * kib).bytes,
                    read_bytes(*device, across, 16 * kib));
        }
      }
      // Once what was there is not in use any more, others get their turn.
      ::usleep(150'000);
    }
    EXPECT_GT(windows_on(path), FileMapping::max_windows() / 2);
    // Neighbours in memory may be shown as one.
    EXPECT_LE(windows_on(path), FileMapping::max_windows() + 1);
  }
  EXPECT_EQ(windows_on(path), 0U);
}

}  // namespace
}  // namespace peelfs::test
