// What the tests of the qcow2 layer share: images made by qemu-img, opened as the scanner would.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/layer.h"
#include "support/support.h"

namespace peelfs::test {

/// Opens what images name beside them in one directory, without the rules of the host layer.
std::shared_ptr<const References> references_beneath(const std::string& directory);

/// An image opened by the layer. What it was opened with lives as long.
struct OpenedImage {
  DevicePtr file;
  Opened opened;
  const BlockDevice& disk() const { return *opened.devices.at(0).device; }
  /// The device with that name; fails the running test when there is none.
  const Inner* find(const std::string& name) const;
};

/// Probes and opens `path` under the stem "os", with its directory as references.
/// @param keys passphrases, tried in this order
OpenedImage open_qcow2(const std::string& path, const std::vector<std::string>& keys = {});
/// The same for a device; references may be null.
OpenedImage open_qcow2(DevicePtr file, std::shared_ptr<const References> references,
                       const std::vector<std::string>& keys = {});

/// Compares a disk with a raw file byte for byte; the disk may be shorter than the file by `tail`
/// bytes.
/// @return "" or the first difference
std::string difference(const BlockDevice& disk, const std::string& raw_path);

/// An image in memory whose bytes a test spoils.
class Spoiled {
 public:
  explicit Spoiled(const std::string& path) : bytes_(read_file(path)) {}
  explicit Spoiled(Buffer bytes) : bytes_(std::move(bytes)) {}
  void put8(std::size_t at, std::uint8_t value);
  void put16(std::size_t at, std::uint16_t value);
  void put32(std::size_t at, std::uint32_t value);
  void put64(std::size_t at, std::uint64_t value);
  std::uint32_t get32(std::size_t at) const;
  std::uint64_t get64(std::size_t at) const;
  Buffer& bytes() { return bytes_; }
  DevicePtr device() const { return std::make_shared<MemoryDevice>(bytes_); }

  /// Offsets of entries, followed from the header (standard L2 entries).
  std::size_t l1_entry(std::size_t index) const { return get64(40) + index * 8; }
  std::size_t l2_entry(std::size_t l1_index, std::size_t index, std::size_t size = 8) const {
    return (get64(l1_entry(l1_index)) & 0x00fffffffffffe00ULL) + index * size;
  }

 private:
  Buffer bytes_;
};

/// The message of the Error that opening throws; fails the running test when it opens.
std::string open_error(const DevicePtr& file);
/// The message of the Error that reading throws, "" when it reads.
std::string read_error(const BlockDevice& device, std::uint64_t offset, std::size_t length = 512);

}  // namespace peelfs::test

/// First statement of a test that needs programs.
#define NEED_PROGRAM(name) \
  if (!peelfs::test::have_program(name)) GTEST_SKIP() << "needs " << (name)
