// The read loop and the write loop: the only places where bytes of a device are read and written.
// They follow map() and map_write() down to storages, merge neighbours, and ask a storage once for
// each contiguous run.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>

#include "peelfs/block_device.h"

namespace peelfs {

/// Reads exactly out.size() bytes at `offset`.
/// @throws Error(Fault::usage) when the range leaves the device, and the errors of the layers
///   below, with each layer passed added to its context. Nothing is promised about `out` then.
/// Thread-safe.
void read(const BlockDevice& device, std::uint64_t offset, MutableBytes out);

/// How lend() went.
struct Lending {
  /// false: a file became shorter while it was handed over, and zeroes may have been taken for what
  /// was behind its end.
  bool trusted = true;
  std::uint64_t computed = 0;      ///< bytes that are not stored as they are read
  std::uint32_t compute_unit = 0;  ///< the largest BlockDevice::compute_unit() among them
};

/// Reads for a caller that only hands the bytes on to the kernel: bytes that lie verbatim in a host
/// file are not copied, if the file can be mapped.
/// @param scratch takes what has to be copied or computed; as many bytes are read
/// @param hand_over is called once, with pieces of memory that are scratch.size() bytes together,
///   in order, good until it returns. Our own code must never touch them (see Storage::lend).
/// @throws Error like read(), and then hand_over was not called
Lending lend(const BlockDevice& device, std::uint64_t offset, MutableBytes scratch,
             const std::function<void(std::span<const iovec>)>& hand_over);

/// Reads `length` bytes at `offset` into a new buffer; the caller bounds `length` (it is memory).
Buffer read_bytes(const BlockDevice& device, std::uint64_t offset, std::size_t length);

/// Like read_bytes, but what lies beyond the end of the device is left out: for probing.
Buffer read_up_to(const BlockDevice& device, std::uint64_t offset, std::size_t length);

/// Writes data.size() bytes at `offset`. They are readable at once, through every device that shows
/// them, and durable after flush().
/// @throws Error: usage when the range leaves the device, denied (EROFS) when it is not writable,
///   and the errors of the layers below (ENOSPC); some of the bytes may have been written then
/// Thread-safe: writes to the same bytes at the same time leave either.
void write(const BlockDevice& device, std::uint64_t offset, Bytes data);

/// Writes what a range holds already. In a sparse file, or an image that allocates, it has space of
/// its own from then on: tables that are kept in memory cannot meet a full disk when they are
/// flushed. The caller makes sure that no other thread writes to the range meanwhile.
/// @throws Error like read_bytes() and write()
void claim_space(const BlockDevice& device, std::uint64_t offset, std::size_t length);

/// Makes a range read as zero without writing it byte by byte.
/// @param kind WriteKind::zeroes or WriteKind::discard
/// @throws Error like write(), and with EOPNOTSUPP where only writing zeroes would do (encryption,
///   a host filesystem that cannot); part of the range may be zero then
void zero(const BlockDevice& device, std::uint64_t offset, std::uint64_t length, WriteKind kind);

/// One run of a device that is either stored somewhere or reads as zero without being stored.
struct Run {
  bool data = true;
  std::uint64_t length = 0;  ///< bytes, at least 1
};

/// What lies at `offset`, through all layers and the holes of the host files at the bottom.
/// A hole below a device that computes (encryption) is data above it.
/// @return a run of 1 to `length` bytes. A run may be followed by one of the same sort: merging is
///   the caller's, which decides how far it wants to look.
Run block_status(const BlockDevice& device, std::uint64_t offset, std::uint64_t length);

/// The extent of `device` at `offset` with all lower devices resolved: storage, zero or computed.
struct Resolved {
  Extent extent;                        ///< never of kind lower
  const BlockDevice* device = nullptr;  ///< the device that gave it
  std::uint64_t offset = 0;             ///< the offset in that device
};
Resolved resolve(const BlockDevice& device, std::uint64_t offset, std::uint64_t length);

}  // namespace peelfs
