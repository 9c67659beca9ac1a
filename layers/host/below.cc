#include "host/below.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "host/host_call.h"
#include "host/pinned.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

/// No chain of devices is longer.
constexpr std::size_t kDeepest = 64;

template <typename Fits>
const BlockNode* find_node(const std::vector<BlockNode>& nodes, const Fits& fits) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), fits);
  return found == nodes.end() ? nullptr : &*found;
}

const BlockNode* node_of(const std::vector<BlockNode>& nodes, const FileId& file) {
  if (!file.block_device) return nullptr;
  return find_node(nodes, [&](const BlockNode& node) { return node.device == file.device; });
}

/// The disk of a partition; nullptr: it is none.
const BlockNode* disk_of(const std::vector<BlockNode>& nodes, const BlockNode& node) {
  if (node.disk.empty()) return nullptr;
  return find_node(nodes, [&](const BlockNode& other) { return other.name == node.disk; });
}

/// The files that are held, and for which devices.
struct Held {
  Mutex mutex;
  std::map<const HostFile*, std::shared_ptr<const HostFile>> by_device PEELFS_GUARDED_BY(mutex);
  std::map<FileId, std::weak_ptr<const HostFile>> files PEELFS_GUARDED_BY(mutex);
};

Held& held() {
  static auto* const here = new Held;  // files may be closed while the process ends
  return *here;
}

std::shared_ptr<const HostFile> held_already(const FileId& id) {
  const MutexLock lock(held().mutex);
  const auto found = held().files.find(id);
  return found == held().files.end() ? nullptr : found->second.lock();
}

/// What lies directly below a device; null: nothing, or it cannot be had.
std::shared_ptr<const HostFile> open_below(const HostFile& device) {
  const HostView view;
  const std::vector<BlockNode> nodes = view.blocks();
  const BlockNode* node = node_of(nodes, device.id());
  if (node == nullptr) return nullptr;
  if (const BlockNode* const disk = disk_of(nodes, *node)) node = disk;
  if (node->backing_file.empty()) return nullptr;
  const HostCall call(node->backing_file);
  const auto id = view.backing(*node);
  if (!id) return nullptr;
  if (auto file = held_already(*id)) return file;
  const Pinned pin = Pinned::named(node->backing_file);
  if (pin.id() != *id) return nullptr;
  return HostFile::open_pinned(pin.descriptor(), node->backing_file);
}

}  // namespace

std::vector<Place> places_of(const FileId& file, std::uint64_t size, const HostView& view) {
  std::vector<Place> places{{file, 0, size}};
  if (!file.block_device) return places;
  const std::vector<BlockNode> nodes = view.blocks();
  while (places.size() < kDeepest) {
    Place below = places.back();
    const BlockNode* const node = node_of(nodes, below.file);
    if (node == nullptr) break;
    below.offset += node->offset;
    if (const BlockNode* const disk = disk_of(nodes, *node)) {
      below.file = {true, disk->device, 0};
    } else {
      const auto backing = node->backing_file.empty() ? std::nullopt : view.backing(*node);
      if (!backing) break;
      below.file = *backing;
    }
    places.push_back(below);
  }
  return places;
}

std::vector<Place> places_of(const HostFile& file) {
  return places_of(file.id(), file.size());
}

bool overlap(const std::vector<Place>& one, const std::vector<Place>& other) {
  return std::any_of(one.begin(), one.end(), [&](const Place& a) {
    return std::any_of(other.begin(), other.end(), [&](const Place& b) {
      return a.file == b.file && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
    });
  });
}

void hold_below(const HostFile& file) noexcept {
  if (!file.is_block_device()) return;
  try {
    auto below = open_below(file);
    if (below == nullptr) return;
    const MutexLock lock(held().mutex);
    held().files[below->id()] = below;
    held().by_device[&file] = std::move(below);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it stays away
  }
}

void release_below(const HostFile& file) noexcept {
  if (!file.is_block_device()) return;
  std::shared_ptr<const HostFile> below;  // closed when the lock is free again
  const MutexLock lock(held().mutex);
  const auto found = held().by_device.find(&file);
  if (found == held().by_device.end()) return;
  below = std::move(found->second);
  held().by_device.erase(found);
}

std::vector<std::shared_ptr<const HostFile>> files_below(const HostFile& file) {
  std::vector<std::shared_ptr<const HostFile>> files;
  const MutexLock lock(held().mutex);
  const HostFile* at = &file;
  for (auto found = held().by_device.find(at); found != held().by_device.end();
       found = held().by_device.find(at)) {
    files.push_back(found->second);
    at = files.back().get();
  }
  return files;
}

}  // namespace peelfs
