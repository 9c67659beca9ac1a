// What one run may use in all, however many devices, filesystems and headers an image holds.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "peelfs/layer.h"
#include "peelfs/mutex.h"

namespace peelfs {

/// Counts what the layers of one run use, and ends each kind of work when its share is used up.
/// Thread-safe.
class Budget {
 public:
  enum class Kind : std::uint8_t {
    files,             ///< inodes looked at by searches for disk images
    kdf_milliseconds,  ///< time spent in key derivations
    identify_bytes,    ///< bytes read to find out what devices are
  };

  explicit Budget(const Limits& limits);

  /// @return how many of `wanted` may still be used. Nothing is taken by asking.
  std::uint64_t left(Kind kind) const;

  /// Takes `amount`, or what is left when that is less.
  void take(Kind kind, std::uint64_t amount);

  /// Returns what was taken for work that turned out to be done already.
  void give_back(Kind kind, std::uint64_t amount);

  /// Says that work was left out because nothing is left. `what` names the first place; later ones
  /// only count.
  void refuse(Kind kind, const std::string& what);

  /// Gives a kind its full amount again: for a key that a person gives by hand.
  void renew(Kind kind);

  /// What was used of one kind up to a moment.
  class Mark {
    friend class Budget;
    std::uint64_t left_ = 0;
    std::uint64_t refusals_ = 0;
    std::uint64_t overdrawn_ = 0;
    std::string first_;
  };
  Mark mark(Kind kind) const;

  /// Whether work that several threads did since then used more than there was, or was refused. Who
  /// came too late is chance then.
  bool is_short(Kind kind, const Mark& since) const;

  /// Undoes what was used since then, so that the work can be done again, in order.
  void go_back(Kind kind, const Mark& mark);

  /// One sentence for each kind that ended: what was left out, where it began and what raises it.
  std::vector<std::string> endings() const;

 private:
  struct Share {
    std::uint64_t whole = 0;
    std::uint64_t left = 0;
    std::uint64_t refusals = 0;
    std::uint64_t overdrawn = 0;  ///< how often more was taken than was left
    std::string first;
  };
  Share& share(Kind kind) PEELFS_REQUIRES(mutex_) {
    return shares_.at(static_cast<std::size_t>(kind));
  }
  const Share& share(Kind kind) const PEELFS_REQUIRES(mutex_) {
    return shares_.at(static_cast<std::size_t>(kind));
  }

  mutable Mutex mutex_;
  std::array<Share, 3> shares_ PEELFS_GUARDED_BY(mutex_);
};

/// The reason that a device shows when work on it was left out.
std::string spent_reason(Budget::Kind kind);

}  // namespace peelfs
