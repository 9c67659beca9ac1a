// One attempt to open a volume with a key: it lasts, and the run pays for it.
#pragma once

#include <chrono>
#include <string>

#include "luks/volume.h"

namespace peelfs::luks {

/// Lives as long as one key derivation, and charges the run for the time that takes.
class PaidAttempt {
 public:
  /// @param uuid of the volume, for a message
  /// @throws Error(Fault::locked) when the run's time for keys is used up, or it was cancelled
  PaidAttempt(const Attempts& attempts, const std::string& uuid);
  ~PaidAttempt();
  PaidAttempt(const PaidAttempt&) = delete;
  PaidAttempt& operator=(const PaidAttempt&) = delete;

 private:
  Budget* const budget_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace peelfs::luks
