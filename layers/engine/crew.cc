#include "engine/crew.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <thread>

#include "peelfs/mutex.h"

namespace peelfs {

namespace {

/// Set while this thread works on a part.
thread_local bool inside = false;

/// Lies on the stack of the thread that called share_out(). The crew's lock guards the members that
/// are not atomic.
struct Job {
  Job(std::size_t parts, const std::function<void(std::size_t)>& what) : count(parts), part(what) {}

  void work() noexcept {
    inside = true;
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        part(i);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
        next = count;
      }
    }
    inside = false;
  }

  const std::size_t count;
  const std::function<void(std::size_t)>& part;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  unsigned helpers = 0;
  Job* waiting_behind = nullptr;
};

}  // namespace

/// The threads of this process.
class Crew {
 public:
  static Crew& process() {
    // Never destroyed: its threads wait for work until the process ends.
    static auto* const crew = new Crew;
    return *crew;
  }

  void queue(Background& work) {
    {
      const MutexLock lock(mutex_);
      work.next_ = nullptr;
      *last_ = &work;
      last_ = &work.next_;
    }
    wanted_.notify_one();
  }

  bool take_back(Background& work) {
    const MutexLock lock(mutex_);
    for (Background** at = &queued_; *at != nullptr; at = &(*at)->next_) {
      if (*at == &work) {
        unlink(at);
        return true;
      }
    }
    return false;
  }

  void run(Job& job) {
    {
      const MutexLock lock(mutex_);
      job.waiting_behind = jobs_;
      jobs_ = &job;
    }
    if (job.count == 2) {
      wanted_.notify_one();
    } else {
      wanted_.notify_all();
    }
    job.work();
    UniqueLock lock(mutex_);
    withdraw(job);
    left_.wait(lock, [&job] { return job.helpers == 0; });
  }

 private:
  Crew() {
    // Blocks all signals here: other threads of the process wait for them.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const unsigned others = std::clamp(std::thread::hardware_concurrency(), 2U, 8U) - 1;
    try {
      for (; threads_ < others; ++threads_) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): fewer will do
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void serve() {
    UniqueLock lock(mutex_);
    for (;;) {
      wanted_.wait(lock,
                   [this]() PEELFS_REQUIRES(mutex_) { return jobs_ != nullptr || may_begin(); });
      if (jobs_ == nullptr) {
        Background& work = *queued_;
        unlink(&queued_);
        ++in_background_;
        lock.unlock();
        inside = true;
        work.run();
        inside = false;
        lock.lock();
        --in_background_;
        continue;
      }
      Job& job = *jobs_;
      ++job.helpers;
      lock.unlock();
      job.work();
      lock.lock();
      withdraw(job);
      if (--job.helpers == 0) left_.notify_all();
    }
  }

  /// There is nothing left to begin.
  void withdraw(const Job& job) PEELFS_REQUIRES(mutex_) {
    for (Job** at = &jobs_; *at != nullptr; at = &(*at)->waiting_behind) {
      if (*at == &job) {
        *at = job.waiting_behind;
        return;
      }
    }
  }

  bool may_begin() const PEELFS_REQUIRES(mutex_) {
    return queued_ != nullptr && in_background_ < std::max(2U, threads_.load()) - 1;
  }

  void unlink(Background** at) PEELFS_REQUIRES(mutex_) {
    Background* const work = *at;
    *at = work->next_;
    if (last_ == &work->next_) last_ = at;
  }

  Mutex mutex_;
  Condition wanted_, left_;
  std::atomic<unsigned> threads_{0};
  unsigned in_background_ PEELFS_GUARDED_BY(mutex_) = 0;
  Job* jobs_ PEELFS_GUARDED_BY(mutex_) = nullptr;           ///< the latest first
  Background* queued_ PEELFS_GUARDED_BY(mutex_) = nullptr;  ///< the oldest first
  Background** last_ PEELFS_GUARDED_BY(mutex_) = &queued_;  ///< where the next one is put
};

void share_out(std::size_t count, const std::function<void(std::size_t)>& part) {
  if (count <= 1 || inside) {
    for (std::size_t i = 0; i < count; ++i) part(i);
    return;
  }
  Job job(count, part);
  Crew::process().run(job);
  if (job.error) std::rethrow_exception(job.error);
}

void begin_in_background(Background& work) {
  Crew::process().queue(work);
}

bool take_back(Background& work) {
  return Crew::process().take_back(work);
}

}  // namespace peelfs
