#include "cli/hash_devices.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
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

/// What is another one when a file was written, also by a program that sets its times back: its
/// ctime. Of a block device, how many writes the kernel has counted.
std::string stamp_of(const HostFile& file) {
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) return "?";
  if (!file.is_block_device()) {
    return std::to_string(status.st_ctim.tv_sec) + "." + std::to_string(status.st_ctim.tv_nsec);
  }
  std::ifstream counters("/sys/dev/block/" + std::to_string(major(status.st_rdev)) + ":" +
                         std::to_string(minor(status.st_rdev)) + "/stat");
  constexpr int kWrites = 4;  // Documentation/block/stat.rst
  std::string word;
  for (int i = 0; i <= kWrites && counters >> word; ++i) {
  }
  return word;
}

}  // namespace

HashDevices::HashDevices(const Peeling& peeling, const Catalog& catalog)
    : peeling_(peeling), catalog_(catalog) {
  for (const Source& source : peeling.sources()) {
    sources_.emplace(source.path, &source);
    stamps_.emplace(source.file->path(), stamp_of(*source.file));
    if (auto refusal = refusal_of(source)) refused_.emplace(&source, std::move(*refusal));
  }
  find_groups();
  const Tree& tree = catalog.tree();
  for (const auto& [id, node] : tree.nodes) {
    for (const Part& part : node->parts) {
      if (part.file != nullptr) stamps_.emplace(part.file->path(), stamp_of(*part.file));
    }
  }
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

bool HashDevices::is_changed(const HostFile& file) const {
  const auto stamp = stamps_.find(file.path());
  return file.changed() || (stamp != stamps_.end() && stamp->second != stamp_of(file));
}

std::optional<Trouble> HashDevices::changed(const HashDevice& device) const {
  const auto trouble = [](const std::string& path) {
    return Trouble{Trouble::io, printable(path) + " was changed while it was read"};
  };
  for (const std::uint64_t id : with_ancestors(device.node->id)) {
    const Node& node = catalog_.tree().at(id);
    const auto source = sources_.find(node.source_path);
    if (source != sources_.end() && is_changed(*source->second->file)) {
      return trouble(source->second->path);
    }
    for (const Part& part : node.parts) {
      if (part.file != nullptr && is_changed(*part.file)) return trouble(part.file->path());
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
