#include "engine/ahead.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <new>

#include "engine/crew.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

/// After so many requests in a row the reader counts as one that reads from end to end.
constexpr unsigned kEnoughInOrder = 2;
/// Chunks that were read ahead in vain (the place is bad, or the reader came too late) raise the
/// number of requests that are needed before reading ahead begins again.
constexpr unsigned kHarder = 8, kHardest = 1024;
/// Enough chunks for the request that is being answered and for the next ones; neither need begin
/// at the start of a chunk.
constexpr std::size_t kChunkCount = 2 * Ahead::kReach / Ahead::kChunkSize + 2;
constexpr std::uint64_t kEverything = std::numeric_limits<std::uint64_t>::max();

/// Bounds the memory of the process: other readers do without.
constexpr int kMostReaders = 16;
std::atomic<int> readers{0};

}  // namespace

/// The chunks behind the place where the reader is. Background work keeps it alive.
class Ahead::Window : public std::enable_shared_from_this<Window> {
 public:
  Window(DevicePtr device, Clock::duration longest)
      : device_(std::move(device)), longest_(longest) {}
  ~Window() {
    if (memory_) --readers;
  }
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  bool lend(std::uint64_t offset, MutableBytes scratch,
            const std::function<void(std::span<const iovec>)>& hand_over);
  /// The reader has gone.
  void abandon() {
    const MutexLock lock(mutex_);
    release(kEverything);
  }

  const BlockDevice& device() const noexcept { return *device_; }

  std::atomic<std::uint64_t> hits{0};

 private:
  struct Chunk final : Background {
    enum class State : std::uint8_t { wanted, ready, needless, failed };
    void run() noexcept override {
      const std::shared_ptr<Window> window = std::move(owner);  // it may be the last reference
      window->fill(*this);
    }
    std::uint64_t end() const noexcept { return offset + bytes.size(); }

    std::shared_ptr<Window> owner;  ///< while it is queued
    State state = State::ready;
    unsigned requests = 0;  ///< that it is handed out to
    std::uint64_t offset = 0;
    MutableBytes bytes;
    std::size_t left = 0;  ///< bytes that no request has taken
    Clock::time_point begun;
  };
  class Part;
  enum class Came : std::uint8_t { all, needless, in_vain };

  Chunk& chunk(std::uint64_t number) PEELFS_REQUIRES(mutex_) {
    return chunks_[number % kChunkCount];
  }
  /// Without the lock, because a chunk that a request has pinned stays where it is, and so do its
  /// place and its bytes. The caller looks at nothing else of it.
  const Chunk& pinned_chunk(std::uint64_t number) const PEELFS_NO_THREAD_SAFETY_ANALYSIS {
    return chunks_[number % kChunkCount];
  }
  std::uint64_t place(std::uint64_t number) const PEELFS_REQUIRES(mutex_) {
    return base_ + number * kChunkSize;
  }
  void fill(Chunk& chunk) noexcept;
  // None of these touches the device, because they run with the lock held:
  void follow(std::uint64_t offset, std::size_t length, bool known) PEELFS_REQUIRES(mutex_);
  void extend(std::uint64_t end, std::uint64_t until) PEELFS_REQUIRES(mutex_);
  void start_over() PEELFS_REQUIRES(mutex_);
  void release(std::uint64_t keep_from) PEELFS_REQUIRES(mutex_);
  bool withdraw(Chunk& chunk) PEELFS_REQUIRES(mutex_);
  bool get_memory() PEELFS_REQUIRES(mutex_);
  void give_back_memory() PEELFS_REQUIRES(mutex_);

  const DevicePtr device_;
  const Clock::duration longest_;
  Mutex mutex_;
  Condition changed_;  ///< a chunk was read
  std::unique_ptr<std::byte[]> memory_ PEELFS_GUARDED_BY(mutex_);
  std::array<Chunk, kChunkCount> chunks_ PEELFS_GUARDED_BY(mutex_);
  std::uint64_t base_ PEELFS_GUARDED_BY(mutex_) = 0;  ///< where chunk number 0 would lie
  /// The numbers of the chunks that there are.
  std::uint64_t first_ PEELFS_GUARDED_BY(mutex_) = 0, end_ PEELFS_GUARDED_BY(mutex_) = 0;
  bool left_over_ PEELFS_GUARDED_BY(mutex_) = false;  ///< they are where the reader was before
  std::uint64_t next_ PEELFS_GUARDED_BY(mutex_) = 0;  ///< where the reader goes on, if it does
  /// So many requests have come one behind the other.
  unsigned in_order_ PEELFS_GUARDED_BY(mutex_) = 0;
  unsigned enough_ PEELFS_GUARDED_BY(mutex_) = kEnoughInOrder;
  /// compute_unit() there; 0: nothing worth reading ahead.
  std::uint32_t unit_ PEELFS_GUARDED_BY(mutex_) = 0;
};

/// What one request gets out of the chunks. They are its own as long as it lives.
class Ahead::Window::Part {
 public:
  /// Pins all chunks of a request, and takes note of it. The part stays empty unless all of the
  /// request has been read, or is being read.
  Part(Window& window, std::uint64_t offset, std::size_t length) : window_(window) {
    const MutexLock lock(window_.mutex_);
    pin(offset, length);
    window_.follow(offset, length, !empty());
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    if (empty()) return;
    const MutexLock lock(window_.mutex_);
    for (std::uint64_t number = begin_; number < end_; ++number) {
      Chunk& chunk = window_.chunk(number);
      --chunk.requests;
      chunk.left -= std::min(chunk.left, of(chunk).size());
    }
    const bool at_the_end = window_.next_ + kLeastRequest > window_.device_->size();
    window_.release(at_the_end ? kEverything : 0);
    if (at_the_end) window_.give_back_memory();
  }

  void pin(std::uint64_t offset, std::size_t length) PEELFS_REQUIRES(window_.mutex_) {
    if (window_.first_ == window_.end_ || offset < window_.place(window_.first_) ||
        offset + length > window_.chunk(window_.end_ - 1).end()) {
      return;
    }
    offset_ = offset;
    length_ = length;
    begin_ = (offset - window_.base_) / kChunkSize;
    end_ = (offset + length - 1 - window_.base_) / kChunkSize + 1;
    for (std::uint64_t number = begin_; number < end_; ++number) ++window_.chunk(number).requests;
  }

  bool empty() const noexcept { return begin_ == end_; }

  /// Reads the chunks that no thread has begun to read, and waits for the others.
  Came get() {
    UniqueLock lock(window_.mutex_);
    for (std::uint64_t number = begin_; number < end_; ++number) {
      Chunk& chunk = window_.chunk(number);
      if (chunk.state != Chunk::State::wanted || !take_back(chunk)) continue;
      chunk.owner.reset();
      lock.unlock();
      window_.fill(chunk);
      lock.lock();
    }
    const Clock::time_point oldest = Clock::now() - window_.longest_;
    Came came = Came::all;
    for (std::uint64_t number = begin_; number < end_; ++number) {
      const Chunk& chunk = window_.chunk(number);
      window_.changed_.wait(lock, [&chunk] { return chunk.state != Chunk::State::wanted; });
      if (chunk.state == Chunk::State::failed) return Came::in_vain;
      if (chunk.state == Chunk::State::needless) {
        came = Came::needless;
      } else if (chunk.begun < oldest) {
        return Came::in_vain;
      }
    }
    return came;
  }

  void hand_over(const std::function<void(std::span<const iovec>)>& to) const {
    std::array<iovec, kChunkCount> pieces;
    std::size_t count = 0;
    for (std::uint64_t number = begin_; number < end_; ++number) {
      const MutableBytes bytes = of(window_.pinned_chunk(number));
      pieces[count++] = {bytes.data(), bytes.size()};
    }
    to(std::span(pieces).first(count));
  }

 private:
  /// The part of the chunk that belongs to the request.
  MutableBytes of(const Chunk& chunk) const {
    const std::uint64_t begin = std::max(offset_, chunk.offset);
    return chunk.bytes.subspan(begin - chunk.offset,
                               std::min(offset_ + length_, chunk.end()) - begin);
  }

  Window& window_;
  std::uint64_t offset_ = 0;
  std::size_t length_ = 0;
  std::uint64_t begin_ = 0, end_ = 0;
};

bool Ahead::Window::lend(std::uint64_t offset, MutableBytes scratch,
                         const std::function<void(std::span<const iovec>)>& hand_over) {
  Part part(*this, offset, scratch.size());
  const Came came = part.empty() ? Came::needless : part.get();
  if (came == Came::all) {
    part.hand_over(hand_over);
    hits.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  if (!part.empty()) {
    const MutexLock lock(mutex_);
    start_over();
    if (came == Came::in_vain) enough_ = std::min(enough_ * kHarder, kHardest);
  }
  const Lending lending = peelfs::lend(*device_, offset, scratch, hand_over);
  const MutexLock lock(mutex_);
  unit_ = lending.computed * 2 >= scratch.size() ? lending.compute_unit : 0;
  return lending.trusted;
}

/// Takes note of a request. @param known it was expected
void Ahead::Window::follow(std::uint64_t offset, std::size_t length, bool known) {
  const std::uint64_t end = offset + length;
  if (offset != next_ && !known) {
    start_over();
    next_ = end;
    return;
  }
  next_ = std::max(next_, end);
  in_order_ = std::min(in_order_ + 1, kHardest);
  // A request that was overtaken by others still finds its bytes.
  release(left_over_ ? kEverything : offset - std::min<std::uint64_t>(offset, kReach));
  if (first_ == end_) left_over_ = false;
  // A unit that is longer than a chunk would be computed again for each.
  if (in_order_ < enough_ || length > kReach || unit_ == 0 || unit_ > kChunkSize || left_over_) {
    give_back_memory();
    return;
  }
  const std::uint64_t far = std::min<std::uint64_t>(kReach, in_order_ * std::uint64_t{length});
  extend(end, std::min(device_->size(), end + far));
}

/// Wants what lies between the end of a request and `until`.
void Ahead::Window::extend(std::uint64_t end, std::uint64_t until) {
  if (first_ != end_ && place(end_) + kChunkSize <= end) {  // there is a gap
    release(kEverything);
    if (first_ != end_) return;
  }
  if (first_ == end_) {
    base_ = round_down(end, unit_);
    first_ = end_ = 0;
  }
  while (end_ - first_ < kChunkCount && place(end_) < until && end < until && get_memory()) {
    Chunk& next = chunk(end_);
    next.offset = place(end_);
    const std::size_t bytes = std::min<std::uint64_t>(kChunkSize, device_->size() - next.offset);
    next.left = bytes - (end - std::min(end, next.offset));
    next.bytes = {memory_.get() + end_ % kChunkCount * kChunkSize, bytes};
    next.state = Chunk::State::wanted;
    next.owner = shared_from_this();
    begin_in_background(next);
    ++end_;
  }
}

void Ahead::Window::start_over() {
  in_order_ = 0;
  unit_ = 0;
  left_over_ = true;
  release(kEverything);
  give_back_memory();
}

/// Gives back the oldest chunks, up to the first that a thread still uses: those that are used up,
/// and those that end below `keep_from`.
void Ahead::Window::release(std::uint64_t keep_from) {
  for (std::uint64_t number = first_; keep_from == kEverything && number != end_; ++number) {
    if (chunk(number).requests == 0) withdraw(chunk(number));
  }
  for (; first_ != end_; ++first_) {
    Chunk& oldest = chunk(first_);
    if (oldest.requests != 0 || (oldest.left != 0 && oldest.end() > keep_from)) return;
    if (oldest.state == Chunk::State::wanted && !withdraw(oldest)) return;
  }
}

/// @return false: it is being read
bool Ahead::Window::withdraw(Chunk& chunk) {
  if (chunk.state != Chunk::State::wanted || !take_back(chunk)) return false;
  chunk.owner.reset();
  chunk.state = Chunk::State::needless;
  return true;
}

bool Ahead::Window::get_memory() {
  if (memory_) return true;
  if (readers.fetch_add(1) < kMostReaders) {
    memory_.reset(new (std::nothrow) std::byte[kChunkSize * kChunkCount]);
    if (memory_) return true;
  }
  --readers;
  return false;
}

/// As soon as there are no chunks.
void Ahead::Window::give_back_memory() {
  if (!memory_ || first_ != end_) return;
  memory_.reset();
  --readers;
}

void Ahead::Window::fill(Chunk& chunk) noexcept {
  Chunk::State state = Chunk::State::ready;
  const Clock::time_point begin = Clock::now();
  try {
    if (resolve(*device_, chunk.offset, 1).extent.kind == ExtentKind::computed) {
      read(*device_, chunk.offset, chunk.bytes);
    } else {
      state = Chunk::State::needless;  // it is shown where it lies
    }
  } catch (...) {
    state = Chunk::State::failed;  // the request that needs it reads it again, and meets the error
  }
  const MutexLock lock(mutex_);
  chunk.state = state;
  chunk.begun = begin;
  changed_.notify_all();
}

Ahead::Ahead(DevicePtr device, Clock::duration longest)
    : window_(std::make_shared<Window>(std::move(device), longest)) {}

Ahead::~Ahead() {
  window_->abandon();
}

bool Ahead::lend(std::uint64_t offset, MutableBytes scratch,
                 const std::function<void(std::span<const iovec>)>& hand_over) {
  if (scratch.size() < kLeastRequest) {
    return peelfs::lend(window_->device(), offset, scratch, hand_over).trusted;
  }
  return window_->lend(offset, scratch, hand_over);
}

std::uint64_t Ahead::hits() const noexcept {
  return window_->hits.load(std::memory_order_relaxed);
}

}  // namespace peelfs
