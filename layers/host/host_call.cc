#include "host/host_call.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <mutex>
#include <optional>
#include <thread>

namespace peelfs {

namespace {

struct Calls {
  std::atomic<bool> watched{false};
  std::mutex mutex;
  std::list<HostCall::Entry> under_way;  ///< oldest first
};

Calls& calls() {
  // Never destroyed: the thread that watches runs until the process ends.
  static auto* const all = new Calls;
  return *all;
}

std::optional<std::string> oldest_before(std::chrono::steady_clock::time_point limit) {
  const std::lock_guard lock(calls().mutex);
  const auto& list = calls().under_way;
  if (list.empty() || list.front().since > limit) return std::nullopt;
  return list.front().path;
}

}  // namespace

HostCall::HostCall(const std::string& path) noexcept {
  Calls& all = calls();
  if (!all.watched.load(std::memory_order_relaxed)) return;
  try {
    std::list<Entry> mine{{path, std::chrono::steady_clock::now()}};
    const std::lock_guard lock(all.mutex);
    all.under_way.splice(all.under_way.end(), mine);
    entry_ = std::prev(all.under_way.end());
    watched_ = true;
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): without memory: not watched
  }
}

HostCall::~HostCall() {
  if (!watched_) return;
  std::list<Entry> mine;
  const std::lock_guard lock(calls().mutex);
  mine.splice(mine.end(), calls().under_way, entry_);
}

void watch_host_calls(std::chrono::seconds patience,
                      std::function<void(const std::string& path)> give_up) {
  if (calls().watched.exchange(true)) return;
  // Signals are for the threads that wait for them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([patience, give_up = std::move(give_up)] {
    const auto pause = std::clamp<std::chrono::milliseconds>(
        patience / 10, std::chrono::milliseconds(20), std::chrono::milliseconds(500));
    for (;;) {
      std::this_thread::sleep_for(pause);
      const auto silent = oldest_before(std::chrono::steady_clock::now() - patience);
      if (silent) give_up(*silent);
    }
  }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace peelfs
