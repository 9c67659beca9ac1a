#include "engine/ahead.h"

#include <algorithm>
#include <limits>
#include <new>

#include "peelfs/error.h"

namespace peelfs {

namespace {

/// So many requests in a row make a reader that goes through.
constexpr unsigned enough_in_order = 2;
/// Of chunks: what is computed comes in whole clusters, at most that large as a rule.
constexpr std::uint64_t alignment = 64U << 10U;
constexpr std::uint64_t nothing = std::numeric_limits<std::uint64_t>::max();

/// Bounds the memory of the process: other readers do without.
constexpr int most_readers = 16;
std::atomic<int> readers{0};

}  // namespace

/// What one request gets out of the chunks: held from here until its end.
class Ahead::Part {
 public:
  /// The lock must be held. Empty unless all of the request is there, or on its way.
  Part(Ahead& ahead, std::uint64_t offset, std::size_t length)
      : ahead_(ahead), offset_(offset), length_(length) {
    if (ahead.first_ == ahead.end_ || offset < ahead.place(ahead.first_)) return;
    const Chunk& last = ahead.chunk(ahead.end_ - 1);
    if (offset + length > last.offset + last.bytes.size()) return;
    begin_ = (offset - ahead.base_) / chunk_size;
    end_ = (offset + length - 1 - ahead.base_) / chunk_size + 1;
    for (std::uint64_t number = begin_; number < end_; ++number) ++ahead.chunk(number).requests;
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    if (empty()) return;
    const std::lock_guard lock(ahead_.mutex_);
    for (std::uint64_t number = begin_; number < end_; ++number) {
      Chunk& chunk = ahead_.chunk(number);
      --chunk.requests;
      chunk.left -= std::min(chunk.left, of(chunk).size());
    }
    ahead_.release(0);
    ahead_.changed_.notify_all();
  }

  bool empty() const noexcept { return begin_ == end_; }

  /// Reads what nobody has begun to, waits for the rest.
  /// @return false: not all of it could be read, or it is old
  bool get() {
    std::unique_lock lock(ahead_.mutex_);
    for (std::uint64_t number = begin_; number < end_; ++number) {
      Chunk& chunk = ahead_.chunk(number);
      if (chunk.state == Chunk::State::wanted && take_back(chunk)) {
        lock.unlock();
        ahead_.fill(chunk);
        lock.lock();
      }
    }
    const Clock::time_point oldest = Clock::now() - ahead_.longest_;
    bool good = true;
    for (std::uint64_t number = begin_; number < end_; ++number) {
      const Chunk& chunk = ahead_.chunk(number);
      ahead_.changed_.wait(lock, [&] { return chunk.state != Chunk::State::wanted; });
      good = good && chunk.state == Chunk::State::ready && chunk.begun >= oldest;
    }
    return good;
  }

  void hand_over(const std::function<void(std::span<const iovec>)>& to) const {
    std::array<iovec, chunk_count> pieces;
    std::size_t count = 0;
    for (std::uint64_t number = begin_; number < end_; ++number) {
      const MutableBytes bytes = of(ahead_.chunk(number));
      pieces[count++] = {bytes.data(), bytes.size()};
    }
    to(std::span(pieces).first(count));
  }

 private:
  /// What of the chunk belongs to the request.
  MutableBytes of(const Chunk& chunk) const {
    const std::uint64_t begin = std::max(offset_, chunk.offset);
    const std::uint64_t end = std::min(offset_ + length_, chunk.offset + chunk.bytes.size());
    return chunk.bytes.subspan(begin - chunk.offset, end - begin);
  }

  Ahead& ahead_;
  const std::uint64_t offset_;
  const std::size_t length_;
  std::uint64_t begin_ = 0, end_ = 0;
};

Ahead::Ahead(DevicePtr device, Clock::duration longest)
    : device_(std::move(device)), longest_(longest) {
  for (Chunk& chunk : chunks_) chunk.owner = this;
}

Ahead::~Ahead() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] {
    release(nothing);
    return first_ == end_;
  });
  if (memory_) --readers;
}

bool Ahead::lend(std::uint64_t offset, MutableBytes scratch,
                 const std::function<void(std::span<const iovec>)>& hand_over) {
  if (scratch.size() < least_request) return peelfs::lend(*device_, offset, scratch, hand_over);
  std::unique_lock lock(mutex_);
  Part part(*this, offset, scratch.size());
  follow(offset, scratch.size(), !part.empty());
  lock.unlock();
  // Where something went wrong the request itself meets the error.
  if (part.empty() || !part.get()) return peelfs::lend(*device_, offset, scratch, hand_over);
  part.hand_over(hand_over);
  hits_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

/// Takes note of a request. @param known it was expected
void Ahead::follow(std::uint64_t offset, std::size_t length, bool known) {
  const std::uint64_t end = offset + length;
  if (offset != next_ && !known) {
    in_order_ = 0;
    next_ = end;
    left_over_ = true;
    release(nothing);
    if (first_ == end_ && memory_) {
      memory_.reset();
      --readers;
    }
    return;
  }
  next_ = std::max(next_, end);
  if (++in_order_ < enough_in_order || length > reach) return;
  // A request that was overtaken by others still finds its bytes.
  release(left_over_ ? nothing : offset - std::min<std::uint64_t>(offset, reach));
  if (first_ == end_) left_over_ = false;
  if (!left_over_) extend(end);
}

/// Wants what comes behind a request.
void Ahead::extend(std::uint64_t end) {
  const std::uint64_t size = device_->size();
  const std::uint64_t until = std::min(size, end + reach);
  if (first_ != end_ && place(end_) + chunk_size <= end) {  // there is a gap
    release(nothing);
    if (first_ != end_) return;
  }
  if (first_ == end_) {
    base_ = round_down(end, alignment);
    first_ = end_ = 0;
  }
  while (end_ - first_ < chunk_count && place(end_) < until && worth_it(place(end_)) &&
         has_memory()) {
    Chunk& next = chunk(end_);
    next.state = Chunk::State::wanted;
    next.offset = place(end_);
    const std::size_t bytes = std::min<std::uint64_t>(chunk_size, size - next.offset);
    next.left = bytes - (end - std::min(end, next.offset));
    next.bytes = {memory_.get() + end_ % chunk_count * chunk_size, bytes};
    ++end_;
    begin_in_background(next);
  }
}

/// Gives back the oldest chunks, as far as nobody is at them: those that are used up, and those
/// that end below `keep_from`.
void Ahead::release(std::uint64_t keep_from) {
  for (; first_ != end_; ++first_) {
    Chunk& oldest = chunk(first_);
    if (oldest.requests != 0) return;
    if (oldest.left != 0 && oldest.offset + oldest.bytes.size() > keep_from) return;
    if (oldest.state == Chunk::State::wanted && !take_back(oldest)) return;
  }
}

bool Ahead::has_memory() {
  if (memory_) return true;
  if (readers.fetch_add(1) < most_readers) {
    memory_.reset(new (std::nothrow) std::byte[chunk_size * chunk_count]);
    if (memory_) return true;
  }
  --readers;
  return false;
}

bool Ahead::worth_it(std::uint64_t offset) const noexcept {
  try {
    return resolve(*device_, offset, 1).extent.kind == ExtentKind::computed;
  } catch (...) {
    return false;
  }
}

void Ahead::fill(Chunk& chunk) noexcept {
  Chunk::State state = Chunk::State::ready;
  const Clock::time_point begin = Clock::now();
  try {
    read(*device_, chunk.offset, chunk.bytes);
  } catch (...) {
    state = Chunk::State::failed;
  }
  const std::lock_guard lock(mutex_);
  chunk.state = state;
  chunk.begun = begin;
  changed_.notify_all();
}

}  // namespace peelfs
