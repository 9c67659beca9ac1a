// The stacks that are written: how one is made, how peelfs opens it, and how others see it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "support/support.h"
#include "writing/outside.h"

namespace peelfs::test {

inline constexpr const char* stack_passphrase = "write without fear";

/// A disk that was made for a test.
struct Disk {
  std::string folder;                     ///< where all of its files are
  std::vector<std::string> sources = {};  ///< paths, opened for writing
  /// A directory: the sources are only read, and what is written goes to overlays there; else
  /// empty.
  std::string overlay = {};
  std::string device = {};  ///< flat name of what is written, as the scanner calls it
  std::string passphrase = stack_passphrase;
  Outside outside = {};
  std::uint64_t unit = 65536;  ///< bytes: the cluster or stripe whose boundaries are of interest
  /// Files and how long each may become, in bytes, however often it is rewritten.
  std::map<std::string, std::uint64_t> bounds = {};
  /// Files that must not change (a backing file).
  std::vector<std::string> untouched = {};
  std::string snapshots =
      {};  ///< the qcow2 file that internal snapshots can be made in; else empty
  /// Opens it otherwise than by the scanner.
  std::function<DevicePtr()> open = {};
  /// It is a copy, and the sources that its overlays were made for are still where they were.
  bool copied = false;
};

/// Makes the disk in an empty folder.
struct Stack {
  std::string name;
  std::function<Disk(const std::string& folder)> make;
};

/// How GoogleTest shows it.
inline void PrintTo(const Stack& stack, std::ostream* out) {
  *out << stack.name;
}

/// Every stack that can be written.
std::vector<Stack> stacks();

// Parts of the list, in files of their own.
void add_plain_stacks(std::vector<Stack>& list);
void add_qcow2_stacks(std::vector<Stack>& list);
void add_deep_stacks(std::vector<Stack>& list);
void add_nested_stacks(std::vector<Stack>& list);

/// A disk that is open. Dropping it closes everything without a flush: a test that needs the bytes
/// on the disk flushes first.
class OpenDisk {
 public:
  /// Fails the running test, with the reason, when there is no such device or it is not writable.
  explicit OpenDisk(const Disk& disk, bool writing = true);
  ~OpenDisk();
  OpenDisk(const OpenDisk&) = delete;
  OpenDisk& operator=(const OpenDisk&) = delete;
  bool ready() const noexcept { return device_ != nullptr; }
  const BlockDevice& device() const { return *device_; }

 private:
  struct Session;
  std::unique_ptr<Session> session_;
  DevicePtr device_;
};

}  // namespace peelfs::test
