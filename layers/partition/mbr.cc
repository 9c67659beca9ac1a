// The row "mbr": a disk with a legacy master boot record.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

#include "partition/boot_sector.h"
#include "partition/gpt_table.h"
#include "partition/mbr_table.h"
#include "partition/partition.h"
#include "partition/raid_member.h"
#include "partition/type_names.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

/// The result of the probe, for open.
struct MbrState {
  MbrSector mbr;
};

// PVs of AIX begin with "IBMA" in EBCDIC; Linux believes an MBR in front of one only if it has
// partitions of Linux.
bool is_aix(const BlockDevice& device, Bytes sector, const MbrSector& mbr) {
  if (!ByteReader(sector, "MBR").has(0, "\xC9\xC2\xD4\xC1")) return false;
  for (const MbrEntry& entry : mbr.entries) {
    static constexpr std::array<std::uint8_t, 4> kLinuxTypes = {0x82, 0x83, 0x8E, 0xFD};
    if (entry.extended() ||
        std::find(kLinuxTypes.begin(), kLinuxTypes.end(), entry.os_type) != kLinuxTypes.end()) {
      return false;
    }
  }
  constexpr std::uint64_t kAixLvmSector = 7;
  const Buffer record = read_up_to(device, kAixLvmSector * 512, 512);
  return ByteReader(record, "AIX LVM record").has(0, "_LVM");
}

bool is_table(const ProbeInput& input, const MbrSector& mbr) {
  if (!mbr.signed_as_mbr() || !mbr.plausible()) return false;
  bool used = false;
  bool reachable = false;
  bool blank = true;
  for (const MbrEntry& entry : mbr.entries) {
    blank = blank && entry.boot_indicator == 0 && entry.os_type == 0 && entry.starting_lba == 0 &&
            entry.size_in_lba == 0;
    if (entry.os_type == 0 || entry.size_in_lba == 0) continue;
    used = true;
    reachable = reachable || entry.starting_lba < input.device.size() / input.device.sector_size();
  }
  // Beside a filesystem, entries that reach no block of the disk are likelier boot code; a
  // signature alone is what boot loaders leave in front of it; and a protective entry without a
  // valid GPT (that row comes first) is a leftover.
  if (!input.identity.type.empty()) return reachable && !mbr.has_protective();
  return used || (blank && mbr.disk_signature != 0);
}

// lsblk shows an extended partition as what Linux makes of it: room for a boot loader, so that no
// person puts a filesystem over the logical partitions in it.
PartRange shown_range(const MbrPartition& partition, std::uint32_t sector_size) {
  if (!partition.extended) return partition.range;
  constexpr std::uint32_t kLiloBytes = 1024;
  const std::uint64_t blocks = std::max(sector_size, kLiloBytes) / sector_size;
  return {partition.range.start, std::min(partition.range.count, blocks)};
}

Inner open_partition(const Member& member, const MbrTable& table, const MbrPartition& partition) {
  const std::string number = std::to_string(partition.number);
  const PartRange range = shown_range(partition, table.sector_size);
  Troubles troubles = partition.troubles;
  Inner inner;
  inner.kind = "part";
  inner.name = member.stem + "p" + number;
  inner.path = {"p" + number};
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "0x%x", unsigned{partition.os_type});
  inner.parttype = text.data();
  if (table.disk_signature != 0) {  // without one, blkid knows no PARTUUID either
    std::snprintf(text.data(), text.size(), "%08x-%02x", unsigned{table.disk_signature},
                  unsigned{partition.number});
    inner.partuuid = text.data();
  }
  inner.device = make_part_device(member.device, range, table.sector_size,
                                  "partition " + number + " of " + member.stem, troubles);
  // There is nothing to see in an extended partition but its boot record. And in one that begins
  // where its own table does that table stands again: looking inside would not end.
  inner.peel = !partition.extended && !partition.begins_with_table &&
               range.start < member.device->size() / table.sector_size;
  describe_partition(inner, range, table.sector_size, partition.number,
                     mbr_type_name(partition.os_type), partition.bootable);
  inner.trouble = troubles.summary();
  return inner;
}

void note_overlaps(MbrTable& table) {
  std::vector<PartRange> ranges;
  ranges.reserve(table.partitions.size());
  for (const MbrPartition& partition : table.partitions) {
    ranges.push_back(partition.extended ? PartRange{} : partition.range);
  }
  const std::vector<std::optional<std::size_t>> overlaps = find_overlaps(ranges);
  for (std::size_t i = 0; i < overlaps.size(); ++i) {
    if (!overlaps[i]) continue;
    table.partitions[i].troubles.damage(
        Error(Fault::damaged, "the partition overlaps partition " +
                                  std::to_string(table.partitions[*overlaps[i]].number))
            .found(lba_range(ranges[i]))
            .expected("blocks that no other partition has"));
  }
}

Trouble protective_trouble(const BlockDevice& device) {
  const GptSearch search = find_gpt(device);
  if (search.table) return {Trouble::note, "a protective MBR; the partitions are in the GPT"};
  return trouble_from(Error(Fault::damaged, "protective MBR, but neither GPT header is valid: " +
                                                std::string(search.primary->what()) + "; " +
                                                search.backup->what())
                          .advice("repair the table on a copy of the image (gdisk, testdisk)"));
}

}  // namespace

std::optional<Claim> mbr_probe(const ProbeInput& input) {
  const Buffer sector = read_up_to(input.device, 0, MbrSector::kSize);
  if (sector.size() < MbrSector::kSize) return std::nullopt;
  const MbrSector mbr = MbrSector::decode(sector);
  if (!is_table(input, mbr)) return std::nullopt;
  // In this order: a disk with GPT may have a BPB in front of its protective entry.
  if (!mbr.has_protective() && is_filesystem_boot_sector(sector, input.identity)) {
    return std::nullopt;
  }
  if (is_aix(input.device, sector, mbr)) return std::nullopt;
  // It is the array's table: with striping, a partition cut from one member would mix up its bytes.
  if (is_raid_member(input.identity)) return std::nullopt;

  auto state = std::make_shared<MbrState>();
  state->mbr = mbr;
  Claim claim;
  claim.format = "dos";
  if (mbr.disk_signature != 0) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%08x", unsigned{mbr.disk_signature});
    claim.uuid = text.data();
  }
  claim.state = std::move(state);
  return claim;
}

Opened mbr_open(const OpenInput& input) {
  const Member& member = input.members.front();
  const auto* state = static_cast<const MbrState*>(member.claim->state.get());
  Opened opened;
  if (state->mbr.has_protective()) {
    opened.trouble = protective_trouble(*member.device);
    return opened;
  }
  MbrTable table = read_mbr(*member.device, state->mbr);
  note_overlaps(table);
  for (const MbrPartition& partition : table.partitions) {
    opened.devices.push_back(open_partition(member, table, partition));
  }
  if (opened.devices.empty()) table.troubles.note("the partition table is empty");
  if (find_gpt(*member.device).table) {
    table.troubles.note(
        "a GPT is on the disk too, but the MBR has partitions and no entry of type "
        "0xEE, so the GPT is stale: Linux ignores it as well");
  }
  opened.trouble = table.troubles.summary();
  return opened;
}

std::string_view mbr_recognise(const BlockDevice& file) {
  constexpr std::uint64_t kSector = 512;
  const Buffer bytes = read_up_to(file, 0, kSector);
  const ByteReader reader(bytes, "boot sector");
  if (!reader.has(510, "\x55\xaa")) return {};
  bool has_entry = false;
  for (std::size_t at = 446; at < 510; at += 16) {
    const std::uint8_t status = reader.u8(at);
    const std::uint8_t type = reader.u8(at + 4);
    const std::uint64_t start = reader.le32(at + 8);
    const std::uint64_t count = reader.le32(at + 12);
    if (status != 0x00 && status != 0x80) return {};
    if (type == 0) continue;
    if (start == 0 || count == 0 || (start + count) * kSector > file.size()) return {};
    has_entry = true;
  }
  return has_entry ? "dos" : std::string_view();
}

}  // namespace peelfs
