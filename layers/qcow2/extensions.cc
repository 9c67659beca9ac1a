// Header extensions of our own: other programs keep what they do not know.
#include <algorithm>
#include <array>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/header.h"
#include "qcow2/overlay.h"

namespace peelfs::qcow2 {

namespace {

/// Nothing: what an extension is called that was taken away. Its bytes stay where they are.
constexpr std::uint32_t extension_void = 0x70656c00;

struct Place {
  std::uint32_t type = 0;
  std::size_t at = 0;  ///< of its type field, bytes
  std::size_t length = 0;
};

/// The first cluster and where its extensions lie.
struct Area {
  Buffer cluster;
  std::vector<Place> extensions;
  std::size_t end_marker = 0;
  std::size_t limit = 0;
};

Area read_area(const BlockDevice& file) {
  const Header header = read_header(file);  // has checked every length
  Area area;
  area.cluster = read_up_to(file, 0, header.cluster_size());
  area.limit = header.disk.backing_file_offset != 0
                   ? std::min<std::size_t>(header.disk.backing_file_offset, area.cluster.size())
                   : area.cluster.size();
  const ByteReader reader(area.cluster, "qcow2 header extensions");
  std::size_t at = header.disk.header_length;
  while (at + 8 <= area.limit && reader.be32(at) != extension_end) {
    area.extensions.push_back({reader.be32(at), at, reader.be32(at + 4)});
    at = round_up(at + 8 + area.extensions.back().length, 8);
  }
  area.end_marker = at;
  return area;
}

std::size_t put_extension(MutableBytes cluster, std::size_t at, std::uint32_t type, Bytes data) {
  put_be(cluster, at, type);
  put_be(cluster, at + 4, static_cast<std::uint32_t>(data.size()));
  std::copy(data.begin(), data.end(), cluster.begin() + static_cast<std::ptrdiff_t>(at + 8));
  return round_up(at + 8 + data.size(), 8);
}

Error no_room(std::size_t wanted, std::size_t room) {
  return Error(Fault::unsupported, "the image's header has no room for what peelfs notes there")
      .found(std::to_string(room) + " bytes")
      .expected(std::to_string(wanted))
      .with_errno(ENOSPC);
}

/// Writes all extensions anew. Not atomic; only when there is no room to append.
void rewrite(const BlockDevice& file, const Area& area, const HeaderExtension& extension) {
  Buffer cluster = area.cluster;
  const std::size_t first = area.extensions.empty() ? area.end_marker : area.extensions[0].at;
  std::fill(cluster.begin() + static_cast<std::ptrdiff_t>(first),
            cluster.begin() + static_cast<std::ptrdiff_t>(area.limit), std::byte{0});
  std::size_t at = first;
  for (const Place& place : area.extensions) {
    if (place.type == extension.type || place.type == extension_void) continue;
    at = put_extension(cluster, at, place.type,
                       Bytes(area.cluster).subspan(place.at + 8, place.length));
  }
  if (at + 16 + extension.data.size() > area.limit) {
    throw no_room(extension.data.size() + 16, area.limit - at);
  }
  put_extension(cluster, at, extension.type, extension.data);
  write(file, 0, cluster);
  file.flush();
}

}  // namespace

std::optional<Buffer> read_extension(const BlockDevice& file, std::uint32_t type) {
  const Area area = read_area(file);
  std::optional<Buffer> data;
  for (const Place& place : area.extensions) {
    if (place.type != type) continue;  // the last one is the one that counts
    const Bytes bytes = Bytes(area.cluster).subspan(place.at + 8, place.length);
    data.emplace(bytes.begin(), bytes.end());
  }
  return data;
}

void write_extension(const BlockDevice& file, const HeaderExtension& extension) {
  const Area area = read_area(file);
  const std::size_t length = round_up(8 + extension.data.size(), 8);
  if (area.end_marker + length + 8 > area.limit) return rewrite(file, area, extension);
  // Behind the mark that ends the list nobody looks. What stands there is durable before the mark
  // becomes the extension's head, which one sector's write does at once.
  Buffer added(length);  // ends with the new mark, which is zeroes
  std::copy(extension.data.begin(), extension.data.end(), added.begin());
  write(file, area.end_marker + 8, added);
  file.flush();
  std::array<std::byte, 8> head{};
  put_be(head, 0, extension.type);
  put_be(head, 4, static_cast<std::uint32_t>(extension.data.size()));
  write(file, area.end_marker, head);
  file.flush();
}

void remove_extension(const BlockDevice& file, std::uint32_t type) {
  const Area area = read_area(file);
  for (const Place& place : area.extensions) {
    if (place.type != type) continue;
    std::array<std::byte, 4> field{};
    put_be(field, 0, extension_void);
    write(file, place.at, field);
  }
  file.flush();
}

}  // namespace peelfs::qcow2
