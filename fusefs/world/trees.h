// Mounts, as a world changes them. Every function throws Error when the kernel refuses.
#pragma once

#include <sys/mount.h>

#include <cstdint>
#include <string>

#include "mount/process.h"

namespace peelfs::world {

/// From here on nothing that is mounted in this namespace is seen outside, and the reverse.
void keep_mounts_apart();

/// @param set, clear MOUNT_ATTR_*
void set_attributes(const std::string& path, std::uint64_t set, std::uint64_t clear,
                    bool recursive);

/// A copy of what is mounted at `path`, or of a part of that, which is attached nowhere yet.
UniqueFd copy_tree(const std::string& path, bool recursive);
/// The same for what a descriptor (also an O_PATH one) stands for.
UniqueFd copy_tree(int descriptor);
void set_attributes(const UniqueFd& tree, std::uint64_t set, std::uint64_t clear, bool recursive);
void attach(const UniqueFd& tree, const std::string& path);
void attach(const UniqueFd& tree, int descriptor);

/// Shows `from` at `to` as well.
void bind(const std::string& from, const std::string& to, bool recursive = false);

/// An empty filesystem in memory.
void mount_memory(const std::string& path);

/// A directory, or an empty file, to mount on; one that is there already is taken.
void make_directory(const std::string& path);
void make_file(const std::string& path, const std::string& text = "");

}  // namespace peelfs::world
