#include "qcow2/qcow2.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/image_disk.h"
#include "peelfs/devices.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "qcow2/read/open.h"
#include "qcow2/read/snapshot_table.h"

namespace peelfs {

namespace {

/// What the largest L1 table of the largest clusters describes.
constexpr std::uint64_t kMaxDiskSize = 1ULL << 61U;

using qcow2::Image;
using qcow2::Snapshot;

/// Names of snapshots as people see them, no two alike.
class SnapshotNames {
 public:
  std::string name_of(const Snapshot& snapshot, std::size_t index) {
    const std::string number = std::to_string(index + 1);
    const std::string& id = snapshot.id.empty() ? number : snapshot.id;
    std::string name = snapshot.name.empty() ? id : snapshot.name;
    if (used_.insert(name).second) return name;
    name += "." + id;
    while (!used_.insert(name).second) name += "." + number;
    return name;
  }

 private:
  std::set<std::string> used_;
};

/// @return the snapshot's disk, or one that cannot be read, and why
std::pair<DevicePtr, std::optional<Trouble>> open_snapshot(
    const std::shared_ptr<const Image>& image, const Snapshot& snapshot, const std::string& name) {
  const qcow2::Header& header = image->header;
  const std::string whose = "snapshot '" + printable(name) + "'";
  const std::string description = whose + " of qcow2 " + image->name;
  // A file of an absurd size would only break what looks at it.
  const bool absurd = snapshot.size > kMaxDiskSize;
  const std::uint64_t shown_size = absurd ? header.size() : snapshot.size;
  const auto unreadable = [&](Error why) {
    Trouble trouble = trouble_from(why);
    return std::pair(make_unreadable(shown_size, std::move(why), description),
                     std::optional(std::move(trouble)));
  };
  if (header.has_data_file()) {
    return unreadable(
        Error(Fault::unsupported, whose + " is in an image with an external data file")
            .expected("snapshots only where the image holds its data: elsewhere the data file has "
                      "changed since"));
  }
  if (auto problem = qcow2::check_l1(header, snapshot.l1, image->file->size(), whose)) {
    return unreadable(*std::move(problem));
  }
  const std::uint64_t needed = qcow2::l1_entries_needed(header, snapshot.size);
  if (absurd) {
    return unreadable(Error(Fault::damaged, "the size of " + whose + " is absurd")
                          .found(figure(snapshot.size) + " bytes")
                          .expected("what an L1 table can describe"));
  }
  Troubles troubles = image->troubles;
  if (snapshot.has_size && snapshot.l1.entries < needed) {
    troubles.add(Trouble::degraded, "the L1 table of " + whose + " has " +
                                        std::to_string(snapshot.l1.entries) +
                                        " entries where its disk needs " + std::to_string(needed) +
                                        ": what lies behind cannot be read");
  }
  return {qcow2::make_disk(image, snapshot.size, snapshot.l1, !snapshot.has_size, description),
          troubles.summary()};
}

void add_snapshots(const std::shared_ptr<const Image>& image, const Inner& disk,
                   const Limits& limits, Troubles& troubles, std::vector<Inner>& devices) {
  const qcow2::SnapshotTable table = qcow2::read_snapshots(*image->file, image->header);
  if (table.damage) {
    troubles.add(Trouble::degraded,
                 "not all snapshots can be shown: " + std::string(table.damage->what()));
  }
  SnapshotNames names;
  for (std::size_t i = 0; i < table.snapshots.size(); ++i) {
    if (devices.size() >= limits.devices) {
      troubles.add(Trouble::degraded, "only the first " + std::to_string(i) + " of " +
                                          std::to_string(table.snapshots.size()) +
                                          " snapshots are shown: the limit on devices is reached");
      return;
    }
    const std::string name = names.name_of(table.snapshots[i], i);
    auto [device, trouble] = open_snapshot(image, table.snapshots[i], name);
    Inner inner;
    inner.kind = "snapshot";
    inner.name = disk.name + "@" + name;
    inner.stem = inner.name;
    inner.tail = disk.tail.empty() ? "" : disk.tail + "@" + name;
    inner.path = {disk.path.empty() ? "@" + name : disk.path.back() + "@" + name};
    inner.device = std::move(device);
    inner.trouble = std::move(trouble);
    inner.moment = Moment{table.snapshots[i].name, table.snapshots[i].date_seconds,
                          table.snapshots[i].date_nanoseconds};
    devices.push_back(std::move(inner));
  }
}

}  // namespace

std::optional<Claim> qcow2_probe(const ProbeInput& input) {
  const Buffer start = read_up_to(input.device, 0, 8);
  const ByteReader reader(start, "qcow2 header");
  if (start.size() < 8 || !reader.has(0, qcow2::kMagic)) return std::nullopt;
  Claim claim;
  // blkid does not know either; version 1 is a format of its own to qemu, with the same magic.
  claim.format = reader.be32(4) == 1 ? "qcow" : "qcow2";
  return claim;
}

std::vector<std::string> qcow2_parts(const BlockDevice& file) {
  const qcow2::Header header = qcow2::read_header(file);
  if (!header.has_data_file() || header.data_file.empty()) return {};
  return {qcow2::referenced_path(header.data_file)};
}

Opened qcow2_open(const OpenInput& input) {
  const Member& member = input.members[0];
  Inner disk = begin_image_disk(member, "qcow2");

  const qcow2::Surroundings surroundings{input, qcow2::process_caches()};
  const std::shared_ptr<const Image> image = qcow2::open_image(
      {member.device, member.references, printable(disk.name), {disk.name, member.stem}},
      surroundings);
  disk.device = qcow2::make_active_disk(image, "qcow2 " + image->name);
  disk.parts = image->parts;

  Opened opened;
  Troubles troubles = image->troubles;
  opened.devices.push_back(std::move(disk));
  // The first device is found again by its index: adding others moves it.
  const Inner named = opened.devices.front();
  add_snapshots(image, named, input.limits, troubles, opened.devices);
  opened.devices.front().trouble = troubles.summary();
  return opened;
}

}  // namespace peelfs
