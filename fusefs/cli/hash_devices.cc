#include "cli/hash_devices.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include "cli/session.h"
#include "host/image_lock.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

Trouble is_written(const Source& source, const std::string& by) {
  return {Trouble::denied,
          printable(source.path) + " is being written" + (by.empty() ? "" : " by " + by) +
              ": its digest would be of no one moment; stop that program, or hash a snapshot or a "
              "copy"};
}

}  // namespace

HashDevices::HashDevices(const Peeling& peeling, const Catalog& catalog)
    : peeling_(peeling), catalog_(catalog) {
  for (const Source& source : peeling.sources()) {
    sources_.emplace(source.path, &source);
    if (auto refusal = refusal_of(source)) refused_.emplace(&source, std::move(*refusal));
  }
  find_groups();
  const Tree& tree = catalog.tree();
  const std::function<void(std::uint64_t, bool)> visit = [&](std::uint64_t id, bool within) {
    const Node& node = tree.at(id);
    within = within || node.kind == "snapshot";
    if (within && !in_snapshot_.insert(id).second) return;
    for (const std::uint64_t child : node.children) visit(child, within);
  };
  for (const std::uint64_t root : tree.roots) visit(root, false);
  std::erase_if(in_snapshot_, [&](std::uint64_t id) { return catalog.name_of(id).empty(); });
}

std::optional<Trouble> HashDevices::refusal_of(const Source& source) const {
  if (!source.writer.empty()) return is_written(source, source.writer);
  if (source.overlay != nullptr) return std::nullopt;  // the overlay has locked it
  try {
    lock_image(*source.file, ImageUse::relied_on);
  } catch (const Error& error) {
    // Where there are no locks, a change is noticed by the file's time.
    if (error.error_number() == EBUSY) return is_written(source, "");
  }
  return std::nullopt;
}

/// Devices of one group lie on one another, or on the same sources.
void HashDevices::find_groups() {
  const Tree& tree = catalog_.tree();
  std::map<std::uint64_t, std::uint64_t> above;
  const auto top = [&](std::uint64_t id) {
    while (above.at(id) != id) id = above.at(id) = above.at(above.at(id));
    return id;
  };
  for (const auto& [id, node] : tree.nodes) above[id] = id;
  for (const auto& [id, node] : tree.nodes) {
    for (const std::uint64_t parent : node->parents) above[top(id)] = top(parent);
  }
  std::map<std::uint64_t, std::size_t> numbers;
  for (const auto& [id, node] : tree.nodes) {
    groups_[id] = numbers.try_emplace(top(id), numbers.size()).first->second;
  }
}

const std::set<std::uint64_t>& HashDevices::with_ancestors(std::uint64_t id) const {
  const auto [at, fresh] = ancestors_.try_emplace(id);
  if (!fresh) return at->second;
  std::set<std::uint64_t> found{id};
  for (const std::uint64_t parent : catalog_.tree().at(id).parents) {
    const std::set<std::uint64_t>& theirs = with_ancestors(parent);
    found.insert(theirs.begin(), theirs.end());
  }
  return ancestors_[id] = std::move(found);
}

std::vector<HashDevice> HashDevices::all(bool snapshots) const {
  std::vector<HashDevice> result;
  for (const Catalog::Entry& entry : catalog_.devices()) {
    if (!snapshots && in_snapshot_.contains(entry.node->id)) continue;
    result.push_back(device(entry));
  }
  return result;
}

std::vector<HashDevice> HashDevices::named(const std::vector<std::string>& names,
                                           bool within) const {
  std::vector<HashDevice> result;
  std::set<std::uint64_t> taken;
  for (const std::string& name : names) {
    const Catalog::Entry named = find_device(peeling_, catalog_, name);
    if (taken.insert(named.node->id).second) result.push_back(device(named));
    if (!within) continue;
    for (const Catalog::Entry& entry : catalog_.devices()) {
      if (!with_ancestors(entry.node->id).contains(named.node->id)) continue;
      if (taken.insert(entry.node->id).second) result.push_back(device(entry));
    }
  }
  return result;
}

HashDevice HashDevices::device(const Catalog::Entry& entry) const {
  HashDevice result{entry.name, entry.node, std::nullopt};
  for (const std::uint64_t id : with_ancestors(entry.node->id)) {
    const auto source = sources_.find(catalog_.tree().at(id).source_path);
    if (source == sources_.end()) continue;
    const auto refused = refused_.find(source->second);
    if (refused != refused_.end()) result.refusal = refused->second;
  }
  return result;
}

HashSubject HashDevices::subject(const HashDevice& device, std::vector<ByteRange> pieces) const {
  return {device.node->device, std::move(pieces), groups_.at(device.node->id)};
}

std::optional<Trouble> HashDevices::changed(const HashDevice& device) const {
  const auto trouble = [](const std::string& path) {
    return Trouble{Trouble::io, printable(path) + " was changed while it was read"};
  };
  for (const std::uint64_t id : with_ancestors(device.node->id)) {
    const Node& node = catalog_.tree().at(id);
    const auto source = sources_.find(node.source_path);
    if (source != sources_.end() && source->second->file->changed()) {
      return trouble(source->second->path);
    }
    for (const Part& part : node.parts) {
      if (part.file != nullptr && part.file->changed()) return trouble(part.file->path());
    }
  }
  return std::nullopt;
}

std::optional<std::string> unopened_text(const HashDevice& device) {
  if (!device.node->trouble) return std::nullopt;
  switch (device.node->trouble->state) {
    case Trouble::note:
    case Trouble::degraded:
    case Trouble::unsupported:
      return std::nullopt;
    default:
      return device.name + ": only its own bytes have a digest, and nothing of what lies in it: " +
             text_of(*device.node->trouble);
  }
}

}  // namespace peelfs::cli
