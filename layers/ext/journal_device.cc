#include "ext/journal_device.h"

#include <algorithm>
#include <cstdint>

#include "ext/ext_disk.h"
#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {
namespace {

/// The UUID that a superblock at this offset names.
/// @param group, block_size of a copy; of the first one both may be anything (0)
std::optional<std::string> journal_named_at(const BlockDevice& device, std::uint64_t offset,
                                            std::uint32_t group, std::uint32_t block_size) {
  if (device.size() < offset + kSuperBlockSize) return std::nullopt;
  Buffer bytes;
  try {
    bytes = read_bytes(device, offset, kSuperBlockSize);
  } catch (const Error&) {
    return std::nullopt;  // as if it were lost
  }
  const ByteReader super(bytes, "ext superblock");
  if (super.le16(0x38) != 0xef53) return std::nullopt;  // s_magic
  if (block_size != 0 && (super.le16(0x5a) != group ||  // s_block_group_nr
                          super.le32(0x18) > 6 ||       // s_log_block_size
                          1024U << super.le32(0x18) != block_size)) {
    return std::nullopt;
  }
  const bool journal = (super.le32(0x5c) & kCompatHasJournal) != 0;      // s_feature_compat
  const bool is_one = (super.le32(0x60) & kIncompatJournalDev) != 0;     // s_feature_incompat
  if (!journal || is_one || super.le32(0xe0) != 0) return std::nullopt;  // s_journal_inum
  const Bytes uuid = super.bytes(0xd0, 16);                              // s_journal_uuid
  if (std::all_of(uuid.begin(), uuid.end(), [](std::byte b) { return b == std::byte{0}; })) {
    return std::nullopt;
  }
  return uuid_text(uuid);
}

}  // namespace

std::optional<std::string> external_journal(const BlockDevice& device) {
  if (auto named = journal_named_at(device, kSuperBlockOffset, 0, 0)) return named;
  // Block groups that have a copy with "sparse_super", in the sizes that mke2fs makes.
  for (std::uint32_t block_size = 1024; block_size <= 65536; block_size *= 2) {
    const std::uint64_t first = block_size == 1024 ? 1 : 0;
    for (const std::uint32_t group : {1U, 3U, 5U, 7U, 9U, 25U, 27U, 49U}) {
      const std::uint64_t block = first + std::uint64_t{group} * 8 * block_size;
      if (auto named = journal_named_at(device, block * block_size, group, block_size)) {
        return named;
      }
    }
  }
  return std::nullopt;
}

}  // namespace peelfs::ext
