#include "ext/ext.h"

#include <memory>

#include "ext/ext_disk.h"
#include "ext/library.h"
#include "ext/search.h"
#include "ext/search_memory.h"
#include "host/source.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr std::string_view recovery_note =
    "journal needs recovery: what is shown is the filesystem without it";

/// What there is to say of the filesystem as a whole.
class Remarks {
 public:
  void note(std::string_view text) { append(text); }
  void damage(std::string_view text) { failure(Fault::damaged, text); }
  /// What failed is not always the disk's fault: the host's has another state.
  void failure(Fault fault, std::string_view text) {
    if (!failed_ || fault == Fault::damaged) fault_ = fault;
    failed_ = true;
    append(text);
  }
  std::optional<Trouble> trouble() && {
    if (text_.empty()) return std::nullopt;
    return Trouble{failed_ ? std::string(fault_name(fault_)) : "note", std::move(text_)};
  }

 private:
  void append(std::string_view text) {
    if (!text_.empty()) text_ += "; ";
    text_ += printable(text);
  }
  std::string text_;
  bool failed_ = false;
  Fault fault_ = Fault::damaged;
};

void remark_on_state(const ext::SuperBlock& super, const BlockDevice& device, Remarks& remarks) {
  if (super.has_incompat(ext::incompat_recover)) {
    remarks.note(std::string(recovery_note) + " (e2fsck on a writable copy replays it)");
  }
  if ((super.state & ext::state_error) != 0 || super.error_count > 0) {
    remarks.note("the kernel has recorded errors in it; e2fsck -fn tells more");
  } else if ((super.state & ext::state_valid) == 0) {
    remarks.note("not cleanly unmounted; e2fsck -fn tells whether that matters");
  }
  if (super.checksum_wrong) remarks.damage("the super block fails its checksum");
  const std::uint64_t size = super.blocks_count * super.block_size;
  if (size > device.size()) {
    remarks.damage("the filesystem is larger than its device (found " +
                   std::to_string(device.size()) + " bytes, expected " + std::to_string(size) +
                   "): files beyond the end cannot be read");
  }
}

void remark_on_search(const ext::SearchResult& result, Remarks& remarks) {
  for (const std::string& limit : result.limits) remarks.note(limit);
  for (const std::string& damage : result.damage) remarks.failure(result.fault, damage);
  if (result.damage_count > result.damage.size()) {
    remarks.failure(result.fault, "and " +
                                      std::to_string(result.damage_count - result.damage.size()) +
                                      " more that could not be read");
  }
}

Inner show(ext::FoundImage image, bool needs_recovery) {
  Inner inner;
  inner.kind = "file";
  inner.name = image.path.back();
  inner.stem = strip_image_suffix(inner.name);
  inner.path = std::move(image.path);
  inner.device = std::move(image.device);
  inner.trouble = std::move(image.trouble);
  if (!inner.trouble && needs_recovery) {
    inner.trouble = Trouble{"note", "it lies in a filesystem whose " + std::string(recovery_note)};
  }
  inner.image_file = true;
  inner.references = std::move(image.references);
  return inner;
}

/// Searches a filesystem, unless one with the same bytes was searched in this run.
ext::SearchResult search(const DevicePtr& device, const ext::SuperBlock& super,
                         const OpenInput& input) {
  ext::Library files(std::make_shared<const ext::Volume>(device, super));
  if (input.memory == nullptr) {
    return ext::search_images(files, files, input.limits, input.budget);
  }
  if (!*input.memory) *input.memory = std::make_shared<ext::SearchMemory>();
  auto& memory = *static_cast<ext::SearchMemory*>(input.memory->get());
  if (const ext::SearchResult* known = memory.find(*files.volume())) {
    return ext::reopen(*known, files);
  }
  const auto witness = std::make_shared<const ext::WitnessDevice>(device);
  ext::Library library(std::make_shared<const ext::Volume>(witness, super));
  ext::SearchResult result = ext::search_images(library, files, input.limits, input.budget);
  auto ranges = witness->ranges();
  if (result.repeatable && ranges) {
    memory.keep(device, *files.volume(), *std::move(ranges), result);
  }
  return result;
}

/// @return nullptr when it does not look like an ext filesystem
std::shared_ptr<const ext::SuperBlock> read_super_block(const BlockDevice& device) {
  const Buffer bytes = read_up_to(device, ext::super_block_offset, ext::super_block_size);
  auto super = ext::decode_super_block(bytes);
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
  Remarks remarks;
  remark_on_state(*super, *member.device, remarks);
  if (const std::string features = ext::unsupported_features(super->feature_incompat);
      !features.empty()) {
    throw Error(Fault::unsupported, "the filesystem cannot be searched for disk images")
        .found("incompatible features: " + features)
        .advice("its device file can still be mounted and read");
  }
  const Limits& limits = input.limits;
  if (limits.search_depth == 0) {
    opened.trouble = std::move(remarks).trouble();
    return opened;
  }
  if (input.image_depth >= limits.search_depth) {
    remarks.note("not searched for disk images, because it lies in " +
                 std::to_string(input.image_depth) + " of them already; raise --depth to do so");
    opened.trouble = std::move(remarks).trouble();
    return opened;
  }
  try {
    ext::SearchResult result = search(member.device, *super, input);
    remark_on_search(result, remarks);
    const bool needs_recovery = super->has_incompat(ext::incompat_recover);
    for (ext::FoundImage& image : result.images) {
      opened.devices.push_back(show(std::move(image), needs_recovery));
    }
  } catch (const Error& error) {
    if (error.fault() != Fault::damaged) throw;
    remarks.damage(error.what());
  }
  opened.trouble = std::move(remarks).trouble();
  return opened;
}

}  // namespace peelfs
