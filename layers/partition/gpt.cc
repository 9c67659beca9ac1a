// The row "gpt": a disk with a GUID partition table.
#include <memory>

#include "partition/boot_sector.h"
#include "partition/gpt_table.h"
#include "partition/mbr_disk.h"
#include "partition/partition.h"
#include "partition/raid_member.h"
#include "partition/type_names.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

/// The result of the probe, for open.
struct GptState {
  GptTable table;
  bool protective = false;          ///< an MBR entry of type 0xEE guards the table
  std::uint32_t protects_from = 1;  ///< the LBA where that entry starts
  bool raid_member = false;         ///< the table is that of an array, which the disk mirrors
};

/// What sector 0 says about who owns the disk.
enum class Sector0 {
  protective,  ///< an MBR with an entry of type 0xEE, perhaps among others (hybrid)
  vacant,      ///< no table there, or one without any entry
  other,       ///< an MBR with partitions of its own, or a filesystem's boot sector
};

Sector0 judge_sector0(const ProbeInput& input) {
  const Buffer sector = read_up_to(input.device, 0, MbrSector::kSize);
  if (sector.size() < MbrSector::kSize) return Sector0::vacant;
  const MbrSector mbr = MbrSector::decode(sector);
  if (!mbr.signed_as_mbr() || !mbr.plausible()) return Sector0::vacant;
  if (mbr.has_protective()) return Sector0::protective;
  if (is_filesystem_boot_sector(sector, input.identity)) return Sector0::other;
  for (const MbrEntry& entry : mbr.entries) {
    if (entry.os_type != 0 && entry.size_in_lba != 0) return Sector0::other;
  }
  return Sector0::vacant;
}

/// Where the MBR entry of type 0xEE starts: 1, as it must, if any of them does.
std::uint32_t protects_from(const BlockDevice& device) {
  const MbrSector mbr = MbrSector::decode(read_bytes(device, 0, MbrSector::kSize));
  std::uint32_t first = 1;
  bool seen = false;
  for (const MbrEntry& entry : mbr.entries) {
    if (!entry.protective()) continue;
    if (entry.starting_lba == 1) return 1;
    if (!seen) first = entry.starting_lba;
    seen = true;
  }
  return first;
}

Inner open_partition(const Member& member, const GptTable& table, std::size_t index,
                     const PartRange& range, std::optional<std::size_t> overlap) {
  const GptTable::Partition& partition = table.partitions.at(index);
  const std::string number = std::to_string(partition.number);
  Troubles troubles;
  Inner inner;
  inner.kind = "part";
  inner.name = member.stem + "p" + number;
  inner.path = {"p" + number};
  inner.partuuid = partition.entry.unique_guid;
  inner.partlabel = partition.entry.name;
  inner.parttype = partition.entry.type_guid;
  inner.device = make_part_device(member.device, range, table.sector_size,
                                  "partition " + number + " of " + member.stem, troubles);
  if (range.count != 0 && (range.start < table.header.first_usable_lba ||
                           partition.entry.ending_lba > table.header.last_usable_lba)) {
    troubles.damage(
        Error(Fault::damaged, "the partition leaves the blocks that the GPT calls usable")
            .found(lba_range(range))
            .expected("LBA " + std::to_string(table.header.first_usable_lba) + " to " +
                      std::to_string(table.header.last_usable_lba)));
  }
  if (overlap) {
    troubles.damage(Error(Fault::damaged, "the partition overlaps partition " +
                                              std::to_string(table.partitions.at(*overlap).number))
                        .found(lba_range(range))
                        .expected("blocks that no other partition has"));
  }
  // One that begins where the disk does has the table in it again: looking inside would not end.
  inner.peel = inner.device->size() != 0 && range.start != 0 &&
               range.start < member.device->size() / table.sector_size;
  describe_partition(inner, range, table.sector_size, partition.number,
                     gpt_type_name(partition.entry.type_guid),
                     (partition.entry.attributes & GptEntry::kLegacyBootable) != 0);
  inner.trouble = troubles.summary();
  return inner;
}

}  // namespace

std::optional<Claim> gpt_probe(const ProbeInput& input) {
  GptSearch search = find_gpt(input.device);
  if (!search.table && !search.signature_seen) return std::nullopt;

  const Sector0 sector0 = judge_sector0(input);
  // As Linux does: an MBR without an entry of type 0xEE means that the disk was partitioned anew
  // and the GPT is stale.
  if (sector0 == Sector0::other) return std::nullopt;
  // No protective MBR guards the table: anything else that is on the disk has overwritten sector 0,
  // and is newer.
  if (sector0 == Sector0::vacant && !input.identity.type.empty()) return std::nullopt;
  if (!search.table) {
    if (sector0 == Sector0::protective) return std::nullopt;  // the MBR row says what is wrong
    throw Error(Fault::damaged, "the disk has a GPT header, but neither copy is valid: " +
                                    std::string(search.primary->what()) + "; " +
                                    search.backup->what())
        .advice("repair the table on a copy of the image (gdisk, testdisk)");
  }

  // Both copies are on a member only if it holds all that the array holds (a mirror).
  if (is_raid_member(input.identity) && !search.table->both_copies) return std::nullopt;

  auto state = std::make_shared<GptState>();
  state->protective = sector0 == Sector0::protective;
  if (sector0 == Sector0::protective) state->protects_from = protects_from(input.device);
  state->raid_member = is_raid_member(input.identity);
  state->table = std::move(*search.table);

  Claim claim;
  claim.format = "gpt";
  claim.uuid = state->table.header.disk_guid;
  claim.state = std::move(state);
  return claim;
}

Opened gpt_open(const OpenInput& input) {
  const Member& member = input.members.front();
  const auto* state = static_cast<const GptState*>(member.claim->state.get());
  Opened opened;
  const GptTable& table = state->table;
  Troubles troubles = table.troubles;
  if (!state->protective) {
    troubles.note(
        "no protective MBR guards the GPT: Linux sees these partitions only with its boot "
        "option \"gpt\"");
  } else if (state->protects_from != 1) {
    troubles.note("the MBR entry of type 0xEE starts at LBA " +
                  std::to_string(state->protects_from) + ", not at 1: Linux ignores such a GPT");
  }
  // An array leaves room behind its end for its own metadata.
  if (table.backup_lba != 0 && !state->raid_member) {
    troubles.note("the backup GPT header is at LBA " + std::to_string(table.backup_lba) +
                  ", not at the last LBA " +
                  std::to_string(member.device->size() / table.sector_size - 1) +
                  ": the disk has grown since it was partitioned");
  }
  std::vector<PartRange> ranges;
  ranges.reserve(table.partitions.size());
  for (const GptTable::Partition& partition : table.partitions) {
    const std::uint64_t start = partition.entry.starting_lba;
    const std::uint64_t end = partition.entry.ending_lba;
    // 0 to 2^64 - 1 counts as no range: its number of blocks is no 64-bit number.
    ranges.push_back({start, end < start ? 0 : end - start + 1});
  }
  const std::vector<std::optional<std::size_t>> overlaps = find_overlaps(ranges);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    opened.devices.push_back(open_partition(member, table, i, ranges[i], overlaps[i]));
  }
  if (opened.devices.empty()) troubles.note("the partition table is empty");
  opened.trouble = troubles.summary();
  return opened;
}

}  // namespace peelfs
