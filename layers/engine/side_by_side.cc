#include "engine/side_by_side.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "peelfs/mutex.h"

namespace peelfs {

namespace {

/// Threads that are started while one exists take no signals: they are the business of the thread
/// that starts them.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

void side_by_side(std::size_t count, std::size_t workers,
                  const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  struct {
    Mutex mutex;
    std::exception_ptr last PEELFS_GUARDED_BY(mutex);
  } failure;
  const auto take_turns = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const MutexLock lock(failure.mutex);
        failure.last = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    try {
      const SignalsBlocked blocked;
      while (helpers.size() + 1 < std::min(count, workers)) helpers.emplace_back(take_turns);
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): fewer do
    }
    take_turns();
  }
  const MutexLock lock(failure.mutex);
  if (failure.last) std::rethrow_exception(failure.last);
}

}  // namespace peelfs
