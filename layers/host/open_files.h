// The host files that this process has open: every HostFile is in the list for as long as it lives.
#pragma once

#include <functional>
#include <memory>

#include "peelfs/host_file.h"

namespace peelfs {

/// Calls `act` for every file that is open now; none opens or closes meanwhile. Thread-safe.
/// @param act must open and close none itself
void for_each_open_file(const std::function<void(const HostFile&)>& act);

/// In a process that was forked from one that has files open: they are not its own.
void forget_open_files();

/// For the constructor and the destructor of HostFile.
void note_opened(const HostFile& file);
void note_closing(const HostFile& file) noexcept;

/// Opens the same file once more, read-only, with an open description of its own, also if its path
/// leads to another file by now. @throws Error
std::shared_ptr<const HostFile> open_again(const HostFile& file);

/// Asks refuse_in_use() once more for every file that this process may write: what was free when it
/// was opened may have become a loop device since. @throws Error like refuse_in_use()
void refuse_writing_what_is_in_use();

}  // namespace peelfs
