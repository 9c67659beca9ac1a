// Decides which opens are allowed, and which open devices an unlock has to wait for.
#include <algorithm>
#include <fstream>

#include "mount/fuse_server.h"
#include "mount/writing.h"
#include "peel/writability.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

std::string who_is(pid_t pid) {
  if (pid <= 0) return "a process that cannot be seen from here";
  std::string name;
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::getline(comm, name);
  return (name.empty() ? "a process" : printable(name)) + " (pid " + std::to_string(pid) + ")";
}

}  // namespace

std::optional<Writing::Opened> Writing::open(const Open& wanted, bool last) {
  const std::string asking = wanted.writes ? who_is(wanted.pid) : std::string();
  std::shared_ptr<const DeviceFile> unflushed;
  std::optional<Opened> opened = take(wanted, last, asking, unflushed);
  while (!opened && unflushed) {
    try {
      flush(unflushed);
    } catch (const std::exception& error) {
      throw Error(Fault::denied, "what was written to " + unflushed->name() +
                                     " is not durable yet, and overlaps what is to be written")
          .found(error.what())
          .with_errno(EBUSY);
    }
    opened = take(wanted, last, asking, unflushed);
  }
  if (opened && opened->state.buffered) {
    // The file counts as open by now: writers from here on drop what the kernel has cached of it.
    opened->keep_cache = opened->file->cache_holds();
  }
  return opened;
}

std::optional<Writing::Opened> Writing::take(const Open& wanted, bool last,
                                             const std::string& asking,
                                             std::shared_ptr<const DeviceFile>& unflushed) {
  unflushed.reset();
  const MutexLock lock(mutex_);
  const std::shared_ptr<const InodeView> view = server_.view();
  const Inode* const inode = view->find(wanted.inode);
  if (inode == nullptr || !inode->device || inode->device->retired()) throw gone_from_tree();
  const DeviceFile& file = *inode->device;
  const std::uint64_t node = inode->node;
  if (wanted.writes && !inode->read_only.empty()) {
    throw Error(Fault::denied, file.name() + " cannot be opened for writing")
        .found(inode->read_only)
        .with_errno(EROFS);
  }
  if (is_pending(node)) {
    if (!last) return std::nullopt;
    if (!wanted.writes) {
      throw Error(Fault::denied, file.name() + " cannot be opened now")
          .found("what it lies on was written, and peelfs has not looked at it again yet")
          .with_errno(EBUSY);
    }
  }
  Opened opened{inode->device, {node, wanted.writes, !wanted.writes, false}, false, false};
  if (!wanted.writes) {
    opened.direct = std::any_of(devices_.begin(), devices_.end(), [node](const auto& other) {
      return other.second.overlapping.contains(node);
    });
    opened.state.buffered = !opened.direct;
    if (opened.state.buffered) {
      ++devices_[node].buffered;
    } else {
      opened.state.node = 0;
    }
    return opened;
  }
  std::optional<Clash> other = clash(view->catalog().tree(), node);
  if (!other && is_pending(node)) other = {false, "peelfs, which looks at what it lies on"};
  if (other) {
    if (other->ends_soon && !last) return std::nullopt;
    throw Error(Fault::denied, file.name() + " is in use: " + asking + " may not write to it now")
        .found(other->holder)
        .expected("nobody who writes to the same bytes through another device")
        .with_errno(EBUSY);
  }
  // Unflushed writes of another device would later overwrite the bytes that are written now.
  if ((unflushed = unflushed_upon(*view, node)) != nullptr) return std::nullopt;
  Device& device = devices_[node];
  device.file = inode->device;
  device.holder = asking;
  if (device.writers++ == 0) {
    device.overlapping = in_the_way(view->catalog().tree(), node);
    file.set_shared();
    for (const std::uint64_t alias : device.overlapping) {
      if (const auto at = view->devices().find(alias); at != view->devices().end()) {
        at->second.file->set_shared();
      }
    }
  }
  return opened;
}

std::optional<Writing::Clash> Writing::clash(const Tree& tree, std::uint64_t node) const {
  const std::set<std::uint64_t> mine = in_the_way(tree, node);
  std::optional<Clash> found;
  for (const auto& [id, device] : devices_) {
    if (id == node || device.writers == 0 ||
        (!mine.contains(id) && !device.overlapping.contains(node))) {
      continue;
    }
    const bool ends_soon = device.closing == device.writers;
    if (!found || !ends_soon) {
      found = {ends_soon, device.holder + " has " + device.file->name() + " open for writing"};
    }
  }
  return found;
}

std::shared_ptr<const DeviceFile> Writing::unflushed_upon(const InodeView& view,
                                                          std::uint64_t node) const {
  if (unflushed_.empty()) return nullptr;
  const Tree& tree = view.catalog().tree();
  // The devices below take part in the writes themselves, and know of them.
  const std::set<std::uint64_t> below = lies_on(tree, node);
  for (const std::uint64_t other : overlapping(tree, node)) {
    const auto at = view.devices().find(other);
    if (!below.contains(other) && at != view.devices().end() && is_unflushed(*at->second.file)) {
      return at->second.file;
    }
  }
  return nullptr;
}

std::vector<std::shared_ptr<const DeviceFile>> Writing::mark_unlocking(std::uint64_t node) {
  const MutexLock lock(mutex_);
  const std::shared_ptr<const InodeView> view = server_.view();
  std::set<std::uint64_t> remade = remade_by_unlock(view->catalog().tree(), node);
  std::vector<std::shared_ptr<const DeviceFile>> unflushed;
  for (const std::uint64_t id : remade) {
    if (const auto at = devices_.find(id); at != devices_.end() && at->second.writers > 0) {
      throw Error(Fault::denied,
                  "this cannot be unlocked now: " + at->second.file->name() + " would be made anew")
          .found(at->second.holder + " has it open for writing")
          .expected("nobody who writes to it")
          .with_errno(EBUSY);
    }
    const auto at = view->devices().find(id);
    if (at != view->devices().end() && is_unflushed(*at->second.file)) {
      unflushed.push_back(at->second.file);
    }
  }
  unlocking_ = std::move(remade);
  return unflushed;
}

void Writing::around_unlock(std::uint64_t node, const std::function<void()>& body) {
  const MutexLock one(one_unlock_);
  const auto lift = [this] {
    {
      const MutexLock lock(mutex_);
      unlocking_.clear();
    }
    usher_.wake();
  };
  const auto unflushed = mark_unlocking(node);
  try {
    for (const auto& file : unflushed) flush(file);
    body();
  } catch (...) {
    lift();
    throw;
  }
  lift();
}

}  // namespace peelfs
