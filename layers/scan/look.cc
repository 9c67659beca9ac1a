// Looking at one device: what is it, and what is in it?
#include <algorithm>
#include <tuple>

#include "identify/identify.h"
#include "scan/signatures.h"
#include "scan/state.h"

namespace peelfs {

void Scanner::State::look(std::uint64_t id) {
  Item& item = graph.at(id);
  if (item.node.component) return;
  if (!identified(item)) return;
  if (use_detached_header(item)) return open_single(id);
  const auto trouble = caught([&] { probe(item); });
  if (trouble) add_trouble(item.node.trouble, *trouble);
  // A damaged table in a raw image file is the disk's trouble, which is looked at next.
  if (item.image_file && !(item.layer && item.layer->image_format) && unpack_raw(id)) return;
  const bool image = item.layer != nullptr && item.layer->image_format;
  if (!image) settle_source_name(item);
  // What libblkid finds in a file in an image format lies in it by chance.
  if (image) item.node.identity = {};
  item.ambiguous = several_signatures(item.node.identity,
                                      item.claim ? item.claim->format : item.node.identity.type);
  if (item.ambiguous) add_trouble(item.node.trouble, *item.ambiguous);
  if (!item.claim) return;
  item.node.format = item.claim->format;
  // The identifier of a partition table is no UUID of the device: lsblk shows it as PTUUID.
  const bool table = item.claim->format == "gpt" || item.claim->format == "dos";
  std::string& uuid = table ? item.node.identity.ptuuid : item.node.identity.uuid;
  if (uuid.empty()) uuid = item.claim->uuid;
  if (item.node.identity.label.empty()) item.node.identity.label = item.claim->label;
  if (!item.claim->group) return open_single(id);
  join_group(item);
}

bool Scanner::State::identified(Item& item) {
  if (budget->left(Budget::Kind::identify_bytes) == 0) {
    budget->refuse(Budget::Kind::identify_bytes, item.node.stem);
    add_trouble(item.node.trouble, {"unsupported", spent_reason(Budget::Kind::identify_bytes)});
    return false;
  }
  const bool partition = item.node.kind == "part";
  const auto trouble =
      caught([&] { item.node.identity = identify(*item.node.device, budget.get(), partition); });
  if (trouble) add_trouble(item.node.trouble, *trouble);
  return !trouble;
}

void Scanner::State::probe(Item& item) {
  const ProbeInput input{*item.node.device, item.node.identity, item.node.parttype};
  for (const Layer& layer : layer_table()) {
    if (layer.image_format && !item.probe_formats) continue;
    // Set before the probe: if it throws, the device is this layer's, and damaged.
    item.layer = &layer;
    item.node.layer = layer.name;
    item.claim = layer.probe(input);
    if (item.claim) return;
  }
  item.layer = nullptr;
  item.node.layer.clear();
}

bool Scanner::State::use_detached_header(Item& item) {
  for (const std::string& name :
       {item.node.name, item.node.stem, item.node.partuuid, item.node.source_path}) {
    const auto header = headers.find(name);
    if (name.empty() || header == headers.end()) continue;
    const auto table = layer_table();
    const auto luks = std::find_if(table.begin(), table.end(),
                                   [](const Layer& layer) { return layer.name == "luks"; });
    if (luks == table.end()) return false;
    used_headers.insert(name);
    item.layer = &*luks;
    item.node.layer = luks->name;
    item.node.format = "crypto_LUKS";
    item.detached_header = header->second;
    settle_source_name(item);
    return true;
  }
  return false;
}

void Scanner::State::settle_source_name(Item& item) {
  if (!item.node.parents.empty() || item.node.kind != "file") return;
  item.node.kind = "disk";
  item.node.name = item.node.stem;
}

bool Scanner::State::unpack_raw(std::uint64_t id) {
  Item& file = graph.at(id);
  if (!file.unpacks_to_stem) return false;
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
  return true;
}

Member Scanner::State::member_of(const Item& item) const {
  return {item.node.device,     item.claim ? &*item.claim : nullptr,
          item.node.stem,       item.node.tail,
          item.unpacks_to_stem, item.references};
}

void Scanner::State::open_single(std::uint64_t id, const KeyRing& ring) {
  Item& item = graph.at(id);
  const Member member = member_of(item);
  Opened opened;
  const OpenInput input{
      {&member, 1},         ring, limits, item.detached_header, item.node.image_depth, budget.get(),
      &memories[item.layer]};
  const auto trouble = caught([&] { opened = item.layer->open(input); });
  if (trouble) add_trouble(item.node.trouble, *trouble);
  if (opened.trouble) add_trouble(item.node.trouble, *opened.trouble);
  if (item.layer->image_format && item.node.parents.empty() && !opened.devices.empty()) {
    // The disk takes its file's place, and its troubles.
    item.node.hidden = true;
    if (item.stand_in) opened.devices.front().device = item.stand_in;
    if (item.node.trouble) add_trouble(opened.devices.front().trouble, *item.node.trouble);
  }
  for (Inner& inner : opened.devices) add_inner(std::move(inner), {id});
}

}  // namespace peelfs
