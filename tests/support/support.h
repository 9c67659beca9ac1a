// What every test needs: devices in memory, temporary directories, commands, and the fixtures.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::test {

/// A device whose bytes are in memory; a test changes them through bytes().
class MemoryDevice : public BlockDevice {
 public:
  explicit MemoryDevice(Buffer bytes, std::uint32_t sector_size = 512)
      : BlockDevice(bytes.size(), sector_size), bytes_(std::move(bytes)) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override;
  std::string describe() const override { return "memory"; }
  Buffer& bytes() { return bytes_; }

 private:
  Buffer bytes_;
};

/// A directory that is removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct CommandResult {
  int exit_code = -1;
  std::string output;  ///< standard output and standard error, in the order written
};
/// Runs `sh -c command`.
CommandResult run(const std::string& command);
/// Runs it and fails the running test, with its output, when it does not exit 0.
std::string must_run(const std::string& command);
/// Whether a program is installed; a test that needs it and lacks it says GTEST_SKIP with its name.
bool have_program(const std::string& name);

void write_file(const std::string& path, Bytes bytes);
Buffer read_file(const std::string& path);
DevicePtr file_device(const std::string& path);
/// Lower-case hexadecimal SHA-256 of a device's bytes, read through the read loop in 1 MiB steps.
std::string sha256(const BlockDevice& device);
std::string sha256(Bytes bytes);
/// Bytes that look random and depend on the seed only.
Buffer pattern(std::size_t size, std::uint64_t seed);

/// The folder with the fixtures: $PEELFS_FIXTURES, or ../shared/fixtures beside the project, or
/// tests/images. Empty when there is none.
std::string fixtures_folder();
/// The unpacked image of a fixture ("variant2"), unpacked on first use into a cache shared by all
/// tests of a run; sparse. Empty when the fixtures are not here.
std::string fixture_image(const std::string& name);

/// The contract of every device type (see support/contract.cc): random reads equal one read of the
/// whole, extents tile the device, block_status never calls data a hole, eight concurrent readers
/// agree. Fails the running test with what differs. @param device at most 256 MiB
void check_contract(const BlockDevice& device, std::uint64_t seed = 1);

}  // namespace peelfs::test
