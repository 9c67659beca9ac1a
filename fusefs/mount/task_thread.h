// Threads of the mount's own, beside libfuse's.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <thread>

#include "peelfs/mutex.h"

namespace peelfs {

/// Runs tasks one after the other. Thread-safe.
class TaskThread {
 public:
  using Task = std::function<void()>;

  TaskThread();
  ~TaskThread();
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;

  /// @return false after stop(): then the task is not run
  bool post(Task task);

  /// Returns when all that was posted has been done.
  void stop() noexcept;

  /// Drops what has not begun, and waits for what has.
  /// @return false when that had not ended by then: the thread goes on, and this must not be
  ///   destroyed
  bool abandon(std::chrono::steady_clock::time_point deadline) noexcept;

 private:
  void run() noexcept;

  Mutex mutex_;
  Condition changed_;
  std::deque<Task> tasks_ PEELFS_GUARDED_BY(mutex_);
  bool stopping_ PEELFS_GUARDED_BY(mutex_) = false;
  bool ended_ PEELFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

/// Repeats attempts until they succeed, or until their time is over. Thread-safe.
class PatientThread {
 public:
  using Clock = std::chrono::steady_clock;
  /// @param last no further attempt follows: it must come to an end. @return whether it is done
  using Attempt = std::function<bool(bool last)>;

  explicit PatientThread(std::chrono::milliseconds patience);
  ~PatientThread();
  PatientThread(const PatientThread&) = delete;
  PatientThread& operator=(const PatientThread&) = delete;

  /// Attempts soon, at every wake(), and for the last time when the patience is over or at stop().
  /// @return false after stop(): then there is no attempt
  bool add(Attempt attempt);
  void wake();
  void stop() noexcept;

 private:
  struct Waiting {
    Attempt attempt;
    Clock::time_point deadline;
  };
  void run() noexcept;

  const std::chrono::milliseconds patience_;
  Mutex mutex_;
  Condition changed_;
  std::list<Waiting> waiting_ PEELFS_GUARDED_BY(mutex_);
  bool woken_ PEELFS_GUARDED_BY(mutex_) = false;
  bool stopping_ PEELFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace peelfs
