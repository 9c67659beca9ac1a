// Who on this host uses a file or block device without taking a lock on it: the kernel. A loop
// device, a mounted filesystem, swap, device-mapper, md, an nbd server. They write it whenever they
// like, so a caller that wants to write asks here first. For the locks of qemu and of peelfs itself
// see image_lock.h.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/block_table.h"
#include "host/file_identity.h"
#include "host/mountinfo.h"

namespace peelfs {

/// One use. Those that end first (a mount) come before those that lie below them (a loop device).
struct HostUse {
  std::string what;     ///< for people: "/dev/loop0p1 is mounted at /mnt"
  bool writes = false;  ///< it is written now; false: it may be, or is relied on
  std::string ending;   ///< the command that ends it, for a shell; empty: none is known
};

/// The data from which the answer is made; a test replaces it.
class HostView {
 public:
  HostView() = default;
  virtual ~HostView() = default;
  HostView(const HostView&) = delete;
  HostView& operator=(const HostView&) = delete;

  virtual std::vector<BlockNode> blocks() const;
  virtual std::vector<MountEntry> mounts() const;
  virtual std::string swaps() const;  ///< the text of /proc/swaps
  virtual std::optional<FileId> identity(const std::string& path) const;
  /// What a loop device shows: as its driver says; where this user may not ask that, what is at the
  /// path that sysfs names.
  virtual std::optional<FileId> backing(const BlockNode& loop) const;
  /// Names of devices of one btrfs filesystem, this among them; empty: it belongs to none that is
  /// mounted.
  virtual std::vector<std::string> filesystem_members(const BlockNode& node) const;
  /// Whether a process has a file open.
  virtual bool has_open(pid_t process, const FileId& file) const;
};

/// The host as it was when it was first asked, for questions about many files at once. Not
/// thread-safe.
class SeenHost : public HostView {
 public:
  std::vector<BlockNode> blocks() const override;
  std::vector<MountEntry> mounts() const override;
  std::string swaps() const override;
  std::optional<FileId> backing(const BlockNode& loop) const override;

 private:
  mutable std::optional<std::vector<BlockNode>> blocks_;
  mutable std::optional<std::vector<MountEntry>> mounts_;
  mutable std::optional<std::string> swaps_;
  mutable std::map<dev_t, std::optional<FileId>> backings_;  ///< by loop device
};

/// Every use of a file or block device. A use of a partition is one of its disk, and the reverse;
/// what is made of it (a loop device, a mapping, an array) uses it too, however far up, and so does
/// what shares the backing file of a loop device. A loop device that can only be read and has
/// nothing on it is none: it cannot write, and nothing relies on what it shows.
std::vector<HostUse> host_uses(const FileId& file, const HostView& view = HostView());

/// What is known of a file besides its identity.
struct FileTraits {
  std::string name;         ///< the last part of its path, without links
  std::uint64_t size = 0;   ///< bytes
  std::uint64_t links = 1;  ///< how many names it has
  dev_t filesystem = 0;     ///< st_dev
};
/// Loop devices that may show a file, as far as can be told: they can write or are mounted, show as
/// many bytes (or fewer, of a file of that name, which may have grown), the name does not speak
/// against it, and this user may look neither at them nor at what lies under them.
std::vector<HostUse> possible_uses(const FileTraits& file, const HostView& view = HostView());

/// For a file that is about to be written.
/// @param path of that file
/// @throws Error(Fault::denied) with EBUSY that names every use, and how to end them
void refuse_in_use(const FileId& file, const std::string& path);

/// The use that writes it now: "this host (/dev/loop0p1 is mounted at /mnt)"; empty: none of these
/// does.
std::string host_writer(const FileId& file, const HostView& view = HostView());

}  // namespace peelfs
