// Keeps track of writes that are not durable yet, and flushes them.
#include <thread>

#include "mount/fuse_server.h"
#include "mount/writing.h"
#include "peel/writability.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {

bool Writing::is_unflushed(const DeviceFile& file) const {
  return unflushed_.contains(&file);
}

void Writing::flush(const std::shared_ptr<const DeviceFile>& file) {
  std::uint64_t changes = 0;
  {
    const MutexLock lock(mutex_);
    if (file->retired()) {
      unflushed_.erase(file.get());
      throw gone_from_tree();
    }
    if (const auto at = unflushed_.find(file.get()); at != unflushed_.end()) {
      changes = at->second.changes;
    }
  }
  file->device()->flush();
  const MutexLock lock(mutex_);
  if (const auto at = unflushed_.find(file.get());
      at != unflushed_.end() && at->second.changes == changes) {
    unflushed_.erase(at);
  }
}

void Writing::flush_released(const std::shared_ptr<const DeviceFile>& file) noexcept {
  try {
    {
      const MutexLock lock(mutex_);
      if (!is_unflushed(*file)) return;
    }
    flush(file);
  } catch (const std::exception& error) {
    // It stays unflushed, so no program may write below it before a flush has succeeded.
    file->log_failure(LogLevel::error, "flush", 0, file->size(), error.what());
  }
}

std::vector<std::string> Writing::flush_all() {
  std::vector<std::shared_ptr<const DeviceFile>> files;
  {
    const MutexLock lock(mutex_);
    for (const auto& [key, unflushed] : unflushed_) files.push_back(unflushed.file);
  }
  // Flushes each lane by itself, so that a source that hangs does not keep the others from being
  // flushed.
  std::map<const Lane*, std::vector<std::shared_ptr<const DeviceFile>>> lanes;
  for (const auto& file : files) lanes[file->lane().get()].push_back(file);
  struct {
    Mutex mutex;
    std::vector<std::string> lines PEELFS_GUARDED_BY(mutex);
  } failures;
  const auto flush_lane = [&](const std::vector<std::shared_ptr<const DeviceFile>>& lane) {
    for (const auto& file : lane) {
      try {
        flush(file);
      } catch (const std::exception& error) {
        const MutexLock lock(failures.mutex);
        failures.lines.push_back(file->name() + " could not be flushed: " + error.what());
        log_message(LogLevel::error, failures.lines.back());
      }
    }
  };
  std::vector<std::jthread> threads;
  for (auto at = lanes.begin(); at != lanes.end(); ++at) {
    if (std::next(at) == lanes.end()) {
      flush_lane(at->second);
    } else {
      threads.emplace_back(flush_lane, std::cref(at->second));
    }
  }
  threads.clear();  // waits
  const MutexLock lock(failures.mutex);
  return std::move(failures.lines);
}

/// Called for a file that is retired with unflushed writes: those that have reached the devices
/// below must be flushed by these devices; the others must never be written.
void Writing::hand_down(const InodeView& before, const InodeView& after, std::uint64_t node) {
  const std::shared_ptr<const DeviceFile> was = before.devices().at(node).file;
  if (unflushed_.erase(was.get()) == 0) return;
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

}  // namespace peelfs
