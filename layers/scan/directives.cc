// Devices that are opened as a person says. Everything here is said of an item by its names: a
// device that is made anew gets its directive again.
#include <algorithm>

#include "host/directed.h"
#include "peelfs/error.h"
#include "scan/head_cache.h"
#include "scan/signatures.h"
#include "scan/state.h"

namespace peelfs {

bool Scanner::State::is_used_above(const Item& item, const Directed& directive) const {
  const Item* one = &item;
  while (!one->node.parents.empty()) {
    one = &graph.at(one->node.parents.front());
    if (one->directive == &directive) return true;
  }
  return false;
}

bool Scanner::State::means_disk_inside(const Item& item, const Directed& directive) {
  const Node& node = item.node;
  return item.unpacks_to_stem && !directive.is_format && directive.directive.device == node.stem;
}

Directed* Scanner::State::directive_for(const Item& item) {
  const Node& node = item.node;
  for (Directed& one : directives) {
    const std::string& name = one.directive.device;
    const bool is_named = (one.id != 0 && one.id == node.id) || name == node.name ||
                          name == node.stem ||
                          (!item.file_name.empty() && name == item.file_name) ||
                          (!node.partuuid.empty() && name == node.partuuid) ||
                          (!node.source_path.empty() && name == node.source_path);
    if (!is_named || is_used_above(item, one)) continue;
    // A raw file in a filesystem unpacks to a disk of its own.
    if (item.image_file && means_disk_inside(item, one)) continue;
    return &one;
  }
  return nullptr;
}

void Scanner::State::follow_directive(Item& item, const HeadCache& head) const {
  const Directed& one = *item.directive;
  if (means_disk_inside(item, one)) {
    probe(item, head, true);
    if (item.layer != nullptr) {
      item.directive = nullptr;
      return;
    }
  }
  if (one.directive.kind == kAsRaw) {
    item.probe_formats = false;
    return probe(item, head);
  }
  if (one.row == nullptr || one.opens_unseen()) return;
  if (one.row->traits.image && !item.probe_formats) {
    throw Error(Fault::usage, "--as: " + item.node.stem + " is not taken for " + one.directive.kind)
        .found("bytes that were raw when it was first looked at, or are said to be raw")
        .advice("what a guest writes to its disk never makes an image format of it");
  }
  item.layer = one.row;
  item.node.layer = one.row->name;
  try {
    item.claim = probe_as(*one.row, {head, item.node.identity, item.node.parttype}, *formats,
                          one.directive.kind, one.directive.device);
  } catch (const Error& error) {
    if (error.fault() == Fault::usage) {
      item.layer = nullptr;
      item.node.layer.clear();
    }
    throw;
  }
}

void Scanner::State::take_unseen(Item& item) {
  const Layer& layer = *item.directive->row;
  item.layer = &layer;
  item.node.layer = layer.name;
  item.node.format = layer.signatures.empty() ? layer.name : layer.signatures.front().format;
  // What the person says is used, and not the signatures on the device itself.
  item.ambiguous = several_signatures(item.node.identity, item.node.format);
  if (item.ambiguous) join(item.node.trouble, *item.ambiguous);
  item.node.identity = {};
  item.node.identity.type = item.node.format;
  settle_source_name(item);
}

void Scanner::State::note_outcome(Item& item) {
  Directed& one = *item.directive;
  if (one.directive.kind == kAsNone) {
    join(item.node.trouble, {Trouble::note, "not looked into: --as says so"});
  } else if (one.row != nullptr && item.layer == nullptr && item.node.trouble) {
    one.refusal = item.node.trouble->reason;
  }
}

}  // namespace peelfs
