#include "mount/task_thread.h"

#include <algorithm>
#include <exception>

#include "mount/log.h"
#include "peelfs/mutex.h"

namespace peelfs {

TaskThread::TaskThread() : thread_([this] { run(); }) {}

TaskThread::~TaskThread() {
  stop();
}

bool TaskThread::post(Task task) {
  {
    const MutexLock lock(mutex_);
    if (stopping_) return false;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
  return true;
}

void TaskThread::stop() noexcept {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool TaskThread::abandon(std::chrono::steady_clock::time_point deadline) noexcept {
  std::deque<Task> dropped;
  {
    UniqueLock lock(mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
    changed_.notify_all();
    if (!changed_.wait_until(lock, deadline, [this]() PEELFS_REQUIRES(mutex_) { return ended_; })) {
      return false;
    }
  }
  stop();
  return true;
}

void TaskThread::run() noexcept {
  UniqueLock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this]() PEELFS_REQUIRES(mutex_) { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) {
      ended_ = true;
      changed_.notify_all();
      return;
    }
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    try {
      task();
    } catch (const std::exception& error) {
      log_message(LogLevel::error, error.what());
    }
    task = nullptr;  // what it holds is released outside of the lock
    lock.lock();
  }
}

PatientThread::PatientThread(std::chrono::milliseconds patience)
    : patience_(patience), thread_([this] { run(); }) {}

PatientThread::~PatientThread() {
  stop();
}

bool PatientThread::add(Attempt attempt) {
  {
    const MutexLock lock(mutex_);
    if (stopping_) return false;
    waiting_.push_back({std::move(attempt), Clock::now() + patience_});
    woken_ = true;  // the event that the attempt waits for may have come since it was refused
  }
  changed_.notify_one();
  return true;
}

void PatientThread::wake() {
  {
    const MutexLock lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void PatientThread::stop() noexcept {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void PatientThread::run() noexcept {
  UniqueLock lock(mutex_);
  const auto due = [this]() PEELFS_REQUIRES(mutex_) { return woken_ || stopping_; };
  for (;;) {
    if (waiting_.empty()) {
      changed_.wait(lock, due);
    } else {
      const auto first = std::min_element(
          waiting_.begin(), waiting_.end(),
          [](const Waiting& a, const Waiting& b) { return a.deadline < b.deadline; });
      changed_.wait_until(lock, first->deadline, due);
    }
    woken_ = false;
    const bool ending = stopping_;
    std::list<Waiting> round = std::move(waiting_);
    waiting_.clear();
    lock.unlock();
    const Clock::time_point now = Clock::now();
    round.remove_if([&](const Waiting& waiting) {
      const bool last = ending || now >= waiting.deadline;
      try {
        return waiting.attempt(last) || last;
      } catch (const std::exception& error) {
        log_message(LogLevel::error, error.what());
        return true;
      }
    });
    lock.lock();
    waiting_.splice(waiting_.begin(), round);
    if (ending && waiting_.empty()) return;
  }
}

}  // namespace peelfs
