// Which requests may occupy a thread of the mount, so that a source that does not answer (a network
// disk that is gone) stops only the programs that read it.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "peelfs/mutex.h"

namespace peelfs {

/// The requests that touch the same sources. They wait for the same disks, so they share a number
/// of threads; other lanes are not affected when all of these hang. Thread-safe.
class Lane : public std::enable_shared_from_this<Lane> {
 public:
  using Task = std::function<void()>;

  /// Runs a task on a thread of the lane's own, one task at a time, and waits for it, but not
  /// longer than `patience`: for questions about attributes, which must be answered even if a
  /// source hangs.
  /// @return whether it has been done; otherwise it may still be done later, or never
  bool ask(Task task, std::chrono::milliseconds patience);

 private:
  using Clock = std::chrono::steady_clock;
  struct Question {
    Task task;
    bool done = false;
  };
  void answer_questions() noexcept;

  friend class Lanes;
  unsigned running_ = 0;  ///< the mutex of Lanes guards it, and the next
  std::deque<Task> waiting_;

  Mutex mutex_;
  Condition changed_;
  /// The first one is being answered.
  std::deque<std::shared_ptr<Question>> questions_ PEELFS_GUARDED_BY(mutex_);
  Clock::time_point since_ PEELFS_GUARDED_BY(mutex_);  ///< when that began
  bool has_thread_ PEELFS_GUARDED_BY(mutex_) = false;
};

/// Thread-safe.
class Lanes {
 public:
  /// @param each how many threads one lane may occupy
  /// @param all how many all of them may; a lane gets a smaller part the fewer are left, so that
  ///   there is one for the next
  Lanes(unsigned each, unsigned all) : each_(each), all_(all) {}

  /// Calls body() now, or, where the lane has its number of threads at work, later on one of those.
  /// @param body copied in the latter case; must not throw
  /// @param prepare called before it is copied: what does not outlive this call is saved here
  template <typename Body, typename Prepare>
  void run(const std::shared_ptr<Lane>& lane, Body body, const Prepare& prepare) {
    UniqueLock lock(mutex_);
    if (!admits(*lane)) {
      prepare(body);
      park(lane, std::move(body));
      return;
    }
    occupy(*lane);
    lock.unlock();
    body();
    leave(lane);
  }
  template <typename Body>
  void run(const std::shared_ptr<Lane>& lane, Body body) {
    run(lane, std::move(body), [](Body&) {});
  }

 private:
  bool admits(const Lane& lane) const noexcept PEELFS_REQUIRES(mutex_) {
    return lane.running_ < each_ && 2 * lane.running_ < all_ - running_;
  }
  void occupy(Lane& lane) noexcept PEELFS_REQUIRES(mutex_) {
    ++lane.running_;
    ++running_;
  }
  void park(const std::shared_ptr<Lane>& lane, Lane::Task task) PEELFS_REQUIRES(mutex_);
  void leave(std::shared_ptr<Lane> lane) noexcept;

  const unsigned each_, all_;
  Mutex mutex_;
  unsigned running_ PEELFS_GUARDED_BY(mutex_) = 0;
  /// A lane once for each task that waits in it.
  std::deque<std::shared_ptr<Lane>> parked_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace peelfs
