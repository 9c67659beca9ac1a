#include "jobs/background.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace peelfs::jobs {

void yield_to_others() noexcept {
  constexpr int kNice = 10;
  ::setpriority(PRIO_PROCESS, 0, kNice);
  // linux/ioprio.h is not among what glibc has.
  constexpr int kOfProcess = 1;
  constexpr int kIdle = 3 << 13;
  ::syscall(SYS_ioprio_set, kOfProcess, 0, kIdle);
}

}  // namespace peelfs::jobs
