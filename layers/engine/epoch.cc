#include "engine/epoch.h"

#include <algorithm>
#include <thread>

#include "peelfs/mutex.h"

namespace peelfs {

namespace {

/// How many requests of the loops enclose this point of this thread.
thread_local unsigned depth = 0;

std::size_t shard_of_this_thread() noexcept {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t shard = next.fetch_add(1, std::memory_order_relaxed);
  return shard;
}

}  // namespace

Epochs& Epochs::process() {
  static Epochs epochs;
  return epochs;
}

Epochs::Request::Request() noexcept {
  if (depth++ != 0) return;
  Epochs& epochs = process();
  // The epoch may advance between these two lines. A counter that is entered so late belongs to a
  // request that has asked for nothing yet, and it keeps the next advance but one waiting at most.
  counter_ = &epochs.enter(epochs.now());
}

std::atomic<std::int64_t>& Epochs::enter(std::uint64_t epoch) noexcept {
  auto& counter = counters_.at(epoch & 1U).at(shard_of_this_thread() % kShards).count;
  counter.fetch_add(1, std::memory_order_seq_cst);
  return counter;
}

Epochs::Request::~Request() {
  --depth;
  if (counter_ != nullptr) counter_->fetch_sub(1, std::memory_order_seq_cst);
}

bool Epochs::Request::active() noexcept {
  return depth != 0;
}

bool Epochs::drained(std::uint64_t parity) const noexcept {
  const auto& side = counters_.at(parity & 1U);
  return std::all_of(side.begin(), side.end(), [](const Counter& counter) {
    return counter.count.load(std::memory_order_seq_cst) == 0;
  });
}

bool Epochs::passed(std::uint64_t epoch) {
  // Both sets of counters must have been seen empty after the caller learned of `epoch`: a request
  // that entered late may be in either. Another thread may have looked at one of them for the first
  // advance before that moment, so only the second and the third advance prove anything.
  const MutexLock lock(advancing_);
  while (epoch_.load(std::memory_order_seq_cst) < epoch + 3) {
    const std::uint64_t current = epoch_.load(std::memory_order_seq_cst);
    if (!drained(current + 1)) return false;
    epoch_.store(current + 1, std::memory_order_seq_cst);
  }
  return true;
}

bool Epochs::wait(std::uint64_t epoch, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!passed(epoch)) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

}  // namespace peelfs
