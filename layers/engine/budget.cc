#include "peelfs/budget.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

constexpr std::uint64_t kMostKdfMemory = 4ULL << 30U;

/// Bytes of memory that this process may have: the machine's, or less in a container.
std::uint64_t memory_of_process() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  std::uint64_t memory = 2 * kMostKdfMemory;
  if (pages > 0 && page > 0) {
    memory = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  }
  // Of a container with a namespace of its own; "max" where there is no limit is no number.
  std::ifstream file("/sys/fs/cgroup/memory.max");
  std::uint64_t limit = 0;
  if (file >> limit && limit != 0) memory = std::min(memory, limit);
  return memory;
}

/// What is left out when a kind has ended, and what a person can do.
std::pair<std::string, std::string> words(Budget::Kind kind, std::uint64_t whole) {
  switch (kind) {
    case Budget::Kind::files:
      return {"searching filesystems for disk images ended after " + std::to_string(whole) +
                  " files in all",
              "raise it with --run-files, or name fewer sources"};
    case Budget::Kind::kdf_milliseconds:
      return {"trying keys ended after " + std::to_string(whole / 1000) +
                  " seconds of key derivations in all",
              "raise it with --kdf-seconds, or give each key to one device with --key NAME=..."};
    case Budget::Kind::identify_bytes:
      break;
  }
  const bool is_small = whole < 1U << 20U;
  return {
      "looking into devices ended after " +
          (is_small ? std::to_string(whole) + " bytes" : std::to_string(whole >> 20U) + " MiB") +
          " were read to find out what they are",
      "raise it with --identify-bytes, or name fewer sources"};
}

}  // namespace

std::uint64_t usual_kdf_memory() {
  static const std::uint64_t memory = std::min(kMostKdfMemory, memory_of_process() / 2);
  return memory;
}

Budget::Budget(const Limits& limits) {
  share(Kind::files).whole = limits.run_files;
  share(Kind::kdf_milliseconds).whole =
      std::min<std::uint64_t>(limits.run_kdf_seconds, UINT64_MAX / 1000) * 1000;
  share(Kind::identify_bytes).whole = limits.run_identify_bytes;
  for (Share& one : shares_) one.left = one.whole;
}

std::uint64_t Budget::left(Kind kind) const {
  const MutexLock lock(mutex_);
  return share(kind).left;
}

void Budget::take(Kind kind, std::uint64_t amount) {
  const MutexLock lock(mutex_);
  Share& one = share(kind);
  if (amount > one.left) ++one.overdrawn;
  one.left -= std::min(one.left, amount);
}

void Budget::give_back(Kind kind, std::uint64_t amount) {
  const MutexLock lock(mutex_);
  Share& one = share(kind);
  one.left += std::min(amount, one.whole - one.left);
}

Budget::Mark Budget::mark(Kind kind) const {
  const MutexLock lock(mutex_);
  const Share& one = share(kind);
  Mark mark;
  mark.left_ = one.left;
  mark.refusals_ = one.refusals;
  mark.overdrawn_ = one.overdrawn;
  mark.first_ = one.first;
  return mark;
}

bool Budget::is_short(Kind kind, const Mark& since) const {
  const MutexLock lock(mutex_);
  const Share& one = share(kind);
  return one.refusals != since.refusals_ || one.overdrawn != since.overdrawn_;
}

void Budget::go_back(Kind kind, const Mark& mark) {
  const MutexLock lock(mutex_);
  Share& one = share(kind);
  one.left = mark.left_;
  one.refusals = mark.refusals_;
  one.overdrawn = mark.overdrawn_;
  one.first = mark.first_;
}

void Budget::refuse(Kind kind, const std::string& what) {
  const MutexLock lock(mutex_);
  Share& one = share(kind);
  if (one.refusals++ == 0) one.first = what;
}

void Budget::renew(Kind kind) {
  const MutexLock lock(mutex_);
  share(kind).left = share(kind).whole;
}

std::vector<std::string> Budget::endings() const {
  const MutexLock lock(mutex_);
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    const Share& one = shares_.at(i);
    if (one.refusals == 0) continue;
    const auto [what, advice] = words(static_cast<Kind>(i), one.whole);
    std::string sentence = what + ": " + one.first;
    if (one.refusals > 1) sentence += " and " + std::to_string(one.refusals - 1) + " more";
    sentence += " left out; ";
    sentences.push_back(printable(sentence + advice));
  }
  return sentences;
}

std::string spent_reason(Budget::Kind kind) {
  switch (kind) {
    case Budget::Kind::files:
      return "not searched further: the files that one run may look at are used up";
    case Budget::Kind::kdf_milliseconds:
      return "not all keys were tried: the time that one run may spend on them is used up";
    case Budget::Kind::identify_bytes:
      break;
  }
  return "not looked into: what one run may read to find out what devices are is used up";
}

}  // namespace peelfs
