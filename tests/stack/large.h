// Sparse disks of terabytes and what the tests of them share. Only included by test programs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "peel/peeling.h"
#include "support/support.h"

namespace peelfs::test {

inline constexpr std::uint64_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB, TiB = 1024 * GiB;
inline constexpr std::uint64_t mark_size = 68 * KiB;
inline constexpr const char* passphrase = "large-pass";

// In memory where that can be: the tools write little, but wait for the disk each time.
inline const bool scratch_is_in_memory =
    access("/dev/shm", W_OK) == 0 && setenv("TMPDIR", "/dev/shm", 0) == 0;

/// What stands at an offset, and nowhere else.
inline Buffer mark(std::uint64_t offset) {
  return pattern(mark_size, offset + 1);
}

inline void write_at(const std::string& path, std::uint64_t offset, Bytes bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0) << path << ": " << strerror(errno);
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(bytes.size()))
      << path << ": " << strerror(errno);
  close(fd);
}

/// Copies what is stored of one sparse file to a place in another.
inline void copy_data(const std::string& from, const std::string& to, std::uint64_t offset) {
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(in, 0);
  Buffer buffer(4 * MiB);
  off_t at = 0;
  while ((at = lseek(in, at, SEEK_DATA)) >= 0) {
    const off_t end = lseek(in, at, SEEK_HOLE);
    while (at < end) {
      const auto length = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(end - at));
      ASSERT_EQ(pread(in, buffer.data(), length, at), static_cast<ssize_t>(length));
      write_at(to, offset + static_cast<std::uint64_t>(at), Bytes(buffer).first(length));
      at += static_cast<off_t>(length);
    }
  }
  close(in);
}

inline std::shared_ptr<const Catalog> peel(const std::string& path) {
  PeelRequest request;
  request.sources.push_back({path, "", false});
  auto keys = std::make_shared<KeyRing>();
  keys->add_for_all(Secret(as_bytes(passphrase)));
  return Peeling(request, keys).catalog();
}

inline const BlockDevice& device(const Catalog& catalog, const std::string& name) {
  const Catalog::Entry* entry = catalog.find(name);
  if (entry == nullptr) throw std::runtime_error("no device " + name + "\n" + tree_json(catalog));
  return *entry->node->device;
}

/// Whether a device has exactly `bytes` at an offset, in one read and in pieces of odd sizes.
inline ::testing::AssertionResult has_bytes(const BlockDevice& device, std::uint64_t offset,
                                            Bytes bytes) {
  if (offset + bytes.size() > device.size()) {
    return ::testing::AssertionFailure() << device.size() << " bytes are too few";
  }
  const Buffer whole = read_bytes(device, offset, bytes.size());
  const auto differs = std::mismatch(whole.begin(), whole.end(), bytes.begin());
  if (differs.first != whole.end()) {
    return ::testing::AssertionFailure()
           << "byte " << offset + static_cast<std::uint64_t>(differs.first - whole.begin())
           << " differs";
  }
  for (std::size_t at = 0; at < bytes.size(); at += 7777) {
    const std::size_t length = std::min<std::size_t>(7777, bytes.size() - at);
    const Buffer piece = read_bytes(device, offset + at, length);
    if (!std::equal(piece.begin(), piece.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at))) {
      return ::testing::AssertionFailure() << "a short read at " << offset + at << " differs";
    }
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult has_mark(const BlockDevice& device, std::uint64_t offset) {
  return has_bytes(device, offset, mark(offset));
}

/// Walks a device by its holes, as `cp --sparse` does. @return bytes of data, bounded in steps
inline std::uint64_t count_data(const BlockDevice& device) {
  std::uint64_t data = 0;
  int steps = 0;
  for (std::uint64_t at = 0; at < device.size(); ++steps) {
    const Run run = block_status(device, at, device.size() - at);
    if (run.data) data += run.length;
    at += run.length;
    if (steps == 2'000'000) {
      ADD_FAILURE() << device.describe() << ": too many runs";
      break;
    }
  }
  return data;
}

class Large : public ::testing::Test {
 protected:
  /// Every test of this program together: what is sparse must stay so in memory, too.
  static void TearDownTestSuite() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(usage.ru_maxrss, 256L << 10) << "KiB";
#endif
  }

  bool need(const std::vector<std::string>& programs) {
    for (const std::string& program : programs) {
      if (!have_program(program)) {
        missing_ = program + " is not installed";
        return false;
      }
    }
    return true;
  }
  std::string sparse(const std::string& name, std::uint64_t size) {
    const std::string path = directory_ / name;
    write_at(path, 0, {});
    std::filesystem::resize_file(path, size);
    return path;
  }
  /// Lets qemu-io write the mark of each offset. @param image how qemu-io is told of it
  void qemu_write(const std::string& image, const std::vector<std::uint64_t>& offsets) {
    std::string command = "qemu-io " + image;
    for (const std::uint64_t offset : offsets) {
      const std::string bytes = directory_ / ("mark" + std::to_string(offset));
      write_file(bytes, mark(offset));
      command += " -c 'write -q -s " + bytes + " " + std::to_string(offset) + " " +
                 std::to_string(mark_size) + "'";
    }
    must_run(command);
  }
  static void sfdisk(const std::string& path, const std::string& script) {
    must_run("printf '" + script + "' | PATH=$PATH:/sbin sfdisk -q '" + path + "'");
  }

  TemporaryDirectory directory_;
  std::string missing_;
};

}  // namespace peelfs::test
