#include "luks/attempt.h"

#include <cerrno>

#include "peelfs/budget.h"
#include "peelfs/cancel.h"
#include "peelfs/error.h"

namespace peelfs::luks {

PaidAttempt::PaidAttempt(const Attempts& attempts, const std::string& uuid)
    : budget_(attempts.budget) {
  if (is_cancelled(attempts.cancel)) {
    throw Error(Fault::locked, "not all keys were tried: the run was cancelled")
        .with_errno(ECANCELED);
  }
  if (budget_ == nullptr || budget_->left(Budget::Kind::kdf_milliseconds) != 0) return;
  budget_->refuse(Budget::Kind::kdf_milliseconds, "LUKS volume " + uuid);
  throw Error(Fault::locked, spent_reason(Budget::Kind::kdf_milliseconds))
      .advice("raise it with --kdf-seconds, or try peelfs unlock MOUNTPOINT NAME");
}

PaidAttempt::~PaidAttempt() {
  if (budget_ == nullptr) return;
  const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin_);
  budget_->take(Budget::Kind::kdf_milliseconds, static_cast<std::uint64_t>(spent.count()) + 1);
}

}  // namespace peelfs::luks
