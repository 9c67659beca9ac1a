#include "mount/lanes.h"

#include <algorithm>
#include <thread>

#include "mount/log.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

/// How long a lane's thread waits for another question before it ends.
constexpr std::chrono::seconds kIdle{2};

}  // namespace

bool Lane::ask(Task task, std::chrono::milliseconds patience) {
  UniqueLock lock(mutex_);
  const Clock::time_point now = Clock::now();
  // If a question hangs, the next ones do not wait at all: a listing asks for every file.
  if (!questions_.empty() && now - since_ > patience) return false;
  const auto question = std::make_shared<Question>();
  question->task = std::move(task);
  questions_.push_back(question);
  if (questions_.size() == 1) since_ = now;
  if (!has_thread_) {
    try {
      std::thread([self = shared_from_this()] { self->answer_questions(); }).detach();
    } catch (const std::exception&) {  // no more threads
      questions_.clear();
      return false;
    }
    has_thread_ = true;
  }
  changed_.notify_all();
  return changed_.wait_until(lock, now + patience, [&question] { return question->done; });
}

void Lane::answer_questions() noexcept {
  UniqueLock lock(mutex_);
  while (changed_.wait_for(lock, kIdle,
                           [this]() PEELFS_REQUIRES(mutex_) { return !questions_.empty(); })) {
    const std::shared_ptr<Question> question = questions_.front();
    lock.unlock();
    try {
      question->task();
    } catch (const std::exception& error) {
      log_message(LogLevel::error, error.what());
    }
    question->task = nullptr;  // what it holds is released outside of the lock
    lock.lock();
    question->done = true;
    questions_.pop_front();
    since_ = Clock::now();
    changed_.notify_all();
  }
  has_thread_ = false;
}

void Lanes::park(const std::shared_ptr<Lane>& lane, Lane::Task task) {
  lane->waiting_.push_back(std::move(task));
  parked_.push_back(lane);
}

void Lanes::leave(std::shared_ptr<Lane> lane) noexcept {
  UniqueLock lock(mutex_);
  for (;;) {
    --lane->running_;
    --running_;
    const auto next = std::find_if(parked_.begin(), parked_.end(),
                                   [this](const auto& waiting)
                                       PEELFS_REQUIRES(mutex_) { return admits(*waiting); });
    if (next == parked_.end()) return;
    lane = *next;
    parked_.erase(next);
    Lane::Task task = std::move(lane->waiting_.front());
    lane->waiting_.pop_front();
    occupy(*lane);
    lock.unlock();
    task();
    task = nullptr;  // what it holds is released outside of the lock
    lock.lock();
  }
}

}  // namespace peelfs
