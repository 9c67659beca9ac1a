// What a client may expect of a disk after a power cut: what it was promised by fsync, and no byte
// that it never wrote.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/bytes.h"
#include "writing/cut/replay.h"

namespace peelfs::test {

/// Writes the client's side of the log; the recorder writes the other. Not thread-safe.
class Promiser {
 public:
  /// @param log path of the log; empty: nothing is written
  explicit Promiser(const std::string& log);
  ~Promiser();
  Promiser(const Promiser&) = delete;
  Promiser& operator=(const Promiser&) = delete;

  void intend(std::uint64_t offset, Bytes data);
  void intend_zero(std::uint64_t offset, std::uint64_t length);
  /// Call before fsync; what was intended until here is what it is about.
  std::uint64_t before_sync() const;
  /// Call after it has returned well.
  void synced(std::uint64_t before);

 private:
  void append(RecordHeader header, Bytes data) const;
  int fd_ = -1;
};

/// The disk as it may be. Not thread-safe.
class Promises {
 public:
  explicit Promises(Buffer disk) : sure_(std::move(disk)) {}
  void take(const Entry& entry);
  /// @return "" when every sector of `found` is as it was at some moment since the last promise
  std::string broken(Bytes found) const;
  /// Whether anything was ever promised.
  bool any() const noexcept { return promised_; }
  std::uint64_t size() const noexcept { return sure_.size(); }

 private:
  static void apply(Buffer& bytes, const Entry& entry);
  Buffer sure_;
  bool promised_ = false;
  std::vector<const Entry*> intents_;
};

}  // namespace peelfs::test
