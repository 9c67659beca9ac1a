#include "partition/mbr_table.h"

#include <set>
#include <string>

#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr std::uint32_t kFirstLogical = 5;

// Linux numbers at most 255 partitions of a disk; a chain of more records than this is an attack.
constexpr std::size_t kMostRecords = 4096;

/// Follows the chain of one extended partition. All sums are of 32-bit numbers in 64 bits.
class Chain {
 public:
  Chain(const BlockDevice& device, const PartRange& extended, std::set<std::uint64_t>& visited,
        MbrTable& table, std::uint32_t& next_number)
      : device_(device),
        extended_(extended),
        visited_(visited),
        table_(table),
        next_number_(next_number) {}

  void follow() {
    if (extended_.start == 0) {
      end_with("the extended partition begins with the MBR itself", "start LBA 0",
               "at least LBA 1");
      return;
    }
    PartRange record = extended_;
    while (true) {
      if (!visited_.insert(record.start).second) {
        end_with("the chain of extended boot records loops",
                 "LBA " + std::to_string(record.start) + " a second time",
                 "a record that was not read before");
        return;
      }
      if (visited_.size() > kMostRecords) {
        end_with("the chain of extended boot records is too long",
                 "more than " + std::to_string(kMostRecords) + " records", "a few dozen");
        return;
      }
      const std::optional<MbrSector> sector = read_record(record.start);
      if (!sector) return;
      for (std::size_t i = 0; i < sector->entries.size(); ++i) {
        add_logical(sector->entries.at(i), i, record);
      }
      const std::optional<PartRange> next = next_record(*sector, record);
      if (!next) return;
      record = *next;
    }
  }

 private:
  void end_with(const std::string& what, const std::string& found, const std::string& expected) {
    table_.troubles.damage(Error(Fault::damaged, what + "; logical partitions behind it are lost")
                               .found(found)
                               .expected(expected)
                               .advice("repair the table on a copy of the image (testdisk)"));
  }

  std::optional<MbrSector> read_record(std::uint64_t lba) {
    const std::uint64_t blocks = device_.size() / table_.sector_size;
    if (lba >= blocks) {
      end_with("an extended boot record lies beyond the end of the disk",
               "LBA " + std::to_string(lba), "at most LBA " + std::to_string(blocks - 1));
      return std::nullopt;
    }
    try {
      const MbrSector sector =
          MbrSector::decode(read_bytes(device_, lba * table_.sector_size, MbrSector::kSize));
      if (sector.signed_as_mbr()) return sector;
      end_with("the extended boot record at LBA " + std::to_string(lba) + " has no signature",
               hex(sector.signature), hex(MbrSector::kSignature));
    } catch (const Error& error) {
      // One record that cannot be read must not cost the partitions that were found before it.
      table_.troubles.damage("the extended boot record at LBA " + std::to_string(lba) +
                             " cannot be read: " + error.what());
    }
    return std::nullopt;
  }

  void add_logical(const MbrEntry& entry, std::size_t place, const PartRange& record) {
    if (entry.size_in_lba == 0 || entry.extended()) return;
    const PartRange range{record.start + entry.starting_lba, entry.size_in_lba};
    const bool inside_record =
        std::uint64_t{entry.starting_lba} + entry.size_in_lba <= record.count;
    const bool inside_extended = range.start + range.count <= extended_.start + extended_.count;
    // OS/2 uses all four entries; elsewhere garbage is found in the last two.
    if (place >= 2 && !(inside_record && inside_extended)) return;

    MbrPartition logical;
    logical.number = next_number_++;
    logical.os_type = entry.os_type;
    logical.bootable = entry.boot_indicator == 0x80;
    logical.begins_with_table = entry.starting_lba == 0;
    logical.range = range;
    if (!inside_extended) {
      logical.troubles.damage(
          Error(Fault::damaged, "the logical partition leaves its extended partition")
              .found(lba_range(range))
              .expected("a place within " + lba_range(extended_)));
    }
    table_.partitions.push_back(std::move(logical));
  }

  // The first link counts; its place is relative to the extended partition, not to this record. A
  // link to the start of the extended partition would only begin the chain again.
  std::optional<PartRange> next_record(const MbrSector& sector, const PartRange& record) {
    for (const MbrEntry& entry : sector.entries) {
      if (entry.size_in_lba == 0 || !entry.extended()) continue;
      if (entry.starting_lba == 0) {
        table_.troubles.note("the extended boot record at LBA " + std::to_string(record.start) +
                             " links to the first one; that link is ignored");
        continue;
      }
      const PartRange next{extended_.start + entry.starting_lba, entry.size_in_lba};
      if (next.start >= extended_.start + extended_.count) {
        table_.troubles.note("the extended boot record at LBA " + std::to_string(next.start) +
                             " lies outside of its extended partition, " + lba_range(extended_));
      }
      return next;
    }
    return std::nullopt;
  }

  const BlockDevice& device_;
  const PartRange extended_;
  std::set<std::uint64_t>& visited_;
  MbrTable& table_;
  std::uint32_t& next_number_;
};

}  // namespace

MbrTable read_mbr(const BlockDevice& device, const MbrSector& mbr) {
  MbrTable table;
  table.sector_size = device.sector_size();
  table.disk_signature = mbr.disk_signature;
  for (std::uint32_t slot = 0; slot < mbr.entries.size(); ++slot) {
    const MbrEntry& entry = mbr.entries.at(slot);
    if (entry.size_in_lba == 0) continue;
    MbrPartition primary;
    primary.number = slot + 1;
    primary.os_type = entry.os_type;
    primary.bootable = entry.boot_indicator == 0x80;
    primary.extended = entry.extended();
    primary.begins_with_table = entry.starting_lba == 0;
    primary.range = {entry.starting_lba, entry.size_in_lba};
    if (entry.os_type == 0) {
      primary.troubles.note(
          "the entry has the type of an unused one, 0, and yet a size: Linux shows it");
    }
    table.partitions.push_back(std::move(primary));
  }

  std::uint32_t next_number = kFirstLogical;
  std::set<std::uint64_t> visited;
  const std::size_t primaries = table.partitions.size();
  for (std::size_t i = 0; i < primaries; ++i) {
    if (!table.partitions[i].extended) continue;
    const PartRange extended = table.partitions[i].range;
    Chain(device, extended, visited, table, next_number).follow();
  }
  return table;
}

}  // namespace peelfs
