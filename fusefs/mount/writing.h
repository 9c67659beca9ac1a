// The book-keeping of writes: conflicts between writers, coherence of caches, and the work that
// follows a write. Only writable mounts have one.
//
// In three files: who may open what (writing_open.cc), what is not durable yet (writing_flush.cc),
// and what follows a write (writing.cc).
//
// Threads, and what each may wait for. None waits for one above it in this list, so there is no
// cycle:
//
//   libfuse's workers    devices, in the lane of their sources (lanes.h), and mutex_ of this class
//                        for a moment. Never a page lock of the kernel, another request, or one of
//                        the threads below.
//   notifier             the kernel, which may wait for pages that are being read: a worker's
//                        answer. A write whose bytes other files have in the page cache is
//                        answered here, after they were dropped.
//   peeler               devices, key derivations, the kernel (directory locks are held by
//                        look-ups, which workers answer). The last close of a written device is
//                        answered here, once what is in it was peeled afresh.
//   usher                devices, to flush one so that a program can write below it. It repeats
//                        opens that met a close under way, or a device that is being peeled, when
//                        that has ended or their time is over.
//
// mutex_ is held for book-keeping only: no thread reads, writes, peels, notifies the kernel or
// answers it while it holds mutex_. The only other lock taken under it is that of the current view.
//
// Order when a device's last writer closes: FLUSH marks everything that lies on it as pending;
// the peeler opens that afresh, publishes the new view, retires the files that are gone from it
// (their handles get ESTALE), lifts the mark, tells the kernel what to forget, and answers. An open
// takes its file under mutex_, so it meets either the mark or the new view.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mount/inodes.h"
#include "mount/task_thread.h"
#include "peelfs/mutex.h"

namespace peelfs {

class FuseServer;

/// The part of the book-keeping that is kept in a handle; only Writing uses it, under its lock.
struct WriteState {
  std::uint64_t node = 0;  ///< 0: nothing is kept of it
  bool writes = false;     ///< opened for writing
  bool buffered = false;   ///< opened for reading, through the page cache
  bool closing = false;    ///< its FLUSH has been seen, and no write since
};

/// Thread-safe.
class Writing {
 public:
  struct Hooks {
    /// Drops what the kernel has cached of a file's bytes.
    std::function<void(InodeNumber)> invalidate;
    /// Peels devices afresh and publishes the new view. @return what the kernel must forget
    std::function<ViewChanges(const std::vector<std::uint64_t>& nodes)> peel;
    std::function<void(const ViewChanges&)> forget;
  };

  /// Starts the threads: signals must be blocked by now.
  Writing(const FuseServer& server, Hooks hooks);

  /// An open that may have to wait.
  struct Open {
    InodeNumber inode = 0;
    bool writes = false;
    pid_t pid = 0;  ///< of the process that opens
  };
  struct Opened {
    std::shared_ptr<const DeviceFile> file;
    WriteState state;
    bool direct = false;      ///< the page cache must not be used
    bool keep_cache = false;  ///< what is in it is still true
  };
  /// @param last the open must not wait any longer
  /// @return nullopt: not now; the caller tries again when a close or a peeling has ended
  /// @throws Error: EROFS, ESTALE, EBUSY (naming the holder)
  std::optional<Opened> open(const Open& wanted, bool last);
  /// Lets the usher attempt an open until it succeeds. @return false: the mount is ending
  bool wait(PatientThread::Attempt attempt) { return usher_.add(std::move(attempt)); }

  /// The caller calls these before and after every change of a device's bytes. @throws Error with
  /// ESTALE
  void before_write(const DeviceFile& file, WriteState& state);
  /// @param own drop what the kernel has cached of the device itself, too
  /// @param answer called now, or by the notifier once no page cache holds old bytes; true when the
  ///   bytes may be reported as written
  void after_write(WriteState& state, bool own, const std::function<void(bool)>& answer);

  /// FLUSH was seen. @param answer called when what lies on the device was peeled, if that is due
  void closing(WriteState& state, const std::function<void()>& answer);
  /// A handle is closed. What was written behind the last FLUSH (a mapping outlives it) is flushed.
  void release(const std::shared_ptr<const DeviceFile>& file, const WriteState& state) noexcept;

  /// Makes a file's bytes durable.
  /// @throws Error; with ESTALE, and nothing is written, when another device is in its place: what
  ///   the old one knows of the bytes below may be wrong by now
  void flush(const std::shared_ptr<const DeviceFile>& file) PEELFS_EXCLUDES(mutex_);
  /// After an fsync: what lies on the device is peeled, now and then.
  void synced(const WriteState& state);
  /// Makes everything durable that was written. @return what went wrong, a line for each device
  std::vector<std::string> flush_all();

  /// Runs an unlock, which makes devices afresh although nothing was written.
  /// @param node what is unlocked. @param body must publish the new view
  /// @throws Error with EBUSY, naming the holder, when one of them is open for writing; what `body`
  ///   throws
  void around_unlock(std::uint64_t node, const std::function<void()>& body);

  /// The caller calls it when a new view has taken the place of another.
  void took_over(const InodeView& before, const InodeView& after);

  /// Ends the threads, and answers all requests that wait. Requests must still be served meanwhile.
  void stop() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  struct Device {
    std::shared_ptr<const DeviceFile> file;
    std::set<std::uint64_t> overlapping;  ///< in_the_way(), while there are writers
    unsigned writers = 0;
    unsigned closing = 0;
    unsigned buffered = 0;
    std::uint64_t written = 0;  ///< counts changes of its bytes, begun and done
    std::uint64_t peeled = 0;   ///< the value of `written` when the devices on it were last peeled
    std::string holder;         ///< who opened it for writing
    Clock::time_point next_peel{};
  };
  struct Clash {
    bool ends_soon = false;
    std::string holder;
  };

  /// What was written to a file since it was last flushed.
  struct Unflushed {
    std::shared_ptr<const DeviceFile> file;
    std::uint64_t changes = 0;  ///< counts them
  };

  /// @param unflushed set, with nullopt, to what has to be flushed first
  std::optional<Opened> take(const Open& wanted, bool last, const std::string& asking,
                             std::shared_ptr<const DeviceFile>& unflushed) PEELFS_EXCLUDES(mutex_);
  std::shared_ptr<const DeviceFile> unflushed_upon(const InodeView& view, std::uint64_t node) const
      PEELFS_REQUIRES(mutex_);
  bool is_unflushed(const DeviceFile& file) const PEELFS_REQUIRES(mutex_);
  std::vector<std::shared_ptr<const DeviceFile>> mark_unlocking(std::uint64_t node)
      PEELFS_REQUIRES(one_unlock_) PEELFS_EXCLUDES(mutex_);
  void flush_released(const std::shared_ptr<const DeviceFile>& file) noexcept
      PEELFS_EXCLUDES(mutex_);
  void hand_down(const InodeView& before, const InodeView& after, std::uint64_t node)
      PEELFS_REQUIRES(mutex_);
  std::optional<Clash> clash(const Tree& tree, std::uint64_t node) const PEELFS_REQUIRES(mutex_);
  bool is_pending(std::uint64_t node) const PEELFS_REQUIRES(mutex_);
  void mark_pending(std::uint64_t node) PEELFS_REQUIRES(mutex_);
  bool remade_has_writers(std::uint64_t node) const PEELFS_REQUIRES(mutex_);
  void peel(std::uint64_t node) PEELFS_EXCLUDES(mutex_);
  void drop_unused(std::uint64_t node) PEELFS_REQUIRES(mutex_);

  const FuseServer& server_;
  const Hooks hooks_;
  std::atomic<bool> ending_{false};  ///< nothing is peeled any more
  Mutex one_unlock_;                 ///< held during an unlock
  mutable Mutex mutex_ PEELFS_ACQUIRED_AFTER(one_unlock_);
  /// Those that are open, or have changed since the last peel.
  std::map<std::uint64_t, Device> devices_ PEELFS_GUARDED_BY(mutex_);
  /// What was written, and what lies on it.
  std::map<std::uint64_t, std::set<std::uint64_t>> pending_ PEELFS_GUARDED_BY(mutex_);
  /// What is made afresh by an unlock under way.
  std::set<std::uint64_t> unlocking_ PEELFS_GUARDED_BY(mutex_);
  std::map<const DeviceFile*, Unflushed> unflushed_ PEELFS_GUARDED_BY(mutex_);
  TaskThread notifier_;
  TaskThread peeler_;
  PatientThread usher_;
};

}  // namespace peelfs
