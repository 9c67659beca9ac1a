// A client of a mount: writes to a device file, and keeps a log of what it did and was promised.
#pragma once

#include <atomic>
#include <string>

#include "writing/cut/promises.h"
#include "writing/dice.h"

namespace peelfs::test {

/// Not thread-safe. Stops, without failing the test, when the mount is gone.
class Client {
 public:
  /// @param path device file; log what Promiser writes to; unit as in Disk
  Client(const std::string& path, const std::string& log, std::uint64_t unit, std::uint64_t seed);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// One random operation: write, zero, discard or fsync.
  /// @return 0, or the errno that the mount answered
  int step();
  int sync();
  std::uint64_t writes() const noexcept { return writes_; }
  std::uint64_t syncs() const noexcept { return syncs_; }  ///< may be asked from any thread

 private:
  int store(std::uint64_t offset, Bytes data) const;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::uint64_t unit_;
  Dice dice_;
  Promiser promiser_;
  std::uint64_t writes_ = 0;
  std::atomic<std::uint64_t> syncs_ = 0;
};

}  // namespace peelfs::test
