// How a long piece of work tells how far it is.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace peelfs {

/// One step of a job.
struct JobStep {
  std::string_view what;    ///< "comparing"
  std::string_view device;  ///< raw name of what it is done to
  std::uint64_t done = 0;   ///< bytes
  std::uint64_t total = 0;  ///< bytes
};

/// Called by the thread that does the work, often. An exception thrown here cancels the job, and
/// reaches its caller.
using JobProgress = std::function<void(const JobStep&)>;

}  // namespace peelfs
