// Header extensions of our own: other programs keep what they do not know.
//
// A disk writes 512 bytes at once, and the list is longer. Therefore every step changes one head
// (type and length; 8 bytes at a multiple of 8) or one field of the header and no other byte that a
// program reads, and is durable before the next one begins. Between any two steps the list is whole
// and says the same as before, but for the step that publishes.
#include <algorithm>
#include <array>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/header.h"
#include "qcow2/overlay.h"

namespace peelfs::qcow2 {

namespace {

/// The type of an extension that was removed. No program reads its bytes.
constexpr std::uint32_t kExtensionVoid = 0x70656c00;
constexpr std::size_t kHeadSize = 8;

struct Place {
  std::uint32_t type = 0;
  std::size_t at = 0;  ///< of its type field, bytes
  std::size_t length = 0;
  std::size_t end() const noexcept { return round_up(at + kHeadSize + length, 8); }
  std::size_t size() const noexcept { return end() - at; }
};

/// The first cluster and where its extensions lie.
struct Area {
  Buffer cluster;
  std::vector<Place> extensions;
  std::size_t end_marker = 0;
  bool ended = false;     ///< by a mark, and not because there is no room for one
  std::size_t limit = 0;  ///< where the area ends: the backing file's name, or the cluster's end
  std::size_t name_at = 0, name_size = 0;  ///< of the backing file; 0: there is none

  Bytes data_of(const Place& place) const {
    return Bytes(cluster).subspan(place.at + kHeadSize, place.length);
  }
  /// The one that counts: a power cut may leave two of a type.
  const Place* last_of(std::uint32_t type) const&& = delete;  // it points into this
  const Place* last_of(std::uint32_t type) const& {
    const auto found = std::find_if(extensions.rbegin(), extensions.rend(),
                                    [type](const Place& place) { return place.type == type; });
    return found == extensions.rend() ? nullptr : &*found;
  }
};

Area read_area(const BlockDevice& file) {
  const Header header = read_header(file);  // has checked every length
  Area area;
  area.cluster = read_up_to(file, 0, header.cluster_size());
  area.name_at = header.disk.backing_file_offset;
  area.name_size = header.disk.backing_file_size;
  area.limit =
      area.name_at != 0 ? std::min(area.name_at, area.cluster.size()) : area.cluster.size();
  const ByteReader reader(area.cluster, "qcow2 header extensions");
  std::size_t at = header.disk.header_length;
  while (at + kHeadSize <= area.limit) {
    area.ended = reader.be32(at) == kExtensionEnd;
    if (area.ended) break;
    area.extensions.push_back({reader.be32(at), at, reader.be32(at + 4)});
    at = area.extensions.back().end();
  }
  area.end_marker = at;
  return area;
}

using Head = std::array<std::byte, kHeadSize>;

Head head_of(std::uint32_t type, std::size_t length) {
  Head head{};
  put_be(head, 0, type);
  put_be(head, 4, static_cast<std::uint32_t>(length));
  return head;
}
/// The head of a removed extension that takes up `size` bytes, the head included.
Head void_of(std::size_t size) {
  return head_of(kExtensionVoid, size - kHeadSize);
}

void write_durably(const BlockDevice& file, std::size_t at, Bytes bytes) {
  write(file, at, bytes);
  file.flush();
}

/// Puts an extension into the place of a removed one or behind the list: programs read only the
/// head there.
/// @param next the head that stands behind it then; empty: the one that is there
void put(const BlockDevice& file, std::size_t at, std::uint32_t type, Bytes data, Bytes next) {
  Buffer behind(round_up(data.size(), 8));
  std::copy(data.begin(), data.end(), behind.begin());
  behind.insert(behind.end(), next.begin(), next.end());
  if (!behind.empty()) write_durably(file, at + kHeadSize, behind);
  write_durably(file, at, head_of(type, data.size()));
}

/// Takes all of a type away but the one at `kept`.
void take_others(const BlockDevice& file, std::uint32_t type, std::size_t kept) {
  for (const Place& place : read_area(file).extensions) {
    if (place.type != type || place.at == kept) continue;
    write_durably(file, place.at, head_of(kExtensionVoid, place.length));
  }
}

/// Where an extension can be put.
struct Room {
  std::size_t at = 0;
  std::size_t size = 0;
  bool last = true;  ///< at the list's end; else in an empty extension
};

/// The smallest empty extension that is large enough; the list's end if there is none.
Room find_room(const Area& area, std::size_t needed) {
  const std::size_t end = area.end_marker + kHeadSize;
  Room best{area.end_marker, area.limit > end ? area.limit - end : 0};
  for (const Place& place : area.extensions) {
    if (place.type != kExtensionVoid || place.size() < needed) continue;
    if (best.last || place.size() < best.size) best = {place.at, place.size(), false};
  }
  return best;
}

/// Swaps an empty extension and the one behind it, or makes one of two empty ones. @return false:
/// the one behind is too large
bool move_back(const BlockDevice& file, const Area& area, const Place& empty, const Place& next) {
  if (next.type == kExtensionVoid) {
    write_durably(file, empty.at, void_of(empty.size() + next.size()));
    return true;
  }
  // The new head of the empty extension must not overwrite the old head of the one behind.
  if (next.size() >= empty.size()) return false;
  put(file, empty.at, next.type, area.data_of(next), void_of(empty.size()));
  return true;
}

/// Moves the backing file's name, which other programs put right behind the list, to the end of the
/// cluster. @return false: it is there already, or it is not known where the list ends
bool move_name(const BlockDevice& file, const Area& area) {
  if (area.name_at == 0 || !area.ended) return false;
  const std::size_t to = round_down(area.cluster.size() - area.name_size, 8);
  if (to < area.name_at + area.name_size) return false;
  write_durably(file, to, Bytes(area.cluster).subspan(area.name_at, area.name_size));
  Head field{};
  put_be(field, 0, std::uint64_t{to});
  write_durably(file, 8, field);
  return true;
}

/// One step on the way to room at the list's end. @return false: there is no more to be had
bool tidy(const BlockDevice& file, const Area& area) {
  for (std::size_t i = 0; i < area.extensions.size(); ++i) {
    const Place& place = area.extensions[i];
    if (place.type != kExtensionVoid) continue;
    if (i + 1 == area.extensions.size()) {
      write_durably(file, place.at, head_of(kExtensionEnd, 0));
      return true;
    }
    if (move_back(file, area, place, area.extensions[i + 1])) return true;
  }
  return move_name(file, area);
}

Error no_room(std::size_t wanted, std::size_t room) {
  return Error(Fault::unsupported, "the image's header has no room for what peelfs notes there")
      .found(std::to_string(room) + " bytes")
      .expected(std::to_string(wanted))
      .with_errno(ENOSPC);
}

}  // namespace

std::optional<Buffer> read_extension(const BlockDevice& file, std::uint32_t type) {
  const Area area = read_area(file);
  const Place* const place = area.last_of(type);
  if (place == nullptr) return std::nullopt;
  const Bytes data = area.data_of(*place);
  return Buffer(data.begin(), data.end());
}

void write_extension(const BlockDevice& file, const HeaderExtension& extension) {
  Area area = read_area(file);
  if (const Place* const old = area.last_of(extension.type)) {
    take_others(file, extension.type, old->at);
    area = read_area(file);
  }
  const std::size_t needed = round_up(kHeadSize + extension.data.size(), 8);
  Room room = find_room(area, needed);
  while (room.size < needed) {
    if (!tidy(file, area)) throw no_room(needed, room.size);
    area = read_area(file);
    room = find_room(area, needed);
  }
  const Head next =
      room.last ? head_of(kExtensionEnd, 0) : void_of(std::max(room.size - needed, kHeadSize));
  const bool exact = !room.last && room.size == needed;
  put(file, room.at, extension.type, extension.data, exact ? Bytes() : Bytes(next));
  // Old ones are removed at once: when qemu writes the header it reverses the order of extensions
  // that it does not know, and the last one counts.
  take_others(file, extension.type, room.at);
}

void remove_extension(const BlockDevice& file, std::uint32_t type) {
  {
    const Area area = read_area(file);
    // Removes the ones that do not count first, so that the one that counts stays the same until
    // none is left.
    if (const Place* const last = area.last_of(type)) take_others(file, type, last->at);
  }
  take_others(file, type, 0);
}

}  // namespace peelfs::qcow2
