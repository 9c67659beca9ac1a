// Work that is not to be felt.
#pragma once

namespace peelfs::jobs {

/// From now on this process, and all that it starts, yields the processors and the disks to all
/// others (nice 10, idle I/O).
void yield_to_others() noexcept;

}  // namespace peelfs::jobs
