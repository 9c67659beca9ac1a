// What `peelfs fsck --repair` does with what was repaired: shows it, asks, commits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "check/repair.h"
#include "cli/verbs/fsck.h"

namespace peelfs::cli {

/// How the repairs are made, as the options say. Directories below --keep DIR are named after their
/// first source; others are in $TMPDIR or /var/tmp.
/// @param options must outlive what is returned
check::RepairOptions repair_options(const FsckOptions& options);

/// --keep DIR holds only what this run makes. @throws Error when there is something in it
void check_keep_directory(const std::string& directory);

/// For each of the repairs: shows what would change, asks or does what was said, and notes in the
/// outcomes what became of it.
/// @param request by which `peeling` was opened
/// @return bits of fsck's exit status besides those that the outcomes tell
int settle_repairs(const FsckOptions& options, const Peeling& peeling, const PeelRequest& request,
                   const check::Plan& plan, const std::vector<check::Repair>& repairs,
                   std::vector<check::Outcome>& outcomes);

}  // namespace peelfs::cli
