#include "lvm/volumes.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "lvm/segments.h"
#include "peelfs/error.h"

namespace peelfs::lvm {

namespace {

/// Volumes made of volumes made of ...: LVM2 comes to 8 or so (a mirror being converted below a
/// cached thin pool). The read loop walks down as many devices for each extent.
constexpr unsigned kMaxHeight = 32;

std::string doubled(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '-') text += '-';
    text += c;
  }
  return text;
}

class Builder {
 public:
  explicit Builder(const Assembly& assembly)
      : group_(assembly.group), volumes_(group_.volumes.size()), mapper_(assembly, volumes_) {
    for (const Carrier& carrier : assembly.carriers) {
      if (carrier.device) sector_sizes_[carrier.member] = carrier.device->sector_size();
    }
  }

  std::vector<Volume> run() {
    const std::size_t count = volumes_.size();
    find_users();
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < count; ++i) {
      if (parts_left_[i] == 0) ready.push_back(i);
    }
    // No recursion: a chain of a million volumes must not overflow the stack.
    for (std::size_t done = 0; done < ready.size(); ++done) {
      const std::size_t index = ready[done];
      build(index);
      for (const std::size_t user : users_[index]) {
        heights_[user] = std::max(heights_[user], heights_[index] + 1);
        if (--parts_left_[user] == 0) ready.push_back(user);
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (parts_left_[i] == 0) continue;
      fail(i, Error(Fault::damaged, "logical volume is made of itself")
                  .found("a loop through " + parts_of(i).front()));
    }
    report_shared_extents();
    return std::move(volumes_);
  }

 private:
  std::vector<std::string> parts_of(std::size_t index) const {
    std::vector<std::string> parts;
    for (const Segment& segment : group_.volumes[index].segments) {
      for (const Area& area : segment.areas) {
        if (!group_.member_index.contains(area.volume)) parts.push_back(area.volume);
      }
      for (const RaidLeg& leg : segment.legs) {
        parts.push_back(leg.data);
        if (!leg.metadata.empty()) parts.push_back(leg.metadata);
      }
      if (!segment.mirror_log.empty()) parts.push_back(segment.mirror_log);
    }
    return parts;
  }

  void find_users() {
    users_.resize(volumes_.size());
    parts_left_.resize(volumes_.size(), 0);
    heights_.resize(volumes_.size(), 0);
    for (std::size_t i = 0; i < volumes_.size(); ++i) {
      for (const std::string& part : parts_of(i)) {
        const auto found = group_.volume_index.find(part);
        if (found == group_.volume_index.end()) continue;  // reported when it is mapped
        users_[found->second].push_back(i);
        ++parts_left_[i];
      }
    }
  }

  std::string description(std::size_t index) const {
    return "LV " + display_name(group_, group_.volumes[index]);
  }

  void build(std::size_t index) {
    const LogicalVolume& described = group_.volumes[index];
    try {
      if (!described.problem.empty()) throw Error(Fault::damaged, described.problem);
      if (heights_[index] > kMaxHeight) {
        throw Error(Fault::damaged, "logical volume is made of volumes nested too deeply")
            .found(std::to_string(heights_[index]) + " levels")
            .expected("at most " + std::to_string(kMaxHeight));
      }
      mapper_.bytes(described.extents);  // bounds the sums below
      map_segments(index);
    } catch (const Error& error) {
      fail(index, error);
    }
  }

  void map_segments(std::size_t index) {
    const LogicalVolume& described = group_.volumes[index];
    Volume volume;
    std::vector<Piece> pieces;
    std::uint64_t end = 0;
    for (const Segment& segment : described.segments) {
      Span span = mapper_.map(described, segment, volume);
      for (const raid::Range& gap : span.gaps) {
        append(volume.gaps, {end + gap.begin, end + gap.end});
      }
      for (const Piece& piece : span.pieces) {
        end += piece.length;
        Piece* last = pieces.empty() ? nullptr : &pieces.back();
        if (last != nullptr && last->device == piece.device &&
            last->offset + last->length == piece.offset) {
          last->length += piece.length;
        } else {
          pieces.push_back(piece);
        }
      }
    }
    std::uint32_t sector_size = 512;
    for (const std::size_t member : volume.members) {
      sector_size = std::max(sector_size, sector_sizes_.at(member));
    }
    volume.device = make_concat(std::move(pieces), Error(Fault::io, "no device"),
                                description(index), sector_size);
    volumes_[index] = std::move(volume);
  }

  void fail(std::size_t index, const Error& error) {
    std::uint64_t size = 0;
    try {
      size = mapper_.bytes(group_.volumes[index].extents);
    } catch (const Error&) {
      // Its size is what is wrong.
    }
    Volume& volume = volumes_[index];
    volume = Volume();
    volume.device = make_unreadable(size, error, description(index));
    append(volume.gaps, {0, size});
    volume.troubles.add(trouble_from(error));
  }

  /// Two volumes on the same extents of a physical volume: at least one of them is not what it was.
  void report_shared_extents() {
    struct Use {
      std::size_t member;
      std::uint64_t begin, end;
      std::size_t volume;
    };
    std::vector<Use> uses;
    for (std::size_t i = 0; i < volumes_.size(); ++i) {
      for (const Segment& segment : group_.volumes[i].segments) {
        const std::uint64_t each = segment.type == "striped"
                                       ? segment.extent_count / segment.areas.size()
                                       : segment.extent_count;
        for (const Area& area : segment.areas) {
          const auto found = group_.member_index.find(area.volume);
          if (found != group_.member_index.end()) {
            uses.push_back({found->second, area.extent, area.extent + each, i});
          }
        }
      }
    }
    std::ranges::sort(uses, [](const Use& a, const Use& b) {
      return a.member != b.member ? a.member < b.member : a.begin < b.begin;
    });
    const Use* widest = nullptr;
    for (const Use& use : uses) {
      if (widest != nullptr && widest->member == use.member && use.begin < widest->end) {
        accuse(use.volume, widest->volume, use.member, use.begin);
        accuse(widest->volume, use.volume, use.member, use.begin);
      }
      if (widest == nullptr || widest->member != use.member || use.end > widest->end) widest = &use;
    }
  }

  void accuse(std::size_t volume, std::size_t other, std::size_t member, std::uint64_t extent) {
    volumes_[volume].troubles.add(
        Trouble::damaged,
        "extent " + std::to_string(extent) + " of physical volume " +
            name_member(group_.members[member]) + " belongs to " +
            (volume == other ? "it twice" : group_.volumes[other].name + ", too"));
  }

  const VolumeGroup& group_;
  std::vector<Volume> volumes_;
  SegmentMapper mapper_;
  std::unordered_map<std::size_t, std::uint32_t> sector_sizes_;  ///< by OpenInput.members
  std::vector<std::vector<std::size_t>> users_;  ///< of each volume, once for each time it is named
  std::vector<std::size_t> parts_left_;
  std::vector<unsigned> heights_;
};

}  // namespace

void Volume::carry(const std::vector<std::size_t>& more) {
  for (const std::size_t one : more) {
    const auto at = std::ranges::lower_bound(members, one);
    if (at == members.end() || *at != one) members.insert(at, one);
  }
}

std::vector<Volume> build_volumes(const Assembly& assembly) {
  return Builder(assembly).run();
}

std::string display_name(const VolumeGroup& group, const LogicalVolume& volume) {
  return group.name + "/" + volume.name;
}

std::string mapper_name(const VolumeGroup& group, const LogicalVolume& volume) {
  return doubled(group.name) + "-" + doubled(volume.name);
}

}  // namespace peelfs::lvm
