#include "lvm/metadata.h"

#include <algorithm>
#include <limits>

#include "lvm/config.h"
#include "lvm/lvm_disk.h"
#include "peelfs/error.h"

namespace peelfs::lvm {

namespace {

constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMost63 = std::numeric_limits<std::int64_t>::max();

std::uint32_t get_u32(const ConfigNode& section, std::string_view key) {
  return static_cast<std::uint32_t>(get_number(section, key, kMost32));
}

std::uint32_t find_u32(const ConfigNode& section, std::string_view key) {
  return static_cast<std::uint32_t>(find_number(section, key, kMost32).value_or(0));
}

std::string get_uuid(const ConfigNode& section) {
  const std::string text = get_text(section, "id");
  std::optional<std::string> uuid = uuid_without_hyphens(text);
  if (uuid) return *uuid;
  throw Error(Fault::damaged, "section \"" + std::string(section.key) + "\" has no valid id")
      .found("\"" + text + "\"")
      .expected("32 letters and digits");
}

/// Pairs of a volume's name and an extent.
std::vector<Area> read_areas(const ConfigNode& section, std::string_view key,
                             std::string_view count_key) {
  const std::uint32_t count = get_u32(section, count_key);
  const std::vector<ConfigValue> values = list_of(section, key);
  if (count == 0 || values.size() != 2 * std::uint64_t{count}) {
    throw Error(Fault::damaged,
                "list \"" + std::string(key) + "\" is not of the length it should be")
        .found(std::to_string(values.size()) + " values")
        .expected("two for each of " + std::string(count_key) + " = " + std::to_string(count));
  }
  std::vector<Area> areas;
  areas.reserve(count);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    if (!values[i].text || !values[i + 1].number || *values[i + 1].number > kMost32) {
      throw Error(Fault::damaged, "list \"" + std::string(key) + "\" is not of volumes and extents")
          .found("something else at place " + std::to_string(i));
    }
    areas.push_back({*values[i].text, static_cast<std::uint32_t>(*values[i + 1].number)});
  }
  return areas;
}

/// Metadata and data volumes; as in LVM2, the metadata volumes are known by their names.
std::vector<RaidLeg> read_legs(const ConfigNode& section) {
  const std::uint32_t count = get_u32(section, "device_count");
  std::vector<RaidLeg> legs;
  RaidLeg leg;
  for (const ConfigValue& value : list_of(section, "raids")) {
    if (!value.text) throw Error(Fault::damaged, "list \"raids\" holds something that is no name");
    if (leg.metadata.empty() && value.text->find("_rmeta_") != std::string::npos) {
      leg.metadata = *value.text;
      continue;
    }
    leg.data = *value.text;
    legs.push_back(std::move(leg));
    leg = {};
  }
  if (legs.empty() || legs.size() != count || !leg.metadata.empty()) {
    throw Error(Fault::damaged, "list \"raids\" is not of the length it should be")
        .found(std::to_string(legs.size()) + " legs")
        .expected("device_count = " + std::to_string(count));
  }
  return legs;
}

Segment read_segment(const ConfigNode& section) {
  Segment segment;
  segment.start_extent = get_u32(section, "start_extent");
  segment.extent_count = get_u32(section, "extent_count");
  segment.type = find_text(section, "type").value_or("striped");
  if (segment.type == "linear") segment.type = "striped";
  if (segment.type == "striped") {
    segment.areas = read_areas(section, "stripes", "stripe_count");
    if (segment.areas.size() > 1) segment.stripe_size = get_u32(section, "stripe_size");
  } else if (segment.type == "mirror") {
    segment.areas = read_areas(section, "mirrors", "mirror_count");
    segment.region_size = find_u32(section, "region_size");
    segment.mirror_log = find_text(section, "mirror_log").value_or("");
    if (const auto moved = find_number(section, "extents_moved", kMost32)) {
      segment.extents_moved = static_cast<std::uint32_t>(*moved);
    }
  } else if (segment.type == "raid1") {
    segment.legs = read_legs(section);
  } else if (segment.type == "snapshot") {
    segment.origin = get_text(section, "origin");
    const std::optional<std::string> merging = find_text(section, "merging_store");
    segment.merging = merging.has_value();
    segment.cow_store = merging ? *merging : get_text(section, "cow_store");
  }
  return segment;
}

/// Puts segments in order and proves that they tile the volume.
void order_segments(LogicalVolume& volume) {
  std::ranges::stable_sort(volume.segments, {}, &Segment::start_extent);
  std::uint64_t end = 0;
  for (const Segment& segment : volume.segments) {
    if (segment.extent_count == 0 || segment.start_extent != end) {
      throw Error(Fault::damaged, "segments do not follow one another")
          .found(std::to_string(segment.extent_count) + " extents from " +
                 std::to_string(segment.start_extent))
          .expected("at least one, from " + std::to_string(end));
    }
    end += segment.extent_count;  // of 32 bits each, and fewer than 2^32 of them
  }
  if (end > kMost32) {
    throw Error(Fault::damaged, "logical volume has more extents than can be counted")
        .found(std::to_string(end))
        .expected("at most " + std::to_string(kMost32));
  }
}

LogicalVolume read_volume(const ConfigNode& section) {
  LogicalVolume volume;
  volume.name = section.key;
  volume.visible = list_holds(section, "status", "VISIBLE");
  volume.writable =
      list_holds(section, "status", "WRITE") || list_holds(section, "flags", "WRITE_LOCKED");
  volume.rebuild = list_holds(section, "status", "REBUILD");
  volume.write_mostly = list_holds(section, "status", "WRITEMOSTLY");
  try {
    volume.uuid = get_uuid(section);
    for (const ConfigNode* segment : sections_of(section)) {
      volume.segments.push_back(read_segment(*segment));
      volume.extents += volume.segments.back().extent_count;
    }
    const std::uint64_t count = get_number(section, "segment_count", kMost32);
    if (count != volume.segments.size() || count == 0) {
      throw Error(Fault::damaged, "segment_count is not the number of segments")
          .found(std::to_string(count))
          .expected(std::to_string(volume.segments.size()) + ", at least 1");
    }
    order_segments(volume);
  } catch (const Error& error) {
    volume.problem = error.what();
  }
  return volume;
}

GroupMember read_member(const ConfigNode& section) {
  GroupMember member;
  member.name = section.key;
  try {
    member.uuid = get_uuid(section);
    member.device_hint = find_text(section, "device").value_or("");
    member.missing =
        list_holds(section, "flags", "MISSING") || list_holds(section, "status", "MISSING");
    member.device_size = find_number(section, "dev_size", kMost63).value_or(0);
    member.first_extent = get_number(section, "pe_start", kMost63);
    member.extents = get_u32(section, "pe_count");
  } catch (const Error& error) {
    member.problem = error.what();
  }
  return member;
}

template <typename Thing>
void index_by_name(const std::vector<Thing>& things,
                   std::unordered_map<std::string, std::size_t>& index) {
  index.reserve(things.size());
  for (std::size_t i = 0; i < things.size(); ++i) index.emplace(things[i].name, i);
}

}  // namespace

VolumeGroup parse_metadata(const std::string& text) {
  const ConfigTree tree(text);
  const ConfigNode* section = tree.first_section();
  if (section == nullptr) {
    throw Error(Fault::damaged, "LVM2 metadata text holds no volume group")
        .expected("a section that is named as the group");
  }
  VolumeGroup group;
  group.name = section->key;
  group.uuid = get_uuid(*section);
  group.seqno = get_number(*section, "seqno", kMost32);
  group.extent_size = get_number(*section, "extent_size", kMost32);
  if (group.extent_size == 0) {
    throw Error(Fault::damaged, "extent_size of volume group " + group.name + " is not valid")
        .found("0")
        .expected("at least 1 sector");
  }
  group.exported = list_holds(*section, "status", "EXPORTED");
  group.clustered = list_holds(*section, "status", "CLUSTERED");
  group.lock_type = find_text(*section, "lock_type").value_or("");
  group.system_id = find_text(*section, "system_id").value_or("");
  if (const ConfigNode* members = find_section(*section, "physical_volumes")) {
    for (const ConfigNode* one : sections_of(*members)) group.members.push_back(read_member(*one));
  }
  if (const ConfigNode* volumes = find_section(*section, "logical_volumes")) {
    for (const ConfigNode* one : sections_of(*volumes)) group.volumes.push_back(read_volume(*one));
  }
  index_by_name(group.members, group.member_index);
  index_by_name(group.volumes, group.volume_index);
  for (std::size_t i = 0; i < group.volumes.size(); ++i) {
    LogicalVolume& volume = group.volumes[i];
    if (group.volume_index.at(volume.name) != i) {
      volume.problem = "the volume group has another logical volume of this name";
    }
  }
  return group;
}

}  // namespace peelfs::lvm
