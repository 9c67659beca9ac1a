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

  /// Says that work was left out because nothing is left. `what` names the first place; later ones
  /// only count.
  void refuse(Kind kind, const std::string& what);

  /// Gives a kind its full amount again: for a key that a person gives by hand.
  void renew(Kind kind);

  /// One sentence for each kind that ended: what was left out, where it began and what raises it.
  std::vector<std::string> endings() const;

 private:
  struct Share {
    std::uint64_t whole = 0;
    std::uint64_t left = 0;
    std::uint64_t refusals = 0;
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
