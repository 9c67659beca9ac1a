#include <algorithm>

#include "engine/computed.h"
#include "engine/epoch.h"
#include "engine/gather.h"
#include "engine/resolve.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr std::uint64_t kMostZeroedAtOnce = 64U << 20U;

void check_writable(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  check_range(device, offset, length);
  if (device.writable()) return;
  throw Error(Fault::denied, device.describe() + " is read-only")
      .found(device.read_only_reason())
      .with_errno(EROFS);
}

}  // namespace

void write(const BlockDevice& device, std::uint64_t offset, Bytes data) {
  check_writable(device, offset, data.size());
  const Epochs::Request request;
  try {
    Gather gather(Gather::Direction::write);
    while (!data.empty()) {
      const Resolved at = resolve_write(device, offset, data.size(), WriteKind::bytes);
      const Bytes part = data.first(at.extent.length);
      if (at.extent.kind == ExtentKind::storage) {
        // preadv and pwritev share their type of buffer; nothing is changed in this memory.
        gather.add(*at.extent.storage, at.extent.offset,
                   {const_cast<std::byte*>(part.data()), part.size()});
      } else {
        // In order: where space ends, nothing behind it has changed.
        gather.finish();
        write_computed(*at.device, at.offset, part);
      }
      offset += part.size();
      data = data.subspan(part.size());
    }
    gather.finish();
  } catch (Error& error) {
    error.add_context(device.describe());
    throw;
  }
}

void claim_space(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  write(device, offset, read_bytes(device, offset, length));
}

void zero(const BlockDevice& device, std::uint64_t offset, std::uint64_t length, WriteKind kind) {
  check_writable(device, offset, length);
  try {
    while (length != 0) {
      // Each piece is a request of its own: places that it frees need not wait for the other
      // pieces.
      const Epochs::Request request;
      const Resolved at = resolve_write(device, offset, std::min(length, kMostZeroedAtOnce), kind);
      if (at.extent.kind == ExtentKind::storage) {
        at.extent.storage->zero(at.extent.offset, at.extent.length, kind == WriteKind::discard);
      } else if (at.extent.kind == ExtentKind::computed) {
        zero_computed(*at.device, at.offset, at.extent.length, kind);
      }
      offset += at.extent.length;
      length -= at.extent.length;
    }
  } catch (Error& error) {
    error.add_context(device.describe());
    throw;
  }
}

}  // namespace peelfs
