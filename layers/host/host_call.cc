#include "host/host_call.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <future>
#include <optional>
#include <system_error>
#include <thread>

#include "peelfs/mutex.h"

namespace peelfs {

namespace {

struct Calls {
  std::atomic<bool> watched{false};
  Mutex mutex;
  std::list<HostCall::Entry> under_way PEELFS_GUARDED_BY(mutex);  ///< oldest first
};

Calls& calls() {
  // Never destroyed: the thread that watches runs until the process ends.
  static auto* const all = new Calls;
  return *all;
}

/// Whether the thread that waits for this one looks at the clock itself.
thread_local bool is_waited_for = false;

/// Starts a thread that no signal interrupts: they are for the threads that wait for them.
template <typename Work>
std::thread start_quietly(Work work) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  try {
    thread = std::thread(std::move(work));
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

std::optional<std::string> oldest_before(std::chrono::steady_clock::time_point limit) {
  Calls& all = calls();
  const MutexLock lock(all.mutex);
  if (all.under_way.empty() || all.under_way.front().since > limit) return std::nullopt;
  return all.under_way.front().path;
}

}  // namespace

HostCall::HostCall(const std::string& path) noexcept {
  Calls& all = calls();
  if (!all.watched.load(std::memory_order_relaxed) || is_waited_for) return;
  try {
    std::list<Entry> mine{{path, std::chrono::steady_clock::now()}};
    const MutexLock lock(all.mutex);
    all.under_way.splice(all.under_way.end(), mine);
    entry_ = std::prev(all.under_way.end());
    watched_ = true;
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): without memory: not watched
  }
}

HostCall::~HostCall() {
  if (!watched_) return;
  std::list<Entry> mine;
  const MutexLock lock(calls().mutex);
  mine.splice(mine.end(), calls().under_way, entry_);
}

void watch_host_calls(std::chrono::seconds patience,
                      std::function<void(const std::string& path)> give_up) {
  if (calls().watched.exchange(true)) return;
  start_quietly([patience, give_up = std::move(give_up)] {
    const auto pause = std::clamp<std::chrono::milliseconds>(
        patience / 10, std::chrono::milliseconds(20), std::chrono::milliseconds(500));
    while (calls().watched) {
      std::this_thread::sleep_for(pause);
      const auto silent = oldest_before(std::chrono::steady_clock::now() - patience);
      if (silent && calls().watched) give_up(*silent);
    }
  }).detach();
}

void watch_host_calls_no_more() noexcept {
  calls().watched = false;
}

Error no_answer(const std::string& path, std::chrono::seconds patience) {
  return Error(Fault::io, printable(path) + " does not answer")
      .found("no answer in " + std::to_string(patience.count()) + " s")
      .expected("one, from the disk or the process that serves it")
      .with_errno(ETIMEDOUT)
      .advice("a network disk may be gone, or a process stopped; --timeout waits longer");
}

void wait_for_answer(const std::string& path, std::chrono::seconds patience,
                     std::function<void()> work) {
  if (patience == std::chrono::seconds(0)) return work();
  const auto task = std::make_shared<std::packaged_task<void()>>(std::move(work));
  std::future<void> answer = task->get_future();
  std::thread thread;
  try {
    thread = start_quietly([task] {
      is_waited_for = true;
      (*task)();
    });
  } catch (const std::system_error&) {  // no more threads
    (*task)();
    return answer.get();
  }
  if (answer.wait_for(patience) != std::future_status::ready) {
    thread.detach();
    throw no_answer(path, patience);
  }
  thread.join();
  answer.get();
}

}  // namespace peelfs
