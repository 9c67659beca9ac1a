// The kernel's list of mounts (/proc/self/mountinfo, see proc(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peelfs {

struct MountEntry {
  std::uint64_t id = 0;
  dev_t device = 0;
  std::string root;        ///< the directory (or file) of its filesystem that is shown; unescaped
  std::string mountpoint;  ///< unescaped
  std::string type;        ///< "fuse.peelfs"
  std::string source;      ///< unescaped
  std::string super_options;

  bool is_peelfs() const noexcept { return type == "fuse.peelfs"; }
  /// Whether the whole filesystem is read-only, not only this mount of it.
  bool is_read_only() const noexcept {
    return super_options == "ro" || super_options.starts_with("ro,");
  }
  /// The number behind "user_id=" or "group_id=" of a FUSE mount.
  std::optional<unsigned long> id_option(std::string_view name) const;
};

/// Parses one line; nullopt when it is not one.
std::optional<MountEntry> parse_mountinfo_line(std::string_view line);

/// Every mount that this process sees, in the order in which they were mounted.
/// @param file for tests
std::vector<MountEntry> read_mounts(const std::string& file = "/proc/self/mountinfo");

/// The kernel writes blank, tab, newline and backslash in a path as a backslash and three octal
/// digits, in mountinfo as in /proc/swaps. @return the path
std::string unescape_path(std::string_view text);

/// The topmost mount at exactly this absolute path. Does not touch the mount itself.
std::optional<MountEntry> find_mount(std::string_view path);

/// All mounts of peelfs, in the order in which they were mounted.
std::vector<MountEntry> peelfs_mounts();

/// An absolute path without links. The last component is not followed or asked for anything: it may
/// be a mount that hangs, or one that this user may not enter.
/// @throws Error when the directory it lies in cannot be resolved
std::string resolve_mountpoint(const std::string& path);

}  // namespace peelfs
