// What every test needs: devices in memory, temporary directories, commands. Fixtures are in
// fixtures.h.
#pragma once

#include <atomic>
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
  enum class Access : std::uint8_t { read_only, read_write };
  explicit MemoryDevice(Buffer bytes, std::uint32_t sector_size = 512,
                        Access access = Access::read_only)
      : BlockDevice(bytes.size(), sector_size), bytes_(std::move(bytes)), access_(access) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override;
  std::string describe() const override { return "memory"; }
  Buffer& bytes() { return bytes_; }

  bool writable() const noexcept override { return access_ == Access::read_write; }
  void store(std::uint64_t offset, Bytes data) const override;
  void store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override;
  void flush() const override { ++flushes_; }
  unsigned flushes() const { return flushes_; }

 private:
  mutable Buffer bytes_;  ///< the ranges' locks guard it
  const Access access_;
  mutable std::atomic<unsigned> flushes_ = 0;
};
/// One that can be written to.
std::shared_ptr<MemoryDevice> writable_memory(Buffer bytes, std::uint32_t sector_size = 512);

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
DevicePtr writable_file_device(const std::string& path);
/// Lower-case hexadecimal SHA-256 of a device's bytes, read through the read loop in 1 MiB steps.
std::string sha256(const BlockDevice& device);
std::string sha256(Bytes bytes);
/// Bytes that look random and depend on the seed only.
Buffer pattern(std::size_t size, std::uint64_t seed);

/// The contract of every device type (see support/contract.cc): random reads equal one read of the
/// whole, extents tile the device, block_status never calls data a hole, eight concurrent readers
/// agree. Fails the running test with what differs. @param device at most 256 MiB
void check_contract(const BlockDevice& device, std::uint64_t seed = 1);

/// The contract of every writable device: a thousand random writes and zeroes, aligned and not,
/// leave what they leave in a plain array, while readers see old bytes or new ones; then threads
/// that write bytes side by side in the same granules lose none.
/// @param device at most 64 MiB
/// @return the whole of it afterwards
Buffer check_write_contract(const BlockDevice& device, std::uint64_t seed = 1);

}  // namespace peelfs::test
