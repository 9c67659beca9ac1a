// How the work of a run is ended from outside.
#pragma once

#include <atomic>
#include <string>

#include "peelfs/error.h"

namespace peelfs {

/// Ends one run: a thread asks for it, and those that work look at it. Once asked for, it stays so.
/// Thread-safe.
///
/// Work that cannot be interrupted is finished first: one read of a storage, and one key derivation
/// on one keyslot (which --kdf-iterations and --kdf-memory bound).
class Cancel {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool is_requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

/// @param cancel null: nothing ends it
inline bool is_cancelled(const Cancel* cancel) noexcept {
  return cancel != nullptr && cancel->is_requested();
}

/// What work that was cancelled throws: Fault::denied, with ECANCELED as its errno.
Error cancelled_error();

/// @param cancel null: nothing ends it @throws cancelled_error()
inline void check_cancel(const Cancel* cancel) {
  if (is_cancelled(cancel)) throw cancelled_error();
}

/// The reason that a device shows when a run was cancelled before all of it was looked into.
std::string cancelled_reason();

}  // namespace peelfs
