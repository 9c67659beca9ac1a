// Segments with several copies of their bytes.
#include "lvm/segments.h"

#include <algorithm>
#include <limits>

#include "peelfs/error.h"
#include "raid/dm_marks.h"

namespace peelfs::lvm {

namespace {

void check_legs(std::size_t legs) {
  if (legs <= raid::kMaxLegs) return;
  throw Error(Fault::damaged, "mirror has more legs than there can be")
      .found(std::to_string(legs))
      .expected("at most " + std::to_string(raid::kMaxLegs));
}

/// Writes to some of the legs only would make them differ, and nothing would record that.
void make_pieces_read_only(std::vector<Piece>& pieces, const std::string& reason) {
  for (Piece& piece : pieces) {
    if (piece.device->writable()) piece.device = make_read_only(piece.device, reason);
  }
}

std::string why_not_all_legs(const std::vector<raid::Leg>& legs, std::uint64_t length,
                             const std::string& reason) {
  for (const raid::Leg& leg : legs) {
    if (total(leg.good) != length || !reason.empty()) {
      return "not all legs of the mirror are here and in sync" +
             (reason.empty() ? "" : " (" + reason + ")") + ": writing to the others would split it";
    }
    if (!leg.device->writable()) {
      const std::string below = leg.device->read_only_reason();
      return "a leg of the mirror cannot be written to" + (below.empty() ? "" : ": " + below);
    }
  }
  return {};
}

}  // namespace

raid::Leg SegmentMapper::leg_of(Span span, std::uint64_t length) const {
  raid::Ranges good = complement(span.gaps, length);
  if (span.pieces.size() == 1) {
    return {span.pieces.front().device, span.pieces.front().offset, std::move(good)};
  }
  DevicePtr device =
      make_concat(std::move(span.pieces), Error(Fault::io, "no device"), "leg of a mirror");
  return {std::move(device), 0, std::move(good)};
}

Span SegmentMapper::choose(const std::vector<raid::Leg>& legs, std::uint64_t length, Volume& into,
                           const Troubles& troubles, const std::string& reason,
                           const MirrorWriting& writing) const {
  Error why = Error(Fault::missing, "no leg of the mirror that is in sync can be read" +
                                        (reason.empty() ? "" : " (" + reason + ")"))
                  .advice("the legs are shown as devices of their own; what they hold may be old")
                  .with_errno(EIO);
  const std::string text = why.what();
  raid::Choice choice = raid::choose_legs(
      legs, length, make_unreadable(kPlaceholderSize, std::move(why), "mirror without a leg"));
  if (choice.gaps.empty()) {
    into.troubles.add_degraded(troubles);
  } else {
    into.troubles.add(Trouble::degraded, text);
    into.troubles.add(troubles);
  }
  std::string refusal = why_not_all_legs(legs, length, reason);
  if (refusal.empty()) refusal = writing.refusal;
  if (!refusal.empty()) {
    make_pieces_read_only(choice.pieces, refusal);
  } else if (legs.size() > 1) {
    std::vector<Piece> all;
    for (const raid::Leg& leg : legs) all.push_back({leg.device, leg.offset, length});
    choice.pieces = {{raid::make_mirror(std::move(all), writing.marks, "mirror"), 0, length}};
  }
  return {std::move(choice.pieces), std::move(choice.gaps)};
}

// dm-raid1.c: the first leg is the default mirror. Regions that are not in sync are read from it
// and written to it only, and are then copied from it to the others, so the first leg is always
// right, also where the log says otherwise; another leg may be used instead where the log on disk
// has a region as clean. A log in memory is lost with the machine: then nothing but the first leg
// can be trusted. (The kernel makes another leg the default one when a write to the first fails,
// but keeps that in memory only, and holds writes until LVM has taken the failed leg out of the
// metadata. A first leg on a physical volume that LVM went on without is no better than the others,
// for that reason.)
Span SegmentMapper::map_mirror(const Segment& segment, Volume& into) {
  check_legs(segment.areas.size());
  const std::uint64_t length = bytes(segment.extent_count);
  if (segment.extents_moved) {
    // pvmove works on one segment after another. One that is done is written to its new place only;
    // until then the old place holds everything.
    const bool done = *segment.extents_moved >= segment.extent_count && segment.areas.size() > 1;
    Span span = map_area(segment.areas[done ? 1 : 0], segment.extent_count, into);
    make_pieces_read_only(span.pieces, "pvmove is moving it; let LVM finish that first");
    return span;
  }
  std::vector<raid::Leg> legs;
  Troubles troubles;
  bool doubtful = false;
  for (const Area& area : segment.areas) {
    Volume part;
    legs.push_back(leg_of(map_area(area, segment.extent_count, part), length));
    into.carry(part.members);
    troubles.add(part.troubles);
    doubtful = doubtful || (legs.size() == 1 && part.doubtful && segment.areas.size() > 1);
  }
  std::string reason;
  if ((doubtful || total(legs.front().good) != length) && legs.size() > 1) {
    raid::Ranges clean;
    if (segment.mirror_log.empty()) {
      reason = "the mirror's log was in memory only, so what its legs hold may be old";
    } else {
      try {
        const Volume& log = built(segment.mirror_log);
        clean =
            raid::read_mirror_log(*log.device, std::uint64_t{segment.region_size} * 512, length);
        if (total(clean) != length) reason = "regions that were not in sync";
      } catch (const Error& error) {
        reason = "log " + segment.mirror_log + ": " + error.what();
      }
    }
    for (std::size_t i = doubtful ? 0 : 1; i < legs.size(); ++i) {
      legs[i].good = intersection(legs[i].good, clean);
    }
  }
  MirrorWriting writing;
  const std::uint64_t region_size = std::uint64_t{segment.region_size} * 512;
  if (!segment.mirror_log.empty() && legs.front().device->writable() && reason.empty()) {
    try {
      const DevicePtr& log = built(segment.mirror_log).device;
      if (total(raid::read_mirror_log(*log, region_size, length)) != length) {
        writing.refusal = "not all regions of the mirror are in sync, says its log";
      } else if (!log->writable()) {
        writing.refusal = "the mirror's log cannot be written to";
      } else {
        writing.marks.push_back(raid::mirror_log_mark(log, div_round_up(length, region_size)));
      }
    } catch (const Error& error) {
      writing.refusal = "log " + segment.mirror_log + ": " + error.what();
    }
  }
  return choose(legs, length, into, troubles, reason, writing);
}

MirrorWriting SegmentMapper::raid_writing(
    const Segment& segment, const std::vector<raid::DmSuperblock>& superblocks) const {
  MirrorWriting writing;
  try {
    for (std::size_t i = 0; i < segment.legs.size(); ++i) {
      const raid::DmSuperblock& superblock = superblocks[i];
      if (superblock.state != raid::DmSuperblock::State::valid) {
        writing.refusal =
            "leg " + segment.legs[i].data + " has no superblock: let LVM activate the array once";
      } else if (superblock.array_resync_offset != std::numeric_limits<std::uint64_t>::max()) {
        writing.refusal =
            "the legs of the array may differ: let LVM activate it, which makes "
            "them equal";
      } else if (superblock.events != superblocks.front().events) {
        writing.refusal = "the superblocks of the legs differ: let LVM activate the array";
      }
      if (!writing.refusal.empty()) return writing;
      const DevicePtr& metadata = built(segment.legs[i].metadata).device;
      if (!metadata->writable()) continue;  // as its leg is, then
      for (raid::Mark& mark : raid::raid_marks(metadata)) writing.marks.push_back(std::move(mark));
    }
  } catch (const Error& error) {
    writing.refusal = error.what();
  }
  return writing;
}

raid::DmSuperblock SegmentMapper::superblock_of(const RaidLeg& leg, Troubles& troubles) const {
  raid::DmSuperblock superblock;
  if (leg.metadata.empty()) return superblock;
  try {
    return raid::read_raid_superblock(*built(leg.metadata).device);
  } catch (const Error& error) {
    superblock.state = raid::DmSuperblock::State::unreadable;
    // A missing physical volume is said once already, with the leg's data.
    if (error.fault() != Fault::missing) {
      troubles.add(Trouble::degraded, "superblock " + leg.metadata + ": " + error.what());
    }
    return superblock;
  }
}

Span SegmentMapper::map_raid1(const Segment& segment, Volume& into) {
  check_legs(segment.legs.size());
  const std::uint64_t length = bytes(segment.extent_count);
  Troubles troubles;
  std::vector<raid::DmSuperblock> superblocks;
  for (const RaidLeg& leg : segment.legs) superblocks.push_back(superblock_of(leg, troubles));
  const std::vector<raid::RaidSync> sync = raid::judge_raid_legs(superblocks);
  for (std::size_t i = 0; i < sync.size(); ++i) {
    // What a leg says that is out of use anyway does not matter.
    if (superblocks[i].unsupported.empty() || (sync[i].in_sync == 0 && !sync[i].freshest)) continue;
    Error why = Error(Fault::unsupported, "raid1 in a state that cannot be read yet")
                    .found(superblocks[i].unsupported + " in " + segment.legs[i].metadata)
                    .expected("a plain mirror");
    into.troubles.add(trouble_from(why));
    Span span;
    span.pieces.push_back({make_unreadable(length, std::move(why), "raid1 segment"), 0, length});
    append(span.gaps, {0, length});
    return span;
  }
  std::vector<raid::Leg> legs, last_resort;
  std::string reason;
  for (std::size_t i = 0; i < segment.legs.size(); ++i) {
    const LogicalVolume& described_leg = described(segment.legs[i].data);
    Volume part;
    const auto index = static_cast<std::size_t>(&described_leg - assembly_.group.volumes.data());
    raid::Leg leg = leg_of(map_volume(index, 0, length, part), length);
    into.carry(part.members);
    troubles.add(part.troubles);
    raid::RaidSync verdict = sync[i];
    // Split off with --trackchanges: the kernel is given the array without that leg.
    if (described_leg.visible && !described_leg.writable) verdict = {0, "it is split off"};
    if (described_leg.rebuild) verdict = {0, "it is marked for a rebuild"};
    if (!verdict.reason.empty()) {
      const std::string text = "leg " + described_leg.name + " is not in sync: " + verdict.reason;
      troubles.add(Trouble::degraded, text);
      reason += (reason.empty() ? "" : "; ") + text;
    }
    const std::uint64_t sectors = std::min(verdict.in_sync, length / 512);
    leg.good =
        intersection(leg.good, sectors != 0 ? raid::Ranges{{0, sectors * 512}} : raid::Ranges{});
    (described_leg.write_mostly ? last_resort : legs).push_back(std::move(leg));
  }
  for (raid::Leg& leg : last_resort) legs.push_back(std::move(leg));
  return choose(legs, length, into, troubles, reason, raid_writing(segment, superblocks));
}

}  // namespace peelfs::lvm
