#include "mount/writing.h"

#include <algorithm>

#include "mount/fuse_server.h"
#include "peel/writability.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

/// How long an open waits for a RELEASE, which the kernel sends some time after the close.
constexpr std::chrono::milliseconds kReleasePatience{2000};
/// Between two peelings after an fsync: at least this, and so many times what the last one took.
constexpr std::chrono::seconds kSyncInterval{5};
constexpr int kSyncFactor = 10;

}  // namespace

Writing::Writing(const FuseServer& server, Hooks hooks)
    : server_(server), hooks_(std::move(hooks)), usher_(kReleasePatience) {}

bool Writing::is_pending(std::uint64_t node) const {
  return unlocking_.contains(node) ||
         std::any_of(pending_.begin(), pending_.end(),
                     [node](const auto& entry) { return entry.second.contains(node); });
}

void Writing::mark_pending(std::uint64_t node) {
  pending_.insert_or_assign(node, remade_after(server_.view()->catalog().tree(), node));
}

bool Writing::remade_has_writers(std::uint64_t node) const {
  const auto pending = pending_.find(node);
  return pending != pending_.end() && std::any_of(pending->second.begin(), pending->second.end(),
                                                  [&](std::uint64_t id) PEELFS_REQUIRES(mutex_) {
                                                    const auto at = devices_.find(id);
                                                    return id != node && at != devices_.end() &&
                                                           at->second.writers > 0;
                                                  });
}

void Writing::before_write(const DeviceFile& file, WriteState& state) {
  const MutexLock lock(mutex_);
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
    const MutexLock lock(mutex_);
    Device& device = devices_.at(state.node);
    ++device.written;
    Unflushed& unflushed = unflushed_[device.file.get()];
    unflushed.file = device.file;
    ++unflushed.changes;
    std::shared_ptr<const InodeView> view;
    for (const auto& [id, other] : devices_) {
      const bool itself = own && id == state.node;
      if (!itself && (other.buffered == 0 || !device.overlapping.contains(id))) continue;
      if (!view) view = server_.view();
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
    for (const InodeNumber alias : aliases) hooks_.invalidate(alias);
    answer(true);
  });
  if (!posted) answer(false);
}

void Writing::closing(WriteState& state, const std::function<void()>& answer) {
  bool due = false;
  {
    const MutexLock lock(mutex_);
    Device& device = devices_.at(state.node);
    if (!state.closing) {
      state.closing = true;
      ++device.closing;
    }
    due = device.closing == device.writers && device.written != device.peeled;
    if (due) mark_pending(state.node);
  }
  usher_.wake();
  const std::uint64_t node = state.node;
  const auto task = [this, node, answer] {
    peel(node);
    answer();
  };
  if (!due || !peeler_.post(task)) answer();
}

void Writing::release(const std::shared_ptr<const DeviceFile>& file,
                      const WriteState& state) noexcept {
  if (state.node == 0) return;
  if (state.writes) {
    flush_released(file);  // while it still counts as a writer
  }
  std::vector<std::uint64_t> due;
  {
    const MutexLock lock(mutex_);
    const auto at = devices_.find(state.node);
    if (at == devices_.end()) return;
    Device& device = at->second;
    device.buffered -= state.buffered ? 1 : 0;
    if (state.writes) {
      device.closing -= state.closing ? 1 : 0;
      if (--device.writers == 0) {
        device.overlapping.clear();
        if (device.written != device.peeled && !pending_.contains(state.node)) {
          mark_pending(state.node);
        }
        // Devices that could not be peeled because this one was open.
        for (const auto& [node, remade] : pending_) due.push_back(node);
      }
    }
    drop_unused(state.node);
  }
  for (const std::uint64_t node : due) peeler_.post([this, node] { peel(node); });
  if (state.writes) usher_.wake();
}

void Writing::drop_unused(std::uint64_t node) {
  const auto at = devices_.find(node);
  if (at != devices_.end() && at->second.writers == 0 && at->second.buffered == 0 &&
      at->second.written == at->second.peeled) {
    devices_.erase(at);
  }
}

void Writing::peel(std::uint64_t node) {
  if (ending_) return;
  std::uint64_t written = 0;
  std::vector<std::uint64_t> nodes;
  {
    const MutexLock lock(mutex_);
    const auto at = devices_.find(node);
    if (at == devices_.end() || at->second.written == at->second.peeled) {
      pending_.erase(node);
    } else if (!remade_has_writers(node)) {
      written = at->second.written;
      nodes = looked_at_after(server_.view()->catalog().tree(), node);
    }
  }
  ViewChanges changes;
  const Clock::time_point begin = Clock::now();
  if (!nodes.empty()) {
    try {
      changes = hooks_.peel(nodes);
    } catch (const std::exception& error) {
      // The devices on it stay marked as pending: no program may write through tables that may be
      // wrong.
      log_message(LogLevel::error,
                  std::string("what was written could not be looked at again: ") + error.what());
      return;
    }
    const MutexLock lock(mutex_);
    if (const auto at = devices_.find(node); at != devices_.end()) {
      at->second.peeled = written;
      const auto pause =
          std::max<Clock::duration>(kSyncInterval, kSyncFactor * (Clock::now() - begin));
      at->second.next_peel = Clock::now() + pause;
      if (at->second.written == written) pending_.erase(node);
      drop_unused(node);
    }
  }
  usher_.wake();
  hooks_.forget(changes);
}

void Writing::synced(const WriteState& state) {
  {
    const MutexLock lock(mutex_);
    Device& device = devices_.at(state.node);
    const std::shared_ptr<const InodeView> view = server_.view();
    const auto& nodes = view->catalog().tree().nodes;
    const auto at = nodes.find(state.node);
    if (device.written == device.peeled || at == nodes.end() || at->second->children.empty() ||
        Clock::now() < device.next_peel) {
      return;
    }
    device.next_peel = Clock::now() + kSyncInterval;
  }
  peeler_.post([this, node = state.node] { peel(node); });
}

void Writing::took_over(const InodeView& before, const InodeView& after) {
  const MutexLock lock(mutex_);
  for (const auto& [node, was] : before.devices()) {
    const auto is = after.devices().find(node);
    if (is == after.devices().end() || is->second.file != was.file) {
      was.file->retire();
      hand_down(before, after, node);
    }
  }
  for (auto& [node, device] : devices_) {
    if (device.writers > 0) device.overlapping = in_the_way(after.catalog().tree(), node);
  }
  for (auto& [node, remade] : pending_) remade.merge(remade_after(after.catalog().tree(), node));
}

void Writing::stop() noexcept {
  ending_ = true;
  usher_.stop();
  peeler_.stop();
  notifier_.stop();
}

}  // namespace peelfs
