#include "raid/dm_marks.h"

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "raid/dm_disk.h"

namespace peelfs::raid {

Mark mirror_log_mark(const DevicePtr& log, std::uint64_t regions) {
  Mark mark{log, MirrorLogDisk::kBits, {}, {}};
  mark.clean = read_bytes(*log, mark.offset, div_round_up(regions, 8));
  mark.differs = Buffer(mark.clean.size());
  return mark;
}

std::vector<Mark> raid_marks(const DevicePtr& metadata) {
  using Disk = RaidBitmapDisk;
  const Buffer header = read_bytes(*metadata, Disk::kStart, Disk::kBits);
  const ByteReader reader(header, "bitmap_super_t");
  const std::uint32_t magic = reader.le32(Disk::kMagic);
  const std::uint32_t chunk_size = reader.le32(Disk::kChunkSize);
  if (magic != Disk::kMagicNumber || chunk_size < 512) {
    throw Error(Fault::unsupported, metadata->describe() + " has no write-intent bitmap")
        .found("magic " + hex(magic) + ", chunks of " + std::to_string(chunk_size) + " bytes")
        .expected(hex(Disk::kMagicNumber) +
                  ", which the kernel writes when it activates the array");
  }
  const std::uint64_t chunks = div_round_up(reader.le64(Disk::kSyncSize), chunk_size / 512);
  const std::uint64_t room = metadata->size() - Disk::kStart - Disk::kBits;
  if (div_round_up(chunks, 8) > room || chunks > Disk::kMostChunks) {
    throw Error(Fault::damaged, "the write-intent bitmap is larger than " + metadata->describe())
        .found(std::to_string(chunks) + " chunks");
  }
  Mark bits{metadata, Disk::kStart + Disk::kBits, {}, {}};
  bits.clean = read_bytes(*metadata, bits.offset, div_round_up(chunks, 8));
  bits.differs = Buffer(bits.clean.size(), std::byte{0xff});
  // The bits behind the last chunk belong to no chunk, and stay.
  if (chunks % 8 != 0) {
    bits.differs.back() = bits.clean.back() | static_cast<std::byte>((1U << (chunks % 8)) - 1);
  }
  Mark offset{metadata, DmSuperblockDisk::kArrayResyncOffset, {}, {}};
  offset.clean = read_bytes(*metadata, offset.offset, 8);
  offset.differs = Buffer(8);
  return {std::move(bits), std::move(offset)};
}

}  // namespace peelfs::raid
