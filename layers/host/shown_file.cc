#include "host/shown_file.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <atomic>

#include "host/lock_holder.h"
#include "host/mountinfo.h"
#include "host/open_files.h"
#include "peelfs/error.h"

namespace peelfs {

namespace {

constexpr off_t kShownBase = off_t{1} << 62U;
constexpr off_t kShownLength = (off_t{1} << 20U) + 1;  // the minor has 20 bits

/// The byte by which this process marks files: its offset; 0: files are not marked.
std::atomic<off_t> mark{0};

struct flock byte_range(short type, off_t from, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = from;
  lock.l_len = length;
  return lock;
}

void set(const HostFile& file, off_t byte) noexcept {
  struct flock lock = byte_range(F_RDLCK, byte, 1);
  // A filesystem without locks: other means (qemu's locks, what the kernel says) must do there.
  static_cast<void>(::fcntl(file.descriptor(), F_OFD_SETLK, &lock));
}

/// The first byte of a range on which another open file description has a lock.
std::optional<off_t> first_locked(const HostFile& file, off_t from, off_t length) {
  struct flock lock = byte_range(F_WRLCK, from, length);
  if (::fcntl(file.descriptor(), F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) {
    return std::nullopt;
  }
  // A lock on the whole file, of a program that knows nothing of marks, is none.
  return lock.l_start < from ? std::nullopt : std::optional<off_t>(lock.l_start);
}

ShownAt mount_with(off_t byte) {
  for (const MountEntry& mount : peelfs_mounts()) {
    if (major(mount.device) == 0 && minor(mount.device) == byte - kShownBase - 1) {
      return {mount.mountpoint};
    }
  }
  return {};
}

}  // namespace

void announce_mount() {
  // A mark on what another process has open would stay when this one has ended.
  forget_open_files();
  mark = kShownBase;
}

void announce_mount(dev_t device) {
  mark = kShownBase + 1 + static_cast<off_t>(minor(device));
  for_each_open_file(mark_as_shown);
}

void mark_as_shown(const HostFile& file) noexcept {
  const off_t byte = mark;
  if (byte == 0) return;
  set(file, kShownBase);
  if (byte != kShownBase) set(file, byte);
}

std::string ShownAt::describe() const {
  return mountpoint.empty() ? "a mount of peelfs that is not seen from here shows it"
                            : "it is mounted at " + mountpoint;
}

std::optional<ShownAt> shown_at(const HostFile& file) {
  if (const auto byte = first_locked(file, kShownBase + 1, kShownLength)) return mount_with(*byte);
  if (first_locked(file, kShownBase, 1)) return ShownAt{};
  // A block device may have several names, each with locks of its own.
  if (file.is_block_device() && !lock_holders(file, kShownBase).empty()) return ShownAt{};
  return std::nullopt;
}

}  // namespace peelfs
