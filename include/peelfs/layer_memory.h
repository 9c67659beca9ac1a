// Where a layer keeps what it learned from one device for the next ones.
#pragma once

#include <cstdint>
#include <memory>

#include "peelfs/mutex.h"

namespace peelfs {

/// One object of the layer's own type, made when it is first asked for. Thread-safe.
class LayerMemory {
 public:
  /// What is kept. It must be thread-safe, too.
  class Content {
   public:
    Content() = default;
    Content(const Content&) = delete;
    Content& operator=(const Content&) = delete;
    virtual ~Content() = default;

    /// A moment to go back to. Called before several devices are opened at once.
    virtual std::uint64_t mark() = 0;
    /// Forgets what was learned since: the devices are opened again, in order.
    virtual void go_back(std::uint64_t mark) = 0;
  };

  /// @tparam Kept derived from Content; the same in every call for one memory
  template <typename Kept>
  std::shared_ptr<Kept> get() {
    const MutexLock lock(mutex_);
    if (!content_) content_ = std::make_shared<Kept>();
    return std::static_pointer_cast<Kept>(content_);
  }

  std::uint64_t mark() {
    const auto content = kept();
    return content ? content->mark() : 0;
  }
  void go_back(std::uint64_t mark) {
    if (const auto content = kept()) content->go_back(mark);
  }

 private:
  std::shared_ptr<Content> kept() {
    const MutexLock lock(mutex_);
    return content_;
  }

  Mutex mutex_;
  std::shared_ptr<Content> content_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace peelfs
