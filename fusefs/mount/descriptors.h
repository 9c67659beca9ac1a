// Descriptors that this program was started with.
#pragma once

#include <string>
#include <vector>

namespace peelfs {

/// The descriptors of this process above 2; none where /proc does not tell.
std::vector<int> open_descriptors();

/// The paths of what these stand for; of files that have been removed there is none. Waits for no
/// file, also not for one whose host hangs.
std::vector<std::string> opened_paths();

/// Remembers which descriptors above 2 are open, and keeps them from every program that this one
/// starts. To be called before anything is opened.
void note_inherited_descriptors();

/// Whether a descriptor was there at the start, and still is the same.
bool is_inherited(int descriptor) noexcept;

/// Closes one; its number may be given to something else from now on. Not one of 0 to 2.
void close_inherited(int descriptor) noexcept;

/// Closes all that are left: when everything that the command line names by descriptor is open.
void close_all_inherited() noexcept;

}  // namespace peelfs
