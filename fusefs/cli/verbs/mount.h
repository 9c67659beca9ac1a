// `peelfs mount`, and the same as mount(8) calls it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/arguments.h"
#include "cli/groups/look.h"
#include "mount/mount.h"

namespace peelfs::cli {

struct MountVerbOptions : LookOptions {
  MountOptions mount;         ///< how it is mounted
  bool in_place = false;      ///< --rw
  bool overlay_temp = false;  ///< --overlay-temp
  bool read_only = false;     ///< -o ro was said
  bool fake = false;          ///< mount(8)'s -f: look at everything, mount nothing

  bool has_overlay() const { return !cover.directory.empty() || overlay_temp; }
  /// Whether something can be written, be it into the sources or into an overlay.
  bool writes() const { return in_place || (has_overlay() && !read_only); }
};

/// The command line with which mount(8) calls its helpers:
/// `mount.fuse.peelfs SPEC DIRECTORY [-sfnv] [-N namespace] [-o options] [-t type]`.
/// SPEC holds one source, or several with `|` between them (`||` is a `|` within a name).
Call parse_helper_arguments(const std::vector<std::string>& arguments);

/// The sources in one word, as fstab and `mount` show them: "a|b||c" stands for "a" and "b|c".
std::vector<std::string> split_spec(std::string_view spec);

/// Takes the argument of `-o`: options with commas between them (`\,` is a comma within a value).
/// @param from_helper true: mount(8) adds `rw` to whatever fstab says, so it means nothing
/// @throws Error(Fault::usage) for an option that is not known, by name, with what was probably
/// meant
void set_mount_options(MountVerbOptions& options, std::string_view text, bool from_helper);

}  // namespace peelfs::cli
