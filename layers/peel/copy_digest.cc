#include "peel/copy_digest.h"

#include <algorithm>
#include <csignal>
#include <deque>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "peelfs/mutex.h"

namespace peelfs {

namespace {

constexpr std::size_t kMostBuffers = 4;  // of 4 MiB

struct Piece {
  Buffer buffer;             ///< empty: zeroes
  std::uint64_t length = 0;  ///< bytes
};

}  // namespace

class CopyDigest::Work {
 public:
  explicit Work(const DigestAlgorithm& algorithm) : digest_(algorithm) {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the thread that copies
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the caller's thread does it
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Work() {
    {
      const MutexLock lock(mutex_);
      ended_ = dropped_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  Buffer add(Piece piece) {
    if (!thread_.joinable()) {
      take(piece);
      return std::move(piece.buffer);
    }
    const std::size_t size = piece.buffer.size();
    Buffer other;
    {
      UniqueLock lock(mutex_);
      if (size != 0) {
        changed_.wait(lock, [this]() PEELFS_REQUIRES(mutex_) { return buffers_ < kMostBuffers; });
        ++buffers_;
      }
      pieces_.push_back(std::move(piece));
      if (size != 0 && !free_.empty()) {
        other = std::move(free_.back());
        free_.pop_back();
      }
    }
    changed_.notify_all();
    other.resize(size);
    return other;
  }

  bool wait(std::chrono::milliseconds limit) {
    if (!thread_.joinable()) return true;
    UniqueLock lock(mutex_);
    ended_ = true;
    changed_.notify_all();
    return changed_.wait_for(lock, limit, [this]() PEELFS_REQUIRES(mutex_) { return is_done_; });
  }

  void drop() {
    const MutexLock lock(mutex_);
    dropped_ = true;
    changed_.notify_all();
  }

  std::string finish() {
    {
      const MutexLock lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    const MutexLock lock(mutex_);
    if (error_) std::rethrow_exception(error_);
    return digest_.finish();
  }

 private:
  void take(const Piece& piece) {
    if (piece.buffer.empty()) {
      digest_.update_zeroes(piece.length);
    } else {
      digest_.update(Bytes(piece.buffer).first(piece.length));
    }
  }

  void run() noexcept {
    UniqueLock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this]() PEELFS_REQUIRES(mutex_) { return ended_ || !pieces_.empty(); });
      if (dropped_ || pieces_.empty()) {
        is_done_ = true;
        changed_.notify_all();
        return;
      }
      Piece piece = std::move(pieces_.front());
      pieces_.pop_front();
      // A hole may be long, and the copy be given up meanwhile.
      constexpr std::uint64_t kLongest = 64U << 20U;
      if (piece.buffer.empty() && piece.length > kLongest) {
        pieces_.push_front({{}, piece.length - kLongest});
        piece.length = kLongest;
      }
      lock.unlock();
      std::exception_ptr error;
      try {
        take(piece);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !error_) error_ = error;
      if (!piece.buffer.empty()) {
        --buffers_;
        free_.push_back(std::move(piece.buffer));
        changed_.notify_all();
      }
    }
  }

  Digest digest_;  ///< of the thread until it is joined
  Mutex mutex_;
  Condition changed_;
  std::deque<Piece> pieces_ PEELFS_GUARDED_BY(mutex_);
  std::vector<Buffer> free_ PEELFS_GUARDED_BY(mutex_);
  std::size_t buffers_ PEELFS_GUARDED_BY(mutex_) = 0;  ///< that are not hashed yet
  bool ended_ PEELFS_GUARDED_BY(mutex_) = false;
  bool dropped_ PEELFS_GUARDED_BY(mutex_) = false;
  bool is_done_ PEELFS_GUARDED_BY(mutex_) = false;  ///< the thread
  std::exception_ptr error_ PEELFS_GUARDED_BY(mutex_);
  std::thread thread_;
};

CopyDigest::CopyDigest(const DigestAlgorithm& algorithm)
    : algorithm_(algorithm), work_(std::make_unique<Work>(algorithm)) {}

CopyDigest::~CopyDigest() = default;

Buffer CopyDigest::bytes(Buffer filled, std::size_t length) {
  return work_->add({std::move(filled), length});
}

void CopyDigest::zeroes(std::uint64_t count) {
  if (count != 0) work_->add({{}, count});
}

bool CopyDigest::wait(std::chrono::milliseconds limit) {
  return work_->wait(limit);
}

void CopyDigest::drop() {
  work_->drop();
}

std::string CopyDigest::finish() {
  return work_->finish();
}

bool is_mostly_holes(const BlockDevice& device) {
  constexpr std::uint64_t kLittle = 256U << 20U;  // a fraction of a second
  const std::uint64_t stored = std::min(device.size(), device.allocated_bytes());
  return device.size() - stored > kLittle && device.size() - stored - kLittle > stored;
}

}  // namespace peelfs
