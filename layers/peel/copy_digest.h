// The digest of a copy, computed while it is made, by a thread of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "crypto/digest.h"
#include "peelfs/block_device.h"
#include "peelfs/bytes.h"

namespace peelfs {

/// Takes the bytes of a copy, from the first to the last. One thread uses it.
class CopyDigest {
 public:
  /// @throws Error(Fault::unsupported) when the host forbids the algorithm
  explicit CopyDigest(const DigestAlgorithm& algorithm);
  ~CopyDigest();
  CopyDigest(const CopyDigest&) = delete;
  CopyDigest& operator=(const CopyDigest&) = delete;

  /// Takes the first `length` bytes of a buffer, and the buffer with them: nothing is copied. Waits
  /// while several are not hashed yet.
  /// @return another buffer of the same size, with anything in it
  Buffer bytes(Buffer filled, std::size_t length);
  /// That many zeroes. Does not wait.
  void zeroes(std::uint64_t count);
  /// Waits for the rest, but not longer than that. @return whether finish() returns at once
  bool wait(std::chrono::milliseconds limit);
  /// Waits for the rest. @return hexadecimal digits
  std::string finish();
  /// Nothing more is computed.
  void drop();

  const DigestAlgorithm& algorithm() const noexcept { return algorithm_; }

 private:
  class Work;
  const DigestAlgorithm& algorithm_;
  std::unique_ptr<Work> work_;
};

/// Whether a copy of the device takes so little time, because most of it is stored nowhere, that
/// all would wait for the digest of the holes in it.
bool is_mostly_holes(const BlockDevice& device);

}  // namespace peelfs
