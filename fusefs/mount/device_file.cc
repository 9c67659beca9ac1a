#include "mount/device_file.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/partial_write.h"

namespace peelfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kBlocksUnknown = std::numeric_limits<std::uint64_t>::max();
/// How many runs st_blocks looks at before it says "there may be holes".
constexpr unsigned kHoleCheckRuns = 16;
/// How long an answer about attributes waits for the sources.
constexpr std::chrono::milliseconds kBlocksPatience{200};
/// How long one lseek may search; the kernel holds the file's inode lock meanwhile.
constexpr std::chrono::milliseconds kSeekLimit{2000};
/// How many runs pass between two looks at the clock and at the interrupt.
constexpr unsigned kSeekCheckRuns = 16;

/// How many changes any device of the process has seen: two of them may share bytes.
std::atomic<std::uint64_t> changes{0};

constexpr std::int64_t kNanoseconds = 1'000'000'000;

bool later(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

}  // namespace

Error gone_from_tree() {
  return Error(Fault::missing, "this device is gone from the tree")
      .advice("open it again: what it lies on has been written")
      .with_errno(ESTALE);
}

DeviceFile::DeviceFile(std::string name, DevicePtr device, Sources sources,
                       std::shared_ptr<Lane> lane, timespec mounted)
    : name_(std::move(name)),
      device_(std::move(device)),
      sources_(std::move(sources)),
      lane_(std::move(lane)),
      modified_(mounted),
      blocks_(kBlocksUnknown) {
  timespec newest{};
  for (const auto& source : sources_) {
    on_block_device_ = on_block_device_ || source->is_block_device();
    newest = later(source->modified(), newest) ? source->modified() : newest;
  }
  if (!sources_.empty() && !on_block_device_) modified_ = newest;
}

timespec DeviceFile::modified() const noexcept {
  const std::int64_t written = written_.load(std::memory_order_relaxed);
  if (written == 0) return modified_;
  return {written / kNanoseconds, written % kNanoseconds};
}

void DeviceFile::check_current() const {
  if (retired()) throw gone_from_tree();
}

void DeviceFile::changed() const noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  written_.store(now.tv_sec * kNanoseconds + now.tv_nsec, std::memory_order_relaxed);
  changes.fetch_add(1, std::memory_order_relaxed);
}

std::size_t DeviceFile::write(std::uint64_t offset, Bytes bytes) const {
  check_current();
  const std::uint64_t size = device_->size();
  if (offset >= size && !bytes.empty()) {
    throw Error(Fault::usage, "the device ends before this place")
        .expected("an offset below " + std::to_string(size))
        .with_errno(ENOSPC);
  }
  const auto inside =
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size - offset));
  try {
    const std::size_t written = write_some(*device_, offset, bytes.first(inside));
    changed();
    return written;
  } catch (...) {
    changed();
    throw;
  }
}

void DeviceFile::zero(std::uint64_t offset, std::uint64_t length, WriteKind kind) const {
  check_current();
  const std::uint64_t size = device_->size();
  if (offset >= size) return;
  try {
    peelfs::zero(*device_, offset, std::min(length, size - offset), kind);
  } catch (...) {
    changed();
    throw;
  }
  changed();
}

bool DeviceFile::lend(std::uint64_t offset, MutableBytes scratch, Ahead* ahead,
                      const std::function<void(std::span<const iovec>)>& hand_over) const {
  check_current();
  const std::uint64_t size = device_->size();
  if (offset >= size) {
    hand_over({});
    return true;
  }
  const auto wanted =
      static_cast<std::size_t>(std::min<std::uint64_t>(scratch.size(), size - offset));
  const MutableBytes out = scratch.first(wanted);
  return ahead != nullptr ? ahead->lend(offset, out, hand_over)
                          : peelfs::lend(*device_, offset, out, hand_over).trusted;
}

std::uint64_t DeviceFile::seek(std::uint64_t offset, int whence,
                               const std::function<bool()>& interrupted) const {
  check_current();
  std::uint64_t found = 0;
  try {
    found = search(offset, whence, interrupted);
  } catch (const Error&) {
    check_current();
    throw;
  }
  // The file may have been retired meanwhile: then the device's tables did not describe the bytes
  // that are there now.
  check_current();
  return found;
}

std::uint64_t DeviceFile::search(std::uint64_t offset, int whence,
                                 const std::function<bool()>& interrupted) const {
  const std::uint64_t size = device_->size();
  const auto nothing = [] {
    return Error(Fault::usage, "there is nothing to seek behind this offset").with_errno(ENXIO);
  };
  if (offset >= size) throw nothing();
  const bool want_data = whence == SEEK_DATA;
  const Clock::time_point deadline = Clock::now() + kSeekLimit;
  std::uint64_t at = offset;
  for (unsigned looked = 1; at < size; ++looked) {
    Run run;
    try {
      run = block_status(*device_, at, size - at);
    } catch (const Error&) {
      // Damaged tables, a missing member: a program that copies the file must read here, and get
      // the error.
      run = {true, size - at};
    }
    if (run.data == want_data) return at;
    at += std::min(run.length, size - at);
    if (looked % kSeekCheckRuns == 0 && at < size) {
      if (interrupted()) {
        throw Error(Fault::io, "the search for holes was interrupted").with_errno(EINTR);
      }
      if (Clock::now() > deadline) {
        // Data from here on, as far as we can promise: SEEK_DATA gets this offset, and SEEK_HOLE
        // the end of the file.
        return want_data ? at : size;
      }
    }
  }
  if (want_data) throw nothing();
  return size;  // every file ends in a hole
}

bool DeviceFile::may_have_holes() const {
  const std::uint64_t size = device_->size();
  std::uint64_t at = 0;
  for (unsigned looked = 0; at < size && looked < kHoleCheckRuns; ++looked) {
    const Run run = block_status(*device_, at, size - at);
    if (!run.data) return true;
    at += run.length;
  }
  return at < size;
}

/// On a thread of the lane's own: block maps lie in the sources, and those may hang.
void DeviceFile::look_for_blocks(std::uint64_t as_of) const noexcept {
  const std::uint64_t size = device_->size();
  std::uint64_t found = div_round_up(size, 512);
  try {
    // cp compares st_blocks with size / 512, rounded down. Never 0: to tar that says "nothing but a
    // hole", and a host that keeps few bytes inside the inode says 0 of a file with data.
    if (may_have_holes()) {
      const std::uint64_t stored = div_round_up(device_->allocated_bytes(), 512);
      found = std::clamp<std::uint64_t>(stored, 1, size / 512 - 1);
    }
  } catch (
      const std::exception&) {  // NOLINT(bugprone-empty-catch): unreadable: no holes to look for
  }
  blocks_.store(found, std::memory_order_relaxed);
  blocks_as_of_.store(as_of, std::memory_order_release);
}

DeviceFile::Blocks DeviceFile::blocks() const noexcept {
  const std::uint64_t size = device_->size();
  if (size < 1024) return {div_round_up(size, 512), true};
  const std::uint64_t as_of = changes.load(std::memory_order_relaxed);
  const auto settled = [&] {
    return blocks_as_of_.load(std::memory_order_acquire) >= as_of &&
           blocks_.load(std::memory_order_relaxed) != kBlocksUnknown;
  };
  try {
    if (!settled()) {
      lane_->ask([self = shared_from_this(), as_of] { self->look_for_blocks(as_of); },
                 kBlocksPatience);
    }
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): out of memory: not settled
  }
  if (settled()) return {blocks_.load(std::memory_order_relaxed), true};
  return {size / 512 - 1, false};
}

bool DeviceFile::cache_holds() const noexcept {
  if (on_block_device_ || sources_.empty() || shared_.load(std::memory_order_acquire)) return false;
  try {
    return std::none_of(sources_.begin(), sources_.end(),
                        [](const auto& source) { return source->changed(); });
  } catch (const std::exception&) {
    return false;
  }
}

bool DeviceFile::sources_changed() const noexcept {
  return std::any_of(sources_.begin(), sources_.end(),
                     [](const auto& source) { return !source->writable() && source->changed(); });
}

void DeviceFile::log_failure(LogLevel level, std::string_view what, std::uint64_t offset,
                             std::size_t length, const char* why) const noexcept {
  try {
    if (level == LogLevel::debug) {
      log_message(level, name_ + ": " + std::string(what) + " refused: " + why);
      return;
    }
    note_failure(name_, std::string(what) + " of " + std::to_string(length) + " bytes at " +
                            std::to_string(offset) + " failed: " + why);
    std::uint64_t suppressed = 0;
    if (!limiter_.allow(suppressed)) return;
    const bool changed = sources_changed();
    std::string line = name_ + ": " + std::string(what) + " of " + std::to_string(length) +
                       " bytes at " + std::to_string(offset) + " failed: " + why;
    if (changed) line += " (its source has changed since it was opened: mount it anew)";
    if (suppressed > 0) {
      line +=
          " (" + std::to_string(suppressed) + " further failures of this device were not logged)";
    }
    log_message(changed ? LogLevel::warning : level, line);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): out of memory, for a log line
  }
}

}  // namespace peelfs
