#include "peelfs/range_locks.h"

#include <algorithm>

namespace peelfs {

bool RangeLocks::conflicts(const Held& wanted) const {
  return std::any_of(held_.begin(), held_.end(), [&](const Held* other) {
    return wanted.begin_ < other->end_ && other->begin_ < wanted.end_ &&
           (wanted.mode_ == Mode::exclusive || other->mode_ == Mode::exclusive);
  });
}

RangeLocks::Held::Held(RangeLocks& locks, std::uint64_t begin, std::uint64_t end, Mode mode)
    : locks_(locks), begin_(begin), end_(end), mode_(mode) {
  std::unique_lock lock(locks_.mutex_);
  while (locks_.conflicts(*this)) {
    ++locks_.waiting_;
    locks_.released_.wait(lock);
    --locks_.waiting_;
  }
  place_ = locks_.held_.insert(locks_.held_.end(), this);
}

RangeLocks::Held::~Held() {
  const std::lock_guard lock(locks_.mutex_);
  locks_.held_.erase(place_);
  if (locks_.waiting_ != 0) locks_.released_.notify_all();
}

}  // namespace peelfs
