#include "lvm/lvm.h"

#include <unordered_map>

#include "lvm/assembly.h"
#include "lvm/lvm_disk.h"
#include "lvm/physical_volume.h"
#include "lvm/volumes.h"
#include "peelfs/devices.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

using namespace lvm;

constexpr std::string_view kFormat = "LVM2_member";
constexpr std::string_view kFormat1 = "LVM1_member";

/// LVM1's magic is two letters and a small number, so the UUID must look like one, too.
std::optional<Claim> probe_lvm1(const BlockDevice& device) {
  Buffer sector;
  try {
    sector = read_up_to(device, 0, kLabelSize);
  } catch (const Error&) {
    return std::nullopt;
  }
  if (sector.size() < kLabelSize) return std::nullopt;
  const ByteReader reader(sector, "LVM1 pv_disk");
  const std::uint16_t version = reader.le16(Lvm1PvDisk::kVersion);
  if (!reader.has(Lvm1PvDisk::kId, Lvm1PvDisk::kIdText) || (version != 1 && version != 2)) {
    return std::nullopt;
  }
  const std::string uuid = reader.text(Lvm1PvDisk::kPvUuid, PvHeader::kUuidLength);
  if (!is_uuid(uuid)) return std::nullopt;
  Claim claim;
  claim.format = kFormat1;
  claim.uuid = uuid_with_hyphens(uuid);
  claim.membership =
      Membership{"lvm1:" + uuid, "vg " + reader.text(Lvm1PvDisk::kVgName, 128), claim.uuid};
  return claim;
}

/// Snapshots: the volume that a person calls the snapshot is stored as the place of its changed
/// blocks, and a second, nameless one ("snapshot0") ties it to its origin.
struct Snapshots {
  std::unordered_map<std::string, const Segment*> by_store, merging_into;

  explicit Snapshots(const VolumeGroup& group) {
    for (const LogicalVolume& volume : group.volumes) {
      for (const Segment& segment : volume.segments) {
        if (segment.type != "snapshot") continue;
        by_store.emplace(segment.cow_store, &segment);
        if (segment.merging) merging_into.emplace(segment.origin, &segment);
      }
    }
  }
};

class Presenter {
 public:
  Presenter(const Assembly& assembly, std::vector<Volume> volumes)
      : group_(assembly.group), volumes_(std::move(volumes)), snapshots_(group_) {}

  std::vector<Inner> run() {
    std::vector<Inner> inners;
    // What people work with comes first, then what it is made of.
    for (const bool hidden : {false, true}) {
      for (std::size_t i = 0; i < volumes_.size(); ++i) {
        const LogicalVolume& volume = group_.volumes[i];
        if (is_snapshot_link(volume)) continue;
        const bool is_snapshot = snapshots_.by_store.contains(volume.name);
        if ((volume.visible || is_snapshot) != hidden) inners.push_back(present(i));
        if (is_snapshot && hidden) inners.push_back(present_store(i));
      }
    }
    return inners;
  }

 private:
  /// The nameless volume behind a snapshot that is shown.
  bool is_snapshot_link(const LogicalVolume& volume) const {
    return volume.problem.empty() && volume.segments.size() == 1 &&
           volume.segments.front().type == "snapshot" &&
           group_.volume_index.contains(volume.segments.front().cow_store);
  }

  Inner base(std::size_t index) const {
    const LogicalVolume& volume = group_.volumes[index];
    Inner inner;
    inner.kind = "lvm";
    inner.name = mapper_name(group_, volume);
    inner.tail = volume.name;
    inner.path = {group_.name, volume.name};
    inner.device = volumes_[index].device;
    const std::string refusal = why_read_only(volume);
    if (!refusal.empty() && inner.device->writable()) {
      inner.device = make_read_only(inner.device, refusal);
    }
    inner.members = volumes_[index].members;
    inner.trouble = trouble_of(volumes_[index]);
    inner.peel = volume.visible;
    return inner;
  }

  /// Why a volume is not written to although all that it lies on can be; "" when it is.
  std::string why_read_only(const LogicalVolume& volume) const {
    if (group_.clustered || !group_.lock_type.empty()) {
      return "its volume group is shared with other hosts, which may use it now";
    }
    if (!volume.visible) return "it is a part of another logical volume";
    if (!volume.writable) return "LVM has it as read-only; lvchange -p rw changes that";
    for (const LogicalVolume& other : group_.volumes) {
      for (const Segment& segment : other.segments) {
        if (segment.origin == volume.name || segment.cow_store == volume.name) {
          return "it belongs to a snapshot, which would change with it: let LVM activate it";
        }
      }
    }
    return {};
  }

  static std::optional<Trouble> trouble_of(const Volume& volume) {
    std::optional<Trouble> trouble = volume.troubles.summary();
    if (!trouble || volume.gaps.empty()) return trouble;
    const std::uint64_t lost = total(volume.gaps);
    const std::uint64_t size = volume.device->size();
    if (trouble->state == Trouble::degraded && lost == size) trouble->state = Trouble::missing;
    if (trouble->state == Trouble::io && lost != size) trouble->state = Trouble::degraded;
    if (trouble->state == Trouble::degraded) {
      trouble->reason = "up to " + figure(lost) + " of " + figure(size) +
                        " bytes cannot be read, from byte " +
                        std::to_string(volume.gaps.front().begin) + " on: " + trouble->reason;
    }
    return trouble;
  }

  Inner present(std::size_t index) const {
    const LogicalVolume& volume = group_.volumes[index];
    Inner inner = base(index);
    if (const auto snapshot = snapshots_.by_store.find(volume.name);
        snapshot != snapshots_.by_store.end()) {
      // Its own segments hold exceptions in a format of their own: shown as the snapshot they would
      // be wrong bytes.
      const std::uint64_t size =
          std::uint64_t{snapshot->second->extent_count} * group_.extent_size < (1ULL << 53U)
              ? snapshot->second->extent_count * group_.extent_size * 512
              : 0;
      hide(inner, size,
           Error(Fault::unsupported,
                 "segment type snapshot cannot be read yet: this is a copy-on-write snapshot of " +
                     snapshot->second->origin)
               .advice("its store is shown as " + inner.name +
                       "-cow; LVM can activate the snapshot"));
      inner.peel = true;
    } else if (snapshots_.merging_into.contains(volume.name)) {
      hide(inner, inner.device->size(),
           Error(Fault::unsupported, "snapshot " +
                                         snapshots_.merging_into.at(volume.name)->cow_store +
                                         " is being merged into it, which cannot be read yet")
               .advice("let LVM activate it and finish the merge, on a copy"));
    }
    return inner;
  }

  /// The exceptions of a snapshot as device-mapper shows them: below the snapshot, with a layer's
  /// name.
  Inner present_store(std::size_t index) const {
    Inner inner = base(index);
    inner.name += "-cow";
    inner.tail += "-cow";
    inner.path.back() += "-cow";
    inner.peel = false;
    return inner;
  }

  void hide(Inner& inner, std::uint64_t size, Error why) const {
    inner.trouble = trouble_from(why);
    inner.device = make_unreadable(size, std::move(why), "LV " + group_.name + "/" + inner.tail);
  }

  const VolumeGroup& group_;
  std::vector<Volume> volumes_;
  Snapshots snapshots_;
};

}  // namespace

std::optional<Claim> lvm_probe(const ProbeInput& input) {
  if (input.identity.type.ends_with("_raid_member")) return std::nullopt;
  std::optional<PhysicalVolume> volume;
  try {
    volume = read_physical_volume(input.device);
  } catch (const Error&) {
    // What is left of a label where something else has been made since.
    if (!input.identity.type.empty() && input.identity.type != kFormat) return std::nullopt;
    throw;
  }
  if (!volume) return probe_lvm1(input.device);
  Claim claim;
  claim.format = kFormat;
  claim.uuid = uuid_with_hyphens(volume->uuid);
  claim.membership = Membership{volume->is_orphan() ? "pv:" + claim.uuid : "", "", claim.uuid};
  if (const MetadataCopy* newest = volume->newest()) {
    claim.membership->group = uuid_with_hyphens(newest->summary.vg_uuid);
    claim.membership->group_name = "vg " + newest->summary.vg_name;
    claim.membership->generation = newest->summary.seqno;
    claim.membership->expected = newest->summary.members;
  }
  claim.state = std::make_shared<PhysicalVolume>(std::move(*volume));
  return claim;
}

Opened lvm_open(const OpenInput& input) {
  Opened opened;
  bool knows_group = false;
  for (const Member& member : input.members) {
    if (member.claim != nullptr && member.claim->format == kFormat1) {
      opened.trouble =
          Trouble{Trouble::unsupported,
                  "LVM1 physical volume of " + printable(member.claim->membership->group_name) +
                      ": only LVM2's metadata can be read; vgconvert -M2 of LVM2 before "
                      "2.03 converts it, on a copy"};
      return opened;
    }
    knows_group = knows_group || lvm::knows_group(member);
  }
  if (!knows_group) {
    opened.trouble = explain_without_group(input.members);
    return opened;
  }
  Assembly assembly = assemble(input.members);
  opened.adopted = std::move(assembly.adopted);
  opened.reports = std::move(assembly.reports);
  opened.expected = static_cast<unsigned>(assembly.group.members.size());
  Troubles troubles = assembly.troubles;
  opened.devices = Presenter(assembly, build_volumes(assembly)).run();
  if (opened.devices.size() > input.limits.devices) {
    troubles.add(Trouble::degraded, "only the first " + std::to_string(input.limits.devices) +
                                        " of " + std::to_string(opened.devices.size()) +
                                        " logical volumes are shown");
    opened.devices.resize(input.limits.devices);
  }
  opened.trouble = troubles.summary();
  return opened;
}

std::string_view lvm_recognise(const BlockDevice& file) {
  constexpr std::size_t kSector = 512;
  const Buffer bytes = read_up_to(file, 0, 4 * kSector);
  const ByteReader reader(bytes, "LVM label");
  for (std::size_t at = 0; at < bytes.size(); at += kSector) {
    if (reader.has(at + lvm::LabelHeader::kId, lvm::LabelHeader::kIdText) &&
        reader.has(at + lvm::LabelHeader::kType, lvm::LabelHeader::kTypeText)) {
      return "LVM2_member";
    }
  }
  return {};
}

}  // namespace peelfs
