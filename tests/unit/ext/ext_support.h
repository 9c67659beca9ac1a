// Making ext filesystems with the tools of e2fsprogs and the kernel, and looking into them with
// ours.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "ext/ext.h"
#include "peelfs/filesystem.h"
#include "support/support.h"

namespace peelfs::test {

/// An image as peelfs sees it.
class SeenImage {
 public:
  /// Probes and opens it. @param identity what libblkid would say; empty: it does not know
  explicit SeenImage(DevicePtr device, const Limits& limits = {}, const Identity& identity = {},
                     unsigned image_depth = 0);
  explicit SeenImage(const std::string& path, const Limits& limits = {})
      : SeenImage(file_device(path), limits) {}

  bool claimed() const { return claim_.has_value(); }
  const Claim& claim() const { return *claim_; }
  const std::vector<Inner>& files() const { return opened_.devices; }
  const Filesystem& filesystem() const { return *opened_.filesystems.at(0); }
  /// "state: reason", or "".
  std::string trouble() const;
  /// By its path, "images/os43.qcow2"; null when it is not there.
  const Inner* find(const std::string& path) const;
  /// The same; a failure of the running test when it is not there.
  const Inner& at(const std::string& path) const;

 private:
  std::optional<Claim> claim_;
  KeyRing keys_;
  Opened opened_;
};

/// A directory in memory where there is one (/dev/shm): what the kernel writes into mounted images
/// has to reach the disk at each unmount, which takes seconds when others keep it busy.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Whether this machine lets the test mount images by loop devices.
bool can_mount();
inline std::string cannot_mount() {
  return "needs root, loop devices and a kernel with ext4 (mount -o loop)";
}

/// An image file mounted by the kernel; unmounted at the end.
class KernelMount {
 public:
  KernelMount(const std::string& image, const std::string& options);
  ~KernelMount();
  KernelMount(const KernelMount&) = delete;
  KernelMount& operator=(const KernelMount&) = delete;

  bool mounted() const { return mounted_; }
  std::string operator/(const std::string& name) const { return directory_ / name; }
  void unmount();

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

/// Makes an image of `size` ("256M") with mke2fs. @return whether it worked; fails the test if not
bool make_filesystem(const std::string& image, const std::string& size, const std::string& options);

/// Writes bytes at an offset of a file, which is made when it is not there.
void write_at(const std::string& path, std::uint64_t offset, Bytes bytes);

/// Compares a device with a file of a mounted filesystem: size, every byte of what the kernel calls
/// data, and that the device calls no data a hole and the kernel's holes zeroes. "" or what
/// differs.
std::string compare_with_file(const BlockDevice& device, const std::string& path);

/// "state: reason" of what reading the whole device throws; "" when it can be read.
std::string read_failure(const BlockDevice& device);

/// A 32-bit little-endian number in bytes that a test changes.
std::uint32_t get32(const Buffer& bytes, std::size_t at);
std::uint16_t get16(const Buffer& bytes, std::size_t at);
void put32(Buffer& bytes, std::size_t at, std::uint32_t value);
void put16(Buffer& bytes, std::size_t at, std::uint16_t value);

}  // namespace peelfs::test
