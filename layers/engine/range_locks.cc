#include "peelfs/range_locks.h"

#include "peelfs/mutex.h"

namespace peelfs {

bool RangeLocks::must_wait(const Held& wanted) const {
  for (const Held* other = first_; other != nullptr; other = other->after_) {
    if (other == &wanted) return false;  // later requests wait for this one
    const bool overlap = wanted.begin_ < other->end_ && other->begin_ < wanted.end_;
    if (overlap && (wanted.mode_ == Mode::exclusive || other->mode_ == Mode::exclusive)) {
      return true;
    }
  }
  return false;
}

RangeLocks::Held::Held(RangeLocks& locks, std::uint64_t begin, std::uint64_t end, Mode mode)
    : locks_(locks), begin_(begin), end_(end), mode_(mode) {
  UniqueLock lock(locks_.mutex_);
  before_ = locks_.last_;
  (before_ == nullptr ? locks_.first_ : before_->after_) = this;
  locks_.last_ = this;
  while (locks_.must_wait(*this)) {
    ++locks_.waiting_;
    locks_.released_.wait(lock);
    --locks_.waiting_;
  }
}

RangeLocks::Held::~Held() {
  const MutexLock lock(locks_.mutex_);
  (before_ == nullptr ? locks_.first_ : before_->after_) = after_;
  (after_ == nullptr ? locks_.last_ : after_->before_) = before_;
  if (locks_.waiting_ != 0) locks_.released_.notify_all();
}

}  // namespace peelfs
