// A disk as it ought to be, in memory, and what was done to it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/bytes.h"
#include "writing/dice.h"

namespace peelfs::test {

/// Not thread-safe.
class Model {
 public:
  explicit Model(Buffer bytes) : bytes_(std::move(bytes)) {}
  const Buffer& bytes() const noexcept { return bytes_; }
  std::uint64_t size() const noexcept { return bytes_.size(); }

  /// @param what for the message of a failure: "write", "discard"
  void write(std::string_view what, std::uint64_t offset, Bytes data);
  void zero(std::string_view what, Range range);
  void fill(std::string_view what, Range range, std::byte value);
  /// Something that changed no bytes: "flush", "reopen".
  void note(std::string_view what) { log(what, {0, 0}); }
  /// All bytes are others from now on (an internal snapshot was gone back to).
  void replace(std::string_view what, Buffer bytes);

  /// @return "" when `found` is what stands at `offset`, else where it differs, and what was done
  ///   there last
  std::string difference(std::uint64_t offset, Bytes found) const;
  bool all_zero(Range range) const;

 private:
  struct Step {
    std::string what;
    Range range;
  };
  void log(std::string_view what, Range range) { steps_.push_back({std::string(what), range}); }

  Buffer bytes_;
  std::vector<Step> steps_;
};

}  // namespace peelfs::test
