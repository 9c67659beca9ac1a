#include "mount/writing.h"

#include <algorithm>
#include <fstream>

#include "mount/filesystem.h"
#include "peelfs/error.h"
#include "tree/writability.h"

namespace peelfs {
namespace {

/// How long an open waits for a RELEASE, which the kernel sends some time after the close.
constexpr std::chrono::milliseconds release_patience{2000};
/// Between two peelings after an fsync: at least this, and so many times what the last one took.
constexpr std::chrono::seconds sync_interval{5};
constexpr int sync_factor = 10;

std::string who_is(pid_t pid) {
  if (pid <= 0) {
    return "a process that cannot be seen from here";
  }
  std::string name;
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::getline(comm, name);
  return (name.empty() ? "a process" : printable(name)) + " (pid " + std::to_string(pid) + ")";
}

}  // namespace

Writing::Writing(const Filesystem& filesystem, Hooks hooks)
    : filesystem_(filesystem), hooks_(std::move(hooks)), usher_(release_patience) {}

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
    // It counts as open by now: whoever writes from here on drops what was cached.
    opened->keep_cache = opened->file->cache_holds();
  }
  return opened;
}

std::optional<Writing::Opened> Writing::take(const Open& wanted, bool last,
                                             const std::string& asking,
                                             std::shared_ptr<const DeviceFile>& unflushed) {
  unflushed.reset();
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<const InodeView> view = filesystem_.view();
  const Inode* const inode = view->find(wanted.inode);
  if (inode == nullptr || !inode->device || inode->device->retired()) {
    throw gone_from_tree();
  }
  const DeviceFile& file = *inode->device;
  const std::uint64_t node = inode->node;
  if (wanted.writes && !inode->read_only.empty()) {
    throw Error(Fault::denied, file.name() + " cannot be opened for writing")
        .found(inode->read_only)
        .with_errno(EROFS);
  }
  if (is_pending(node)) {
    if (!last) {
      return std::nullopt;
    }
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
  if (!other && is_pending(node)) {
    other = {false, "peelfs, which looks at what it lies on"};
  }
  if (other) {
    if (other->ends_soon && !last) {
      return std::nullopt;
    }
    throw Error(Fault::denied, file.name() + " is in use: " + asking + " may not write to it now")
        .found(other->holder)
        .expected("nobody who writes to the same bytes through another device")
        .with_errno(EBUSY);
  }
  // What another device still holds back would overwrite later what is written now.
  if ((unflushed = unflushed_upon(*view, node)) != nullptr) {
    return std::nullopt;
  }
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
  if (unflushed_.empty()) {
    return nullptr;
  }
  const Tree& tree = view.catalog().tree();
  // What it lies on takes the writes itself, and knows of them.
  const std::set<std::uint64_t> below = lies_on(tree, node);
  for (const std::uint64_t other : overlapping(tree, node)) {
    const auto at = view.devices().find(other);
    if (!below.contains(other) && at != view.devices().end() && is_unflushed(*at->second.file)) {
      return at->second.file;
    }
  }
  return nullptr;
}

bool Writing::is_unflushed(const DeviceFile& file) const {
  return unflushed_.contains(&file);
}

bool Writing::is_pending(std::uint64_t node) const {
  return unlocking_.contains(node) ||
         std::any_of(pending_.begin(), pending_.end(),
                     [node](const auto& entry) { return entry.second.contains(node); });
}

void Writing::mark_pending(std::uint64_t node) {
  pending_.insert_or_assign(node, remade_after(filesystem_.view()->catalog().tree(), node));
}

bool Writing::remade_has_writers(std::uint64_t node) const {
  const auto pending = pending_.find(node);
  return pending != pending_.end() &&
         std::any_of(pending->second.begin(), pending->second.end(), [&](std::uint64_t id) {
           const auto at = devices_.find(id);
           return id != node && at != devices_.end() && at->second.writers > 0;
         });
}

void Writing::before_write(const DeviceFile& file, WriteState& state) {
  const std::lock_guard lock(mutex_);
  file.check_current();
  Device& device = devices_.at(state.node);
  ++device.written;
  if (state.closing) {
    state.closing = false;
    --device.closing;
  }
}

void Writing::after_write(WriteState& state, bool own, const std::function<void(bool)>& answer) {
  std::vector<InodeNumber> aliases;
  {
    const std::lock_guard lock(mutex_);
    Device& device = devices_.at(state.node);
    ++device.written;
    Unflushed& unflushed = unflushed_[device.file.get()];
    unflushed.file = device.file;
    ++unflushed.changes;
    std::shared_ptr<const InodeView> view;
    for (const auto& [id, other] : devices_) {
      const bool itself = own && id == state.node;
      if (!itself && (other.buffered == 0 || !device.overlapping.contains(id))) {
        continue;
      }
      if (!view) {
        view = filesystem_.view();
      }
      if (const auto at = view->devices().find(id); at != view->devices().end()) {
        aliases.push_back(at->second.inode);
      }
    }
  }
  if (aliases.empty()) {
    answer(true);
    return;
  }
  const bool posted = notifier_.post([this, aliases, answer] {
    for (const InodeNumber alias : aliases) {
      hooks_.invalidate(alias);
    }
    answer(true);
  });
  if (!posted) {
    answer(false);
  }
}

void Writing::closing(WriteState& state, const std::function<void()>& answer) {
  bool due = false;
  {
    const std::lock_guard lock(mutex_);
    Device& device = devices_.at(state.node);
    if (!state.closing) {
      state.closing = true;
      ++device.closing;
    }
    due = device.closing == device.writers && device.written != device.peeled;
    if (due) {
      mark_pending(state.node);
    }
  }
  usher_.wake();
  const std::uint64_t node = state.node;
  const auto task = [this, node, answer] {
    peel(node);
    answer();
  };
  if (!due || !peeler_.post(task)) {
    answer();
  }
}

void Writing::release(const std::shared_ptr<const DeviceFile>& file,
                      const WriteState& state) noexcept {
  if (state.node == 0) {
    return;
  }
  if (state.writes) {
    flush_released(file);  // while it still counts as a writer
  }
  std::vector<std::uint64_t> due;
  {
    const std::lock_guard lock(mutex_);
    const auto at = devices_.find(state.node);
    if (at == devices_.end()) {
      return;
    }
    Device& device = at->second;
    device.buffered -= state.buffered ? 1 : 0;
    if (state.writes) {
      device.closing -= state.closing ? 1 : 0;
      if (--device.writers == 0) {
        device.overlapping.clear();
        if (device.written != device.peeled && !pending_.contains(state.node)) {
          mark_pending(state.node);
        }
        // One that could not be peeled because this one was open.
        for (const auto& [node, remade] : pending_) {
          due.push_back(node);
        }
      }
    }
    drop_unused(state.node);
  }
  for (const std::uint64_t node : due) {
    peeler_.post([this, node] { peel(node); });
  }
  if (state.writes) {
    usher_.wake();
  }
}

void Writing::drop_unused(std::uint64_t node) {
  const auto at = devices_.find(node);
  if (at != devices_.end() && at->second.writers == 0 && at->second.buffered == 0 &&
      at->second.written == at->second.peeled) {
    devices_.erase(at);
  }
}

void Writing::peel(std::uint64_t node) {
  if (ending_) {
    return;
  }
  std::uint64_t written = 0;
  std::vector<std::uint64_t> nodes;
  {
    const std::lock_guard lock(mutex_);
    const auto at = devices_.find(node);
    if (at == devices_.end() || at->second.written == at->second.peeled) {
      pending_.erase(node);
    } else if (!remade_has_writers(node)) {
      written = at->second.written;
      nodes = looked_at_after(filesystem_.view()->catalog().tree(), node);
    }
  }
  ViewChanges changes;
  const Clock::time_point begin = Clock::now();
  if (!nodes.empty()) {
    try {
      changes = hooks_.peel(nodes);
    } catch (const std::exception& error) {
      // What lies on it stays marked: nobody may write through tables that may be wrong.
      log_message(LogLevel::error,
                  std::string("what was written could not be looked at again: ") + error.what());
      return;
    }
    const std::lock_guard lock(mutex_);
    if (const auto at = devices_.find(node); at != devices_.end()) {
      at->second.peeled = written;
      const auto pause =
          std::max<Clock::duration>(sync_interval, sync_factor * (Clock::now() - begin));
      at->second.next_peel = Clock::now() + pause;
      if (at->second.written == written) {
        pending_.erase(node);
      }
      drop_unused(node);
    }
  }
  usher_.wake();
  hooks_.forget(changes);
}

void Writing::flush(const std::shared_ptr<const DeviceFile>& file) {
  std::uint64_t changes = 0;
  {
    const std::lock_guard lock(mutex_);
    if (file->retired()) {
      unflushed_.erase(file.get());
      throw gone_from_tree();
    }
    if (const auto at = unflushed_.find(file.get()); at != unflushed_.end()) {
      changes = at->second.changes;
    }
  }
  file->device()->flush();
  const std::lock_guard lock(mutex_);
  if (const auto at = unflushed_.find(file.get());
      at != unflushed_.end() && at->second.changes == changes) {
    unflushed_.erase(at);
  }
}

void Writing::flush_released(const std::shared_ptr<const DeviceFile>& file) noexcept {
  try {
    {
      const std::lock_guard lock(mutex_);
      if (!is_unflushed(*file)) {
        return;
      }
    }
    flush(file);
  } catch (const std::exception& error) {
    // It stays unflushed, so nobody may write below it before that has succeeded.
    file->log_failure("flush", 0, file->size(), error.what());
  }
}

void Writing::synced(const WriteState& state) {
  {
    const std::lock_guard lock(mutex_);
    Device& device = devices_.at(state.node);
    const std::shared_ptr<const InodeView> view = filesystem_.view();
    const auto& nodes = view->catalog().tree().nodes;
    const auto at = nodes.find(state.node);
    if (device.written == device.peeled || at == nodes.end() || at->second->children.empty() ||
        Clock::now() < device.next_peel) {
      return;
    }
    device.next_peel = Clock::now() + sync_interval;
  }
  peeler_.post([this, node = state.node] { peel(node); });
}

std::vector<std::string> Writing::flush_all() {
  std::vector<std::shared_ptr<const DeviceFile>> files;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, unflushed] : unflushed_) {
      files.push_back(unflushed.file);
    }
  }
  std::vector<std::string> failures;
  for (const auto& file : files) {
    try {
      flush(file);
    } catch (const std::exception& error) {
      failures.push_back(file->name() + " could not be flushed: " + error.what());
      log_message(LogLevel::error, failures.back());
    }
  }
  return failures;
}

std::vector<std::shared_ptr<const DeviceFile>> Writing::mark_unlocking(std::uint64_t node) {
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<const InodeView> view = filesystem_.view();
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
  const std::lock_guard one(one_unlock_);
  const auto lift = [this] {
    {
      const std::lock_guard lock(mutex_);
      unlocking_.clear();
    }
    usher_.wake();
  };
  const auto unflushed = mark_unlocking(node);
  try {
    for (const auto& file : unflushed) {
      flush(file);
    }
    body();
  } catch (...) {
    lift();
    throw;
  }
  lift();
}

void Writing::took_over(const InodeView& before, const InodeView& after) {
  const std::lock_guard lock(mutex_);
  for (const auto& [node, was] : before.devices()) {
    const auto is = after.devices().find(node);
    if (is == after.devices().end() || is->second.file != was.file) {
      was.file->retire();
      hand_down(before, after, node);
    }
  }
  for (auto& [node, device] : devices_) {
    if (device.writers > 0) {
      device.overlapping = in_the_way(after.catalog().tree(), node);
    }
  }
  for (auto& [node, remade] : pending_) {
    remade.merge(remade_after(after.catalog().tree(), node));
  }
}

/// What a retired file has not flushed: as much of it as has reached the devices that it lies on is
/// theirs now; the rest must never be written.
void Writing::hand_down(const InodeView& before, const InodeView& after, std::uint64_t node) {
  const std::shared_ptr<const DeviceFile> was = before.devices().at(node).file;
  if (unflushed_.erase(was.get()) == 0) {
    return;
  }
  const auto is = after.devices().find(node);
  if (is != after.devices().end() && is->second.file->device() == was->device()) {
    unflushed_[is->second.file.get()] = {is->second.file, 1};
    return;
  }
  for (const std::uint64_t below : lies_on(before.catalog().tree(), node)) {
    if (const auto at = after.devices().find(below); at != after.devices().end()) {
      Unflushed& unflushed = unflushed_[at->second.file.get()];
      unflushed.file = at->second.file;
      ++unflushed.changes;
    }
  }
  log_message(LogLevel::error, was->name() +
                                   ": what it lies on has changed, and what was not flushed of it "
                                   "by then is lost");
}

void Writing::stop() noexcept {
  ending_ = true;
  usher_.stop();
  peeler_.stop();
  notifier_.stop();
}

}  // namespace peelfs
