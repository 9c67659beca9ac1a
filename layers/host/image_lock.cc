#include "host/image_lock.h"

#include <fcntl.h>

#include <array>
#include <optional>
#include <utility>

#include "host/below.h"
#include "host/in_use.h"
#include "host/lock_holder.h"
#include "host/shown_file.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs {

namespace {

/// BLK_PERM_CONSISTENT_READ and so on, by their number (qemu, include/block/block-common.h).
enum Permission : unsigned { do_read = 0, do_write = 1, do_write_unchanged = 2, do_resize = 3 };
constexpr std::array kPermissions{do_read, do_write, do_write_unchanged, do_resize};

constexpr off_t kDoneBase = 100;       // RAW_LOCK_PERM_BASE
constexpr off_t kForbiddenBase = 200;  // RAW_LOCK_SHARED_BASE

struct Wish {
  unsigned does = 0;     ///< bits 1 << Permission
  unsigned forbids = 0;  ///< the same
};

constexpr unsigned bit(Permission permission) {
  return 1U << permission;
}

Wish wish_for(ImageUse use) {
  constexpr unsigned kChanges = bit(do_write) | bit(do_resize);
  if (use == ImageUse::written) return {bit(do_read) | kChanges, kChanges};
  return {bit(do_read), kChanges};
}

struct flock byte_lock(short type, off_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

/// Whether another open file description has a lock on the byte.
bool taken(const HostFile& file, off_t byte) {
  struct flock lock = byte_lock(F_WRLCK, byte);
  if (fcntl(file.descriptor(), F_OFD_GETLK, &lock) != 0) {
    throw Error::system(errno, "cannot look for locks on " + file.path());
  }
  return lock.l_type != F_UNLCK;
}

void set(const HostFile& file, short type, off_t byte) {
  struct flock lock = byte_lock(type, byte);
  if (fcntl(file.descriptor(), F_OFD_SETLK, &lock) == 0) return;
  const int problem = errno;
  if (problem == EAGAIN || problem == EACCES) {
    // Only an exclusive lock stands in the way of a shared one; qemu never takes one.
    throw Error(Fault::denied, file.path() + " is locked as a whole by another program")
        .found(lock_holder(file, byte))
        .with_errno(EBUSY);
  }
  throw Error::system(problem, "cannot lock " + file.path())
      .advice("its filesystem must support file locks: without them a guest could write it, too");
}

void release(const HostFile& file) {
  struct flock lock = byte_lock(F_UNLCK, kDoneBase);
  lock.l_len = kForbiddenBase + 100 - kDoneBase;
  fcntl(file.descriptor(), F_OFD_SETLK, &lock);
}

/// @param found who is in the way, and how; @param mount of peelfs, if it is one
Error busy(const HostFile& file, ImageUse use, std::string found,
           const std::optional<ShownAt>& mount) {
  const bool known = mount && !mount->mountpoint.empty();
  if (mount) found += (found.empty() ? "" : "; ") + mount->describe();
  return Error(Fault::denied,
               use == ImageUse::written
                   ? file.path() + " cannot be written: it is in use"
                   : file.path() + " must not change while it is relied on, and it is in use")
      .found(std::move(found))
      .advice(known ? "unmount it first: " + shell_line({"peelfs", "umount", mount->mountpoint})
                    : "shut the guest down or unmount it there first")
      .with_errno(EBUSY);
}

Error locked(const HostFile& file, ImageUse use, off_t byte, const std::string& what) {
  return busy(file, use, lock_holder(file, byte) + " " + what, shown_at(file));
}

/// As raw_check_lock_bytes() does.
void check(const HostFile& file, ImageUse use, const Wish& wish) {
  for (const Permission permission : kPermissions) {
    const off_t done = kDoneBase + permission;
    const off_t forbidden = kForbiddenBase + permission;
    if ((wish.forbids & bit(permission)) != 0 && taken(file, done)) {
      throw locked(file, use, done, permission == do_resize ? "may resize it" : "writes it");
    }
    if ((wish.does & bit(permission)) != 0 && taken(file, forbidden)) {
      throw locked(
          file, use, forbidden,
          permission == do_read ? "lets nobody read it" : "relies on it, and lets nobody write it");
    }
  }
}

void take(const HostFile& file, ImageUse use) {
  const Wish wish = wish_for(use);
  // Takes its own locks first, then looks for those of others: of two that come at once at most one
  // goes on.
  for (const Permission permission : kPermissions) {
    if ((wish.does & bit(permission)) != 0) set(file, F_RDLCK, kDoneBase + permission);
    if ((wish.forbids & bit(permission)) != 0) set(file, F_RDLCK, kForbiddenBase + permission);
  }
  check(file, use, wish);
  if (use != ImageUse::written) return;
  // A mount that only reads takes no lock that forbids qemu to write, but its files must not
  // change.
  if (const auto mount = shown_at(file)) throw busy(file, use, "", mount);
}

/// The file under a loop device is used as the device is. Its locks stay until it is closed: other
/// devices that lie on it may have them, too.
void take_below(const HostFile& file, ImageUse use) {
  for (const auto& below : files_below(file)) {
    try {
      take(*below, use);
    } catch (Error& error) {
      // A filesystem without locks: no program has any there.
      if (error.error_number() != EBUSY) continue;
      error.add_context(file.path() + " lies on " + below->path());
      throw;
    }
  }
}

/// Whether another open file description has a lock on any byte that qemu's locks are.
bool any_taken(const HostFile& file) {
  struct flock lock = byte_lock(F_WRLCK, kDoneBase);
  lock.l_len = kForbiddenBase + static_cast<off_t>(kPermissions.size()) - kDoneBase;
  return fcntl(file.descriptor(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

std::string holder_of(const HostFile& file) {
  if (!any_taken(file)) return "";  // a filesystem without locks, too: no program can hold one
  const struct {
    off_t byte;
    const char* what;
  } kUses[] = {{kDoneBase + do_write, " writes it"},
               {kDoneBase + do_resize, " may resize it"},
               {kForbiddenBase + do_read, " lets nobody read it"},
               {kForbiddenBase + do_write, " relies on it"},
               {kDoneBase + do_read, " reads it"}};
  try {
    for (const auto& [byte, what] : kUses) {
      if (taken(file, byte)) return lock_holder(file, byte) + what;
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what cannot be asked holds nothing
  }
  return "";
}

std::string writer_of(const HostFile& file) {
  try {
    // Our own locks do not count: they belong to this description.
    return taken(file, kDoneBase + do_write) ? lock_holder(file, kDoneBase + do_write) : "";
  } catch (const Error&) {
    return "";  // a filesystem without locks: no program can hold one
  }
}

}  // namespace

void lock_image(const HostFile& file, ImageUse use) {
  try {
    take(file, use);
    take_below(file, use);
    if (use == ImageUse::written) refuse_in_use(file.id(), file.path());
  } catch (const Error&) {
    release(file);
    throw;
  }
}

std::string image_writer(const HostFile& file) {
  std::string writer = writer_of(file);
  for (const auto& below : files_below(file)) {
    if (writer.empty()) writer = writer_of(*below);
  }
  return writer;
}

std::string image_holder(const HostFile& file) {
  std::string holder = holder_of(file);
  for (const auto& below : files_below(file)) {
    if (holder.empty()) holder = holder_of(*below);
  }
  return holder;
}

}  // namespace peelfs
