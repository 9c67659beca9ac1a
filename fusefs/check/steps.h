// What a step of a job runs, and what its end means.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "check/fleet_plan.h"
#include "check/job.h"

namespace peelfs::check {

/// The words behind the program, see Checker.
std::span<const std::string_view> words_of(const Checker& checker, Task task);

/// @param was_replayed its journal, before this step
/// @param output as Checker::judge takes it
Verdict judge_step(const Target& target, Task task, bool was_replayed, int code,
                   const std::string& output);

}  // namespace peelfs::check
