// The default answers of a block device.
#include "peelfs/block_device.h"

#include "peelfs/error.h"

namespace peelfs {

namespace {

Error mistake(const BlockDevice& device, const std::string& what, std::uint64_t offset,
              std::uint64_t length) {
  return Error(Fault::io, device.describe() + ": " + what)
      .found(std::to_string(length) + " bytes at offset " + std::to_string(offset))
      .advice("this is a mistake in peelfs; please report it");
}

}  // namespace

void BlockDevice::compute(std::uint64_t offset, MutableBytes out) const {
  throw mistake(*this, "asked to compute bytes that it only describes", offset, out.size());
}

void BlockDevice::store(std::uint64_t offset, Bytes data) const {
  throw mistake(*this, "asked to store bytes that it only describes", offset, data.size());
}

Extent BlockDevice::map_write(std::uint64_t offset, std::uint64_t length, WriteKind kind) const {
  const Extent extent = map(offset, length);
  if (extent.kind != ExtentKind::zero || kind != WriteKind::bytes) return extent;
  throw Error(Fault::denied, describe() + ": no space is allocated here, and none can be")
      .found("a hole at offset " + std::to_string(offset))
      .expected("bytes that are stored already: those can be overwritten in place")
      .advice("try the changes in an overlay (--overlay DIR), which can hold them")
      .with_errno(ENOSPC);
}

void BlockDevice::store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind) const {
  // Writing zeroes byte by byte is what the caller wanted to avoid; it does that itself if it must.
  throw Error(Fault::unsupported, describe() + ": zeroes can only be written byte by byte")
      .found(std::to_string(length) + " bytes at offset " + std::to_string(offset))
      .with_errno(EOPNOTSUPP);
}

std::shared_ptr<const void> BlockDevice::rely_on(const std::string&) const {
  return nullptr;
}

Extent BlockDevice::computed_from(std::uint64_t, std::uint64_t length) const {
  return Extent::zeroes(length);
}

}  // namespace peelfs
