// Looking at one device: what is it, and what is in it?
#include <vector>

#include "engine/side_by_side.h"
#include "identify/identify.h"
#include "identify/sparse_copy.h"
#include "peelfs/devices.h"
#include "scan/head_cache.h"
#include "scan/signatures.h"
#include "scan/state.h"

namespace peelfs {

void Scanner::State::look_at(Item& item) {
  item.is_identified = false;
  item.directive = nullptr;
  if (item.node.component || item.part || is_cancelled()) return;
  const auto head = std::make_shared<const HeadCache>(item.node.device, cancel.get());
  item.directive = directive_for(item);
  item.is_identified = identified(item, *head);
  if (item.directive != nullptr && item.node.identity.type.ends_with("_raid_member") &&
      item.node.device->writable()) {
    item.node.device = make_read_only(
        item.node.device, "it is a member of an array (" + printable(item.node.identity.type) +
                              "), the others of which would not be written");
  }
  if (item.is_identified) {
    const auto trouble = caught([&] {
      if (item.directive == nullptr) return probe(item, *head);
      follow_directive(item, *head);
    });
    if (trouble) join(item.node.trouble, *trouble);
  }
  if (!is_cancelled()) return;
  // Reads that were ended count as zeroes, so what was found means nothing.
  item.node.identity = {};
  item.node.layer.clear();
  item.layer = nullptr;
  item.claim.reset();
  item.reset_trouble();
}

void Scanner::State::look_at_all(const std::vector<std::uint64_t>& wave) {
  std::vector<Item*> items;
  for (const std::uint64_t id : wave) {
    if (graph.items().contains(id)) items.push_back(&graph.at(id));
  }
  // Where the budget may end within the wave, it ends at the same device each time.
  const bool is_scarce =
      budget->left(Budget::Kind::identify_bytes) / SparseCopy::kMostBytes < items.size();
  side_by_side(items.size(), is_scarce ? 1 : kMostWorkers,
               [&](std::size_t index) { look_at(*items[index]); });
}

Scanner::State::Next Scanner::State::take_up(std::uint64_t id) {
  Item& item = graph.at(id);
  if (item.node.component || item.part) return Next::nothing;
  if (is_cancelled()) {
    leave_out(item);
    return Next::nothing;
  }
  if (!item.is_identified) return Next::nothing;
  if (item.directive != nullptr) {
    item.directive->is_used = true;
    if (item.directive->opens_unseen()) {
      take_unseen(item);
      return Next::open;
    }
  }
  const bool image = item.layer != nullptr && item.layer->traits.image;
  // A damaged table in a raw image file is the disk's trouble, which is looked at next.
  const bool is_raw = item.directive == nullptr || item.directive->directive.kind == kAsRaw;
  if (item.image_file && !image && is_raw && item.unpacks_to_stem) return Next::unpack;
  if (!image) settle_source_name(item);
  // What libblkid finds in a file in an image format lies in it by chance.
  if (image) item.node.identity = {};
  item.ambiguous = several_signatures(item.node.identity,
                                      item.claim ? item.claim->format : item.node.identity.type);
  if (item.ambiguous) join(item.node.trouble, *item.ambiguous);
  if (item.directive != nullptr) note_outcome(item);
  if (!item.claim) return Next::nothing;
  name_as_claimed(item);
  item.node.membership = item.claim->membership;
  const bool joins = item.claim->membership && item.claim->membership->opened_together;
  return joins ? Next::join : Next::open;
}

void Scanner::State::name_as_claimed(Item& item) {
  item.node.format = item.claim->format;
  // The identifier of a partition table is no UUID of the device: lsblk shows it as PTUUID.
  const Traits& traits = item.layer->traits;
  const bool table = traits.partition_table;
  if (!table && !item.node.identity.type.empty() && item.node.identity.type != item.claim->format) {
    // Another signature was taken than libblkid's first: its names are those of something else.
    item.node.identity.type = item.claim->format;
    item.node.identity.usage = traits.encryption   ? "crypto"
                               : traits.filesystem ? "filesystem"
                                                   : "raid";
    item.node.identity.uuid.clear();
    item.node.identity.label.clear();
  }
  std::string& uuid = table ? item.node.identity.ptuuid : item.node.identity.uuid;
  if (uuid.empty()) uuid = item.claim->uuid;
  if (item.node.identity.label.empty()) item.node.identity.label = item.claim->label;
}

bool Scanner::State::identified(Item& item, const HeadCache& head) const {
  if (budget->left(Budget::Kind::identify_bytes) == 0) {
    budget->refuse(Budget::Kind::identify_bytes, item.node.stem);
    join(item.node.trouble, {Trouble::denied, spent_reason(Budget::Kind::identify_bytes)});
    return false;
  }
  const bool partition = item.node.kind == "part";
  const auto trouble =
      caught([&] { item.node.identity = identify(head, budget.get(), partition); });
  if (trouble) join(item.node.trouble, *trouble);
  return !trouble;
}

void Scanner::State::probe(Item& item, const HeadCache& head, bool images_only) const {
  const ProbeInput input{head, item.node.identity, item.node.parttype};
  for (const Layer& layer : formats->rows()) {
    if (layer.probe == nullptr) continue;
    if (layer.traits.image ? !item.probe_formats : images_only) continue;
    // Set before the probe: if it throws, the device is this layer's, and damaged.
    item.layer = &layer;
    item.node.layer = layer.name;
    item.claim = layer.probe(input);
    if (item.claim) return;
  }
  item.layer = nullptr;
  item.node.layer.clear();
}

void Scanner::State::settle_source_name(Item& item) {
  if (!item.node.parents.empty() || item.node.kind != "file") return;
  item.node.kind = "disk";
  item.node.name = item.node.stem;
}

void Scanner::State::unpack_raw(std::uint64_t id) {
  Item& file = graph.at(id);
  file.layer = nullptr;
  file.claim.reset();
  file.node.layer.clear();
  file.node.format = "raw";
  file.node.trouble.reset();
  const Identity identity = file.node.identity;
  file.node.identity = {};  // labels and UUIDs belong to the disk
  Inner disk;
  disk.kind = "disk";
  disk.name = file.node.stem;
  disk.device = file.node.device;
  if (Item* item = add_inner(std::move(disk), {id})) item->probe_formats = false;
}

}  // namespace peelfs
