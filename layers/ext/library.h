// libext2fs on a device of ours: what peelfs lets the library do, which is to find and check
// inodes.
//
// It reads the super block and the group descriptors, finds inodes, verifies their checksums, and
// takes inline data apart. Block maps and directory blocks are decoded in this folder instead,
// because they are asked for from many threads while the library's handles serve one at a time, and
// because the library gives up a whole directory for one bad block.
#pragma once

#include <ext2fs/ext2fs.h>

#include <memory>
#include <string>

#include "ext/inode.h"
#include "ext/volume.h"

namespace peelfs::ext {

class DeviceChannel;

/// An open handle. Not thread-safe, but handles are independent of one another: each search opens
/// its own and drops it again. No path is ever opened, and nothing can be written.
class Library {
 public:
  /// @throws Error: damaged when the descriptors cannot be found, unsupported when they would take
  ///   more memory than a filesystem of 128 TiB needs
  explicit Library(std::shared_ptr<const Volume> volume);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const std::shared_ptr<const Volume>& volume() const { return volume_; }

  /// @throws Error(Fault::damaged): a number out of range, a wrong checksum of it or of its group's
  ///   descriptor, an inode that is not in use, an impossible size
  Inode inode(std::uint32_t number);

  /// The contents of an inode with flag_inline_data, exactly inode.size bytes.
  Buffer inline_data(const Inode& inode);

  /// @throws Error(Fault::damaged) when there is no such group, or its descriptor's checksum is
  ///   wrong
  void check_group(std::uint32_t group);

  ext2_filsys handle() const { return handle_; }

 private:
  /// Throws what the device threw, or else what the library's error code means.
  [[noreturn]] void fail(errcode_t code, const std::string& what);

  const std::shared_ptr<const Volume> volume_;
  std::unique_ptr<DeviceChannel> channel_;
  ext2_filsys handle_ = nullptr;
};

}  // namespace peelfs::ext
