#include "qcow2/write/bitmaps.h"

#include <array>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/overlay.h"

namespace peelfs::qcow2 {

namespace {

// The extension: nb_bitmaps (0), bitmap_directory_size (8), bitmap_directory_offset (16).
constexpr std::size_t kExtensionSize = 24;
// A directory entry: bitmap_table_offset (0), bitmap_table_size (8), name_size (18),
// extra_data_size (20), then extra data and name, padded to 8 bytes.
constexpr std::size_t kEntrySize = 24;
// qemu's limits.
constexpr std::uint32_t kMostBitmaps = 65535;
constexpr std::uint64_t kMostDirectoryBytes = std::uint64_t{kMostBitmaps} * 1024;
constexpr std::uint64_t kMostTableEntries = 0x8000000;

Error damaged(const std::string& what, std::uint64_t found) {
  return Error(Fault::damaged, "qcow2 bitmaps: " + what)
      .found(hex(found))
      .advice("qemu-img bitmap --remove takes a bitmap away");
}

void check(std::uint64_t offset, std::uint64_t length, const Header& header, std::uint64_t end) {
  if (offset % header.cluster_size() == 0 && offset >= header.cluster_size() && offset <= end &&
      length <= end - offset) {
    return;
  }
  throw damaged("a part of them lies at an impossible place", offset);
}

void add_table(const BlockDevice& file, const Header& header, std::uint64_t end,
               const BitmapBytes& table, std::vector<BitmapBytes>& all) {
  const Buffer bytes = read_bytes(file, table.offset, table.length);
  const ByteReader reader(bytes, "bitmap table");
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    const std::uint64_t cluster = reader.be64(at) & L2Entry::kOffsetMask;
    if (cluster == 0) continue;
    check(cluster, header.cluster_size(), header, end);
    all.push_back({cluster, header.cluster_size()});
  }
}

}  // namespace

std::vector<BitmapBytes> bitmap_bytes(const BlockDevice& file, const Header& header,
                                      std::uint64_t end) {
  std::vector<BitmapBytes> all;
  const auto extension = read_extension(file, kExtensionBitmaps);
  if (!extension) return all;
  if (extension->size() < kExtensionSize) throw damaged("a short extension", extension->size());
  const ByteReader head(*extension, "bitmaps extension");
  const std::uint32_t count = head.be32(0);
  const std::uint64_t size = head.be64(8);
  const std::uint64_t offset = head.be64(16);
  if (count > kMostBitmaps || size > kMostDirectoryBytes) {
    throw damaged("a directory that is too large", size);
  }
  check(offset, size, header, end);
  all.push_back({offset, size});
  const Buffer directory = read_bytes(file, offset, size);
  const ByteReader reader(directory, "bitmap directory");
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const BitmapBytes table{reader.be64(at), std::uint64_t{reader.be32(at + 8)} * 8};
    if (table.length / 8 > kMostTableEntries) throw damaged("a table too large", table.length);
    check(table.offset, table.length, header, end);
    all.push_back(table);
    add_table(file, header, end, table, all);
    at += round_up(kEntrySize + reader.be16(at + 18) + std::uint64_t{reader.be32(at + 20)}, 8);
  }
  return all;
}

void forget_bitmaps(const BlockDevice& file) {
  remove_extension(file, kExtensionBitmaps);
}

}  // namespace peelfs::qcow2
