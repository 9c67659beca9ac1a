#include "lvm/segments.h"

#include <algorithm>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "raid/striped_device.h"

namespace peelfs::lvm {

namespace {

/// Gaps are kept exactly as long as there are not more of them in the whole group.
constexpr std::size_t kMostRanges = 200'000;

class Zeroes : public BlockDevice {
 public:
  Zeroes() : BlockDevice(kPlaceholderSize) {}
  Extent map(std::uint64_t, std::uint64_t length) const override { return Extent::zeroes(length); }
  std::uint64_t allocated_bytes() const override { return 0; }
  std::string describe() const override { return "zero segment"; }
};

Piece as_one_piece(Span span, std::uint64_t length, const std::string& description) {
  if (span.pieces.size() == 1) return span.pieces.front();
  return {make_concat(std::move(span.pieces), Error(Fault::io, "no device"), description), 0,
          length};
}

Span unreadable(std::uint64_t length, Error why, const std::string& description) {
  Span span;
  span.pieces.push_back({make_unreadable(length, std::move(why), description), 0, length});
  append(span.gaps, {0, length});
  return span;
}

}  // namespace

SegmentMapper::SegmentMapper(const Assembly& assembly, const std::vector<Volume>& built)
    : assembly_(assembly),
      built_(built),
      absent_(assembly.carriers.size()),
      truncated_(assembly.carriers.size()),
      zeroes_(std::make_shared<Zeroes>()),
      ranges_left_(kMostRanges) {}

std::uint64_t SegmentMapper::bytes(std::uint64_t extents) const {
  const std::uint64_t sectors =
      checked_mul(extents, assembly_.group.extent_size, "size of the logical volume");
  if (sectors >= kPlaceholderSize / 512) {
    throw Error(Fault::damaged, "logical volume is larger than can be")
        .found(figure(sectors, 512) + " sectors")
        .expected("less than " + std::to_string(kPlaceholderSize / 512));
  }
  return sectors * 512;
}

Span SegmentMapper::map(const LogicalVolume& volume, const Segment& segment, Volume& into) {
  if (segment.type == "striped") return map_striped(segment, into);
  if (segment.type == "mirror") return map_mirror(segment, into);
  if (segment.type == "raid1") {
    if (volume.segments.size() != 1) {
      throw Error(Fault::damaged, "raid1 volume has more than one segment")
          .found(std::to_string(volume.segments.size()))
          .expected("1");
    }
    return map_raid1(segment, into);
  }
  return map_other(segment, into);
}

Span SegmentMapper::map_other(const Segment& segment, Volume& into) const {
  const std::uint64_t length = bytes(segment.extent_count);
  const std::string extents =
      "extents " + std::to_string(segment.start_extent) + " to " +
      std::to_string(segment.start_extent + std::uint64_t{segment.extent_count} - 1);
  if (segment.type == "zero") return {{{zeroes_, 0, length}}, {}};
  if (segment.type == "error") {
    into.troubles.add(Trouble::io,
                      extents + " are of type error: LVM put that in place of lost ones");
    return unreadable(length, Error(Fault::io, extents + " are of type error").with_errno(EIO),
                      "error segment");
  }
  Error why =
      Error(Fault::unsupported, "segment type " + segment.type + " cannot be read yet")
          .advice("its parts are shown as devices of their own; LVM can activate the whole");
  into.troubles.add(trouble_from(why));
  return unreadable(length, std::move(why), segment.type + " segment");
}

Span SegmentMapper::map_striped(const Segment& segment, Volume& into) {
  const std::size_t stripes = segment.areas.size();
  if (stripes == 1) return map_area(segment.areas.front(), segment.extent_count, into);
  if (segment.extent_count % stripes != 0) {
    throw Error(Fault::damaged, "striped segment does not divide into its stripes")
        .found(std::to_string(segment.extent_count) + " extents")
        .expected("a multiple of " + std::to_string(stripes));
  }
  const std::uint64_t each = segment.extent_count / stripes;
  const std::uint64_t length = bytes(segment.extent_count);
  const std::uint64_t stripe_size = std::uint64_t{segment.stripe_size} * 512;
  if (stripe_size == 0 || bytes(each) % stripe_size != 0) {
    throw Error(Fault::damaged, "stripe_size is not valid")
        .found(std::to_string(segment.stripe_size) + " sectors")
        .expected("a number that divides the " + std::to_string(bytes(each) / 512) +
                  " sectors of a stripe");
  }
  Span span;
  std::vector<Piece> pieces;
  for (const Area& area : segment.areas) {
    Span stripe = map_area(area, each, into);
    // A gap of one stripe leaves holes in many rows: they are taken together as one.
    const std::uint64_t row = stripe_size * stripes;  // at most length
    for (const raid::Range& gap : stripe.gaps) {
      span.gaps.push_back({gap.begin / stripe_size * row,
                           std::min(div_round_up(gap.end, stripe_size) * row, length)});
    }
    pieces.push_back(as_one_piece(std::move(stripe), bytes(each), "stripe"));
  }
  span.gaps = normalized(std::move(span.gaps));
  span.pieces.push_back(
      {raid::make_striped(std::move(pieces), stripe_size, "striped segment"), 0, length});
  return span;
}

Span SegmentMapper::map_area(const Area& area, std::uint64_t extents, Volume& into) {
  // Physical volumes come first, as in LVM2; the two kinds share their names.
  const auto& members = assembly_.group.member_index;
  if (const auto found = members.find(area.volume); found != members.end()) {
    return map_member(found->second, area, extents, into);
  }
  const auto& volumes = assembly_.group.volume_index;
  if (const auto found = volumes.find(area.volume); found != volumes.end()) {
    return map_volume(found->second, bytes(area.extent), bytes(extents), into);
  }
  throw Error(Fault::damaged, "segment lies on a volume that the volume group does not have")
      .found("\"" + area.volume + "\"")
      .expected("a physical or logical volume of the group");
}

Span SegmentMapper::map_member(std::size_t index, const Area& area, std::uint64_t extents,
                               Volume& into) {
  const GroupMember& member = assembly_.group.members[index];
  const Carrier& carrier = assembly_.carriers[index];
  if (!member.problem.empty()) {
    throw Error(Fault::damaged,
                "physical volume " + member.name + " is not well described: " + member.problem);
  }
  const std::uint64_t end = area.extent + extents;  // both of at most 32 bits
  if (end > member.extents) {
    throw Error(Fault::damaged, "segment leaves its physical volume " + name_member(member))
        .found("extents " + std::to_string(area.extent) + " to " + std::to_string(end - 1))
        .expected("less than " + std::to_string(member.extents));
  }
  const std::uint64_t length = bytes(extents);
  if (!carrier.device) {
    into.troubles.add(Trouble::degraded, carrier.missing);
    if (!absent_[index]) {
      Error why = Error(Fault::missing, carrier.missing)
                      .advice("name the disk that holds it as a source, too")
                      .with_errno(EIO);
      absent_[index] = make_unreadable(kPlaceholderSize, std::move(why), "missing physical volume");
    }
    return {{{absent_[index], 0, length}}, {{0, length}}};
  }
  into.carry({carrier.member});
  if (member.missing) {
    into.doubtful = true;
    into.troubles.add(Trouble::degraded, marked_missing(member));
  }
  const std::uint64_t sector = checked_add(member.first_extent, bytes(area.extent) / 512,
                                           "place of an extent of " + name_member(member));
  const std::uint64_t begin = checked_mul(sector, 512, "place of an extent");
  const std::uint64_t size = carrier.device->size();
  const std::uint64_t there = begin < size ? std::min(length, size - begin) : 0;
  Span span;
  if (there != 0) span.pieces.push_back({carrier.device, begin, there});
  if (there == length) return span;

  Error why =
      Error(Fault::damaged, "physical volume " + name_member(member) + " is cut off")
          .found(std::to_string(size) + " bytes")
          .expected("extents up to byte " + figure(checked_add(begin, length, "end of an extent")))
          .advice("the image may be truncated");
  if (!truncated_[index]) {
    Error in_general = Error(Fault::damaged, "physical volume " + name_member(member) +
                                                 " is cut off before this byte")
                           .found(std::to_string(size) + " bytes")
                           .advice("the image may be truncated");
    truncated_[index] = make_unreadable(kPlaceholderSize, std::move(in_general), "truncated part");
  }
  into.troubles.add(Trouble::degraded, why.what());
  span.pieces.push_back({truncated_[index], 0, length - there});
  append(span.gaps, {there, length});
  return span;
}

Span SegmentMapper::map_volume(std::size_t index, std::uint64_t begin, std::uint64_t length,
                               Volume& into) {
  const Volume& part = built_[index];
  const std::uint64_t size = part.device ? part.device->size() : 0;
  if (begin > size || length > size - begin) {
    throw Error(Fault::damaged, "segment leaves the logical volume " +
                                    assembly_.group.volumes[index].name + " that it lies on")
        .found(figure(length) + " bytes at offset " + figure(begin))
        .expected("an end within its " + std::to_string(size) + " bytes");
  }
  into.carry(part.members);
  into.doubtful = into.doubtful || part.doubtful;
  Span span;
  span.pieces.push_back({part.device, begin, length});
  span.gaps = bounded(clipped(part.gaps, begin, begin + length), length);
  // What is wrong with another part of it does not matter here.
  if (!span.gaps.empty() || part.gaps.empty()) into.troubles.add(part.troubles);
  return span;
}

raid::Ranges SegmentMapper::bounded(raid::Ranges ranges, std::uint64_t length) {
  if (ranges.size() <= ranges_left_) {
    ranges_left_ -= ranges.size();
    return ranges;
  }
  return {{0, length}};
}

const Volume& SegmentMapper::built(const std::string& name) const {
  return built_[static_cast<std::size_t>(&described(name) - assembly_.group.volumes.data())];
}

const LogicalVolume& SegmentMapper::described(const std::string& name) const {
  const auto found = assembly_.group.volume_index.find(name);
  if (found != assembly_.group.volume_index.end()) return assembly_.group.volumes[found->second];
  throw Error(Fault::damaged, "segment names a logical volume that the volume group does not have")
      .found("\"" + name + "\"");
}

}  // namespace peelfs::lvm
