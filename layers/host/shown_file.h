// How a mount of peelfs tells every other peelfs which files it shows: by a lock on the file
// itself, far behind the bytes that qemu locks. It names no path, so it holds across working
// directories, namespaces and users; it disturbs no guest; and it ends with the process.
//
// The byte says which mount: shown_base for one that is about to be made, and shown_base + 1 + N
// for the mount whose device number has the minor N (those of FUSE have the major 0).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "peelfs/host_file.h"

namespace peelfs {

/// From now on this process marks every host file that it opens. For the process that serves a
/// mount, before it opens anything. What it has inherited open is not marked.
void announce_mount();
/// Which mount it is. @param device st_dev of its files
void announce_mount(dev_t device);

/// Marks a file if this process serves a mount. A filesystem without locks keeps no mark.
void mark_as_shown(const HostFile& file) noexcept;

/// The mount of another process that shows the file or writes into it: "it is mounted at /mnt/p",
/// or that it is not seen from here; nullopt: there is none. Files of this process that are the
/// same count as well, but not `file`.
struct ShownAt {
  std::string mountpoint;  ///< empty: it is about to be mounted, detached or in another namespace
  std::string describe() const;
};
std::optional<ShownAt> shown_at(const HostFile& file);

}  // namespace peelfs
