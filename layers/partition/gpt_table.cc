#include "partition/gpt_table.h"

#include <algorithm>
#include <bit>

#include "partition/crc32.h"
#include "partition/mbr_disk.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

// Linux refuses arrays that do not fit one allocation of this size; no program makes larger ones.
constexpr std::uint64_t kMostArrayBytes = 4ULL << 20U;

constexpr std::uint64_t kPrimaryLba = 1;

/// One of the two copies: header and entry array.
struct Copy {
  GptHeader header;
  Buffer array;
};

std::string describe_copy(std::uint32_t sector_size, std::uint64_t lba) {
  return "GPT header at LBA " + std::to_string(lba) + " (" + std::to_string(sector_size) +
         "-byte blocks)";
}

void check_header(const GptHeader& header, Bytes block, std::uint64_t lba,
                  const std::string& what) {
  if (header.header_size < GptHeader::kMinimumSize || header.header_size > block.size()) {
    throw Error(Fault::damaged, what + " has an impossible HeaderSize")
        .found(std::to_string(header.header_size))
        .expected("92 to " + std::to_string(block.size()));
  }
  Buffer covered(block.begin(), block.begin() + header.header_size);
  std::fill_n(covered.begin() + GptHeader::kChecksumOffset, GptHeader::kChecksumSize, std::byte{0});
  if (const std::uint32_t crc = crc32(covered); crc != header.header_crc32) {
    throw Error(Fault::damaged, what + " has a wrong checksum")
        .found(hex(crc) + " computed over its " + std::to_string(header.header_size) + " bytes")
        .expected(hex(header.header_crc32) + " as HeaderCRC32 says");
  }
  if (header.my_lba != lba) {
    throw Error(Fault::damaged, what + " belongs to another place")
        .found("MyLBA " + std::to_string(header.my_lba))
        .expected(std::to_string(lba));
  }
  if (header.first_usable_lba > header.last_usable_lba) {
    throw Error(Fault::damaged, what + " leaves no usable blocks")
        .found("FirstUsableLBA " + std::to_string(header.first_usable_lba))
        .expected("at most LastUsableLBA " + std::to_string(header.last_usable_lba));
  }
  // SizeOfPartitionEntry = 128 * 2^n; the array's bound keeps n small.
  if (header.entry_size < GptEntry::kSize || !std::has_single_bit(header.entry_size)) {
    throw Error(Fault::damaged, what + " has an impossible SizeOfPartitionEntry")
        .found(std::to_string(header.entry_size))
        .expected("128 times a power of two");
  }
  const std::uint64_t bytes =
      std::uint64_t{header.number_of_entries} * header.entry_size;  // 32 x 32 bits
  if (bytes == 0 || bytes > kMostArrayBytes) {
    throw Error(Fault::damaged, what + " has an absurd number of entries")
        .found(std::to_string(header.number_of_entries) + " of " +
               std::to_string(header.entry_size) + " bytes")
        .expected("1 to " + std::to_string(kMostArrayBytes / header.entry_size));
  }
}

Buffer read_array(const BlockDevice& device, const GptHeader& header, std::uint32_t sector_size,
                  const std::string& what) {
  const std::uint64_t length = std::uint64_t{header.number_of_entries} * header.entry_size;
  const std::uint64_t blocks = device.size() / sector_size;
  if (header.partition_entry_lba < 2 || header.partition_entry_lba >= blocks ||
      length > device.size() - header.partition_entry_lba * sector_size) {
    throw Error(Fault::damaged, what + " puts its entry array outside of the disk")
        .found("PartitionEntryLBA " + figure(header.partition_entry_lba, 512) + " and " +
               std::to_string(length) + " bytes")
        .expected("a place between LBA 2 and the disk's last, " + std::to_string(blocks - 1));
  }
  Buffer array = read_bytes(device, header.partition_entry_lba * sector_size,
                            static_cast<std::size_t>(length));
  if (const std::uint32_t crc = crc32(array); crc != header.entry_array_crc32) {
    throw Error(Fault::damaged, what + " has an entry array with a wrong checksum")
        .found(hex(crc) + " computed over " + std::to_string(length) + " bytes at LBA " +
               std::to_string(header.partition_entry_lba))
        .expected(hex(header.entry_array_crc32) + " as PartitionEntryArrayCRC32 says");
  }
  return array;
}

/// The search of one disk: remembers the first thing that was wrong with each copy, preferring a
/// place where a header evidently once was.
class Finder {
 public:
  explicit Finder(const BlockDevice& device) : device_(device) {}

  GptSearch run() {
    GptSearch search;
    std::optional<Copy> copy;
    std::uint32_t sector_size = 0;
    for (const std::uint32_t size : sector_sizes()) {
      sector_size = size;
      if ((copy = try_copy(size, kPrimaryLba, primary_))) break;
    }
    if (copy) {
      search.table = from_primary(std::move(*copy), sector_size);
    } else {
      search.table = from_backup();
    }
    search.primary = primary_.error;
    search.backup = backup_.error;
    search.signature_seen = primary_.signature || backup_.signature;
    return search;
  }

 private:
  struct Verdict {
    std::optional<Error> error;
    bool signature = false;
    std::uint64_t alternate_lba = 0;  ///< from a damaged header; 0: unknown
    std::uint32_t sector_size = 0;
  };

  std::vector<std::uint32_t> sector_sizes() const {
    std::vector<std::uint32_t> sizes = {device_.sector_size()};
    for (const std::uint32_t size : {512U, 4096U, 1024U, 2048U}) {
      if (size != sizes.front()) sizes.push_back(size);
    }
    return sizes;
  }

  // A copy that cannot be read counts as a damaged one, because there is another copy: failures
  // become a part of the verdict, and are not thrown to the caller.
  std::optional<Copy> try_copy(std::uint32_t sector_size, std::uint64_t lba,
                               Verdict& verdict) const {
    const std::string what = describe_copy(sector_size, lba);
    bool signature = false;
    try {
      const std::uint64_t blocks = device_.size() / sector_size;
      if (lba == 0 || lba >= blocks) {
        throw Error(Fault::damaged, what + " lies outside of the disk")
            .found(std::to_string(blocks) + " blocks")
            .expected("at least " + figure(lba, 512) + " and one more");
      }
      const Buffer block = read_bytes(device_, lba * sector_size, sector_size);
      signature = ByteReader(block, "GPT header").has(0, GptHeader::kSignature);
      if (!signature) {
        throw Error(Fault::damaged, what + " is not there")
            .found("\"" + std::string(as_text(Bytes(block).first(8))) + "\"")
            .expected("the signature \"EFI PART\"");
      }
      Copy copy{GptHeader::decode(block), {}};
      if (!verdict.signature) {
        verdict.alternate_lba = copy.header.alternate_lba;
        verdict.sector_size = sector_size;
      }
      check_header(copy.header, block, lba, what);
      copy.array = read_array(device_, copy.header, sector_size, what);
      return copy;
    } catch (const Error& error) {
      if (!verdict.error || (signature && !verdict.signature)) verdict.error = error;
      verdict.signature = verdict.signature || signature;
      return std::nullopt;
    }
  }

  GptTable from_primary(Copy primary, std::uint32_t sector_size) {
    const std::uint64_t last_lba = device_.size() / sector_size - 1;
    GptTable table = decode(std::move(primary.header), primary.array, sector_size);
    const GptHeader& header = table.header;
    if (header.last_usable_lba > last_lba || header.alternate_lba > last_lba) {
      const Error error =
          Error(Fault::damaged, "the disk is smaller than its GPT says")
              .found("a last LBA of " + std::to_string(last_lba))
              .expected("the backup header at LBA " + figure(header.alternate_lba, 512) +
                        " and usable blocks to LBA " + figure(header.last_usable_lba, 512))
              .advice("the image is truncated: look for a whole copy of it");
      // With nothing but the backup header cut off, all partitions are still there.
      if (header.last_usable_lba > last_lba) {
        table.troubles.damage(error);
      } else {
        table.troubles.note(error.what());
      }
      return table;
    }
    std::optional<Copy> backup;
    if (header.alternate_lba > kPrimaryLba) {  // else it would be its own backup
      backup = try_copy(sector_size, header.alternate_lba, backup_);
    }
    if (!backup && header.alternate_lba != last_lba) {
      backup = try_copy(sector_size, last_lba, backup_);
    }
    if (!backup) {
      table.troubles.note("the backup GPT is damaged, the primary is used: " +
                          std::string(backup_.error->what()));
      return table;
    }
    table.both_copies = true;
    if (backup->header.my_lba != last_lba) table.backup_lba = backup->header.my_lba;
    if (backup->header.entry_array_crc32 != header.entry_array_crc32 ||
        backup->header.disk_guid != header.disk_guid) {
      table.troubles.note("primary and backup GPT are both valid but differ; the primary is used");
    }
    return table;
  }

  std::optional<GptTable> from_backup() {
    for (const std::uint32_t size : sector_sizes()) {
      for (const std::uint64_t lba : backup_places(size)) {
        std::optional<Copy> copy = try_copy(size, lba, backup_);
        if (!copy) continue;
        GptTable table = decode(std::move(copy->header), copy->array, size);
        table.from_backup = true;
        table.troubles.note("the primary GPT is damaged, the backup at LBA " + std::to_string(lba) +
                            " is used: " + primary_.error->what());
        return table;
      }
    }
    if (!backup_.error) {
      backup_.error = Error(Fault::damaged, "there is no room for a backup GPT header")
                          .found("a disk of " + std::to_string(device_.size()) + " bytes")
                          .expected("at least three blocks of 512 bytes");
    }
    return std::nullopt;
  }

  std::vector<std::uint64_t> backup_places(std::uint32_t sector_size) const {
    std::vector<std::uint64_t> places;
    const auto add = [&](std::uint64_t lba) {
      if (lba > kPrimaryLba && lba < device_.size() / sector_size &&
          std::find(places.begin(), places.end(), lba) == places.end()) {
        places.push_back(lba);
      }
    };
    if (device_.size() >= sector_size) add(device_.size() / sector_size - 1);
    if (primary_.signature && primary_.sector_size == sector_size) add(primary_.alternate_lba);
    if (const std::uint64_t end = protective_end(); end != 0) add(end);
    return places;
  }

  // The last LBA of the disk when it was partitioned, as the protective MBR knows it; 0: not known.
  std::uint64_t protective_end() const {
    try {
      const Buffer sector = read_up_to(device_, 0, MbrSector::kSize);
      if (sector.size() < MbrSector::kSize) return 0;
      const MbrSector mbr = MbrSector::decode(sector);
      if (!mbr.signed_as_mbr()) return 0;
      for (const MbrEntry& entry : mbr.entries) {
        if (entry.protective() && entry.size_in_lba != 0 && entry.size_in_lba != 0xFFFFFFFFU) {
          return std::uint64_t{entry.starting_lba} + entry.size_in_lba - 1;
        }
      }
    } catch (const Error&) {
      // Sector 0 cannot be read: it cannot tell, and the other places are still looked at.
      return 0;
    }
    return 0;
  }

  static GptTable decode(GptHeader header, const Buffer& array, std::uint32_t sector_size) {
    GptTable table;
    table.sector_size = sector_size;
    table.header = std::move(header);
    if (table.header.revision != GptHeader::kRevision) {
      table.troubles.note("the GPT has revision " + hex(table.header.revision) + ", not " +
                          hex(GptHeader::kRevision));
    }
    const std::size_t step = table.header.entry_size;
    for (std::uint32_t i = 0; i < table.header.number_of_entries; ++i) {
      std::optional<GptEntry> entry = GptEntry::decode(Bytes(array).subspan(i * step, step));
      if (entry) table.partitions.push_back({i + 1, std::move(*entry)});
    }
    return table;
  }

  const BlockDevice& device_;
  Verdict primary_, backup_;
};

}  // namespace

GptSearch find_gpt(const BlockDevice& device) {
  return Finder(device).run();
}

}  // namespace peelfs
