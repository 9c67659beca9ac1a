#include "ext/ext.h"

#include <memory>

#include "ext/ext_disk.h"
#include "ext/library.h"
#include "ext/search.h"
#include "ext/search_memory.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr std::string_view recovery_note =
    "journal needs recovery: what is shown is the filesystem without it";

void remark_on_state(const ext::SuperBlock& super, const BlockDevice& device, Troubles& troubles) {
  if (super.has_incompat(ext::incompat_recover)) {
    troubles.note(std::string(recovery_note) + " (e2fsck on a writable copy replays it)");
  }
  if ((super.state & ext::state_error) != 0 || super.error_count > 0) {
    troubles.note("the kernel has recorded errors in it; e2fsck -fn tells more");
  } else if ((super.state & ext::state_valid) == 0) {
    troubles.note("not cleanly unmounted; e2fsck -fn tells whether that matters");
  }
  if (super.checksum_wrong) troubles.damage("the super block fails its checksum");
  const std::uint64_t size = super.blocks_count * super.block_size;
  if (size > device.size()) {
    troubles.damage("the filesystem is larger than its device (found " +
                    std::to_string(device.size()) + " bytes, expected " + std::to_string(size) +
                    "): files beyond the end cannot be read");
  }
}

void remark_on_search(const ext::SearchResult& result, Troubles& troubles) {
  for (const std::string& limit : result.limits) troubles.note(limit);
  for (const std::string& damage : result.damage) troubles.add(Error(result.fault, damage));
  if (result.damage_count > result.damage.size()) {
    troubles.add(
        Error(result.fault, "and " + std::to_string(result.damage_count - result.damage.size()) +
                                " more that could not be read"));
  }
}

Inner show(ext::FoundImage image, bool needs_recovery, const Formats* formats) {
  Inner inner;
  inner.kind = "file";
  inner.name = image.path.back();
  inner.stem = formats == nullptr ? inner.name : formats->strip_image_suffix(inner.name);
  inner.path = std::move(image.path);
  inner.device = std::move(image.device);
  inner.trouble = std::move(image.trouble);
  if (!inner.trouble && needs_recovery) {
    inner.trouble =
        Trouble{Trouble::note, "it lies in a filesystem whose " + std::string(recovery_note)};
  }
  inner.image_file = true;
  inner.references = std::move(image.references);
  return inner;
}

/// Searches a filesystem, unless one with the same bytes was searched in this run.
ext::SearchResult search(const DevicePtr& device, const ext::SuperBlock& super,
                         const OpenInput& input) {
  ext::Library files(std::make_shared<const ext::Volume>(device, super));
  if (input.memory == nullptr) return ext::search_images(files, files, input);
  if (!*input.memory) *input.memory = std::make_shared<ext::SearchMemory>();
  auto& memory = *static_cast<ext::SearchMemory*>(input.memory->get());
  if (const ext::SearchResult* known = memory.find(*files.volume())) {
    return ext::reopen(*known, files);
  }
  const auto witness = std::make_shared<const ext::WitnessDevice>(device);
  ext::Library library(std::make_shared<const ext::Volume>(witness, super));
  ext::SearchResult result = ext::search_images(library, files, input);
  auto ranges = witness->ranges();
  if (result.repeatable && ranges) memory.keep(device, *files.volume(), *std::move(ranges), result);
  return result;
}

/// The command that may restore a super block from its first backup, if that lies where mke2fs puts
/// it.
std::string advice_to_restore(const BlockDevice& device) {
  for (std::uint32_t log_size = 0; log_size <= 6; ++log_size) {
    const std::uint64_t block_size = 1024ULL << log_size;
    // Group 1: a group's bitmap is one block, and blocks of 1024 bytes begin with number 1.
    const std::uint64_t block = 8 * block_size + (log_size == 0 ? 1 : 0);
    try {
      const Buffer bytes = read_up_to(device, block * block_size, ext::super_block_size);
      const auto backup = ext::decode_super_block(bytes);
      if (!backup || backup->block_size != block_size) continue;
      return "on a writable copy this may restore it from a backup: e2fsck -b " +
             std::to_string(block) + " -B " + std::to_string(block_size);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then it is not there
    }
  }
  return "no backup of it stands where mke2fs puts the first one; mke2fs -n with the options that "
         "it was made with lists the other places";
}

/// @return nullptr when it does not look like an ext filesystem
std::shared_ptr<const ext::SuperBlock> read_super_block(const BlockDevice& device) {
  const Buffer bytes = read_up_to(device, ext::super_block_offset, ext::super_block_size);
  std::optional<ext::SuperBlock> super;
  try {
    super = ext::decode_super_block(bytes);
  } catch (const Error& error) {
    throw Error(error).advice(advice_to_restore(device));
  }
  // An external journal begins like a filesystem, but is none.
  if (!super || super->has_incompat(ext::incompat_journal_dev)) return nullptr;
  return std::make_shared<const ext::SuperBlock>(std::move(*super));
}

}  // namespace

std::optional<Claim> ext_probe(const ProbeInput& input) {
  const std::string& type = input.identity.type;
  const bool named_ext = type == "ext2" || type == "ext3" || type == "ext4" || type == "ext4dev";
  // libblkid knows what else may stand around a super block: a RAID1 member with its metadata at
  // the end, say.
  if (!type.empty() && !named_ext) return std::nullopt;
  std::shared_ptr<const ext::SuperBlock> super;
  try {
    super = read_super_block(input.device);
  } catch (const Error& error) {
    if (named_ext || error.fault() != Fault::damaged) throw;
    return std::nullopt;  // two bytes of magic by chance
  }
  if (!super) return std::nullopt;
  Claim claim;
  claim.format = named_ext ? type : super->type();
  claim.label = super->volume_name;
  claim.uuid = super->uuid;
  claim.state = std::move(super);
  return claim;
}

Opened ext_open(const OpenInput& input) {
  const Member& member = input.members.front();
  auto super = member.claim == nullptr
                   ? nullptr
                   : std::static_pointer_cast<const ext::SuperBlock>(member.claim->state);
  if (!super) super = read_super_block(*member.device);
  if (!super) throw Error(Fault::damaged, "there is no ext super block");
  Opened opened;
  Troubles troubles;
  remark_on_state(*super, *member.device, troubles);
  if (const std::string features = ext::unsupported_features(super->feature_incompat);
      !features.empty()) {
    throw Error(Fault::unsupported, "the filesystem cannot be searched for disk images")
        .found("incompatible features: " + features)
        .advice("its device file can still be mounted and read");
  }
  const Limits& limits = input.limits;
  if (limits.search_depth == 0 || input.formats == nullptr) {
    opened.trouble = troubles.summary();
    return opened;
  }
  if (input.image_depth >= limits.search_depth) {
    troubles.note("not searched for disk images, because it lies in " +
                  std::to_string(input.image_depth) + " of them already; raise --depth to do so");
    opened.trouble = troubles.summary();
    return opened;
  }
  try {
    ext::SearchResult result = search(member.device, *super, input);
    remark_on_search(result, troubles);
    const bool needs_recovery = super->has_incompat(ext::incompat_recover);
    for (ext::FoundImage& image : result.images) {
      opened.devices.push_back(show(std::move(image), needs_recovery, input.formats));
    }
  } catch (const Error& error) {
    if (error.fault() != Fault::damaged) throw;
    troubles.damage(error.what());
  }
  opened.trouble = troubles.summary();
  return opened;
}

std::string_view ext_recognise(const BlockDevice& file) {
  constexpr std::size_t place = 1024;
  const Buffer bytes = read_up_to(file, place, 1024);
  if (bytes.size() < 1024) return {};
  const ByteReader super(bytes, "super block");
  constexpr std::uint32_t incompat_journal_dev = 8;
  const bool is_filesystem = super.le16(0x38) == 0xef53 &&  // s_magic
                             super.le32(0x18) <= 6 &&       // s_log_block_size
                             super.le32(0) != 0 &&          // s_inodes_count
                             super.le32(0x04) != 0 &&       // s_blocks_count_lo
                             super.le32(0x20) != 0 &&       // s_blocks_per_group
                             super.le32(0x28) != 0 &&       // s_inodes_per_group
                             (super.le32(0x4c) == 0 ||      // s_rev_level
                              (super.le32(0x60) & incompat_journal_dev) == 0);
  return is_filesystem ? "ext" : std::string_view();
}

}  // namespace peelfs
