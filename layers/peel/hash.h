// Digests of many devices at once: one pass over what they lie on, several processors.
//
// Devices lie in one another: the bytes of a partition are bytes of its disk. What is read (or
// decrypted, or decompressed) for one device is given to the digests of all others whose next bytes
// are among it. A device whose next bytes will come by soon waits for them; one whose next bytes
// lie elsewhere is read on its own (hash_plan.h). Holes are not read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crypto/digest.h"
#include "peelfs/block_device.h"
#include "peelfs/byte_range.h"
#include "peelfs/cancel.h"
#include "peelfs/trouble.h"

namespace peelfs {

/// What is to be hashed of a device.
struct HashSubject {
  DevicePtr device;
  /// In ascending order, none of which overlaps another, all of them inside the device. Each has
  /// digests of its own. One that is empty has that of no bytes.
  std::vector<ByteRange> pieces;
  /// Subjects of one number are planned together: those that lie on one another, or on the same
  /// sources. Those of another number share nothing.
  std::size_t group = 0;
};

/// Pieces of that size, the last one shorter. @param piece bytes; 0: the whole is one piece
/// @throws Error(Fault::usage) when that makes more than kMostHashPieces
std::vector<ByteRange> pieces_of(const BlockDevice& device, std::uint64_t piece);
inline constexpr std::uint64_t kMostHashPieces = std::uint64_t{1} << 22U;

/// What became of a piece: its digests, or why it has none.
struct HashedPiece {
  std::vector<std::string> digests;  ///< hexadecimal, in the order of the algorithms
  std::shared_ptr<const Trouble> failure;
};

struct HashOptions {
  std::vector<const DigestAlgorithm*> algorithms;
  unsigned threads = 1;  ///< that compute digests and read
  const Cancel* cancel = nullptr;
  /// Called by the caller's thread several times a second. What it throws ends the work.
  std::function<void(std::uint64_t done)> progress;
};

struct HashResult {
  std::vector<std::vector<HashedPiece>> pieces;  ///< of each subject
  std::uint64_t read = 0;                        ///< bytes that were read, of all devices together
};

/// How much there is to do, in bytes: what progress counts up to.
std::uint64_t hash_total(std::span<const HashSubject> subjects);

/// A piece that cannot be read to its end has no digest; the others are not concerned. Neither has
/// one whose bytes come from a file that changed since it was opened. Devices must not be written
/// meanwhile by this process. Uses at most 12 buffers of 1 MiB (4 MiB where a layer or a storage
/// wants large requests) for each thread, and 24 more, however large the devices are.
/// @throws cancelled_error(); Error(Fault::unsupported) for an algorithm that the host forbids;
/// what
///   progress throws
HashResult hash_devices(std::span<const HashSubject> subjects, const HashOptions& options);

}  // namespace peelfs
