// The files, directories and links of the mount, made from a catalogue.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mount/device_file.h"
#include "peel/catalog.h"
#include "peel/writability.h"

namespace peelfs {

using InodeNumber = std::uint64_t;

inline constexpr InodeNumber kRootInode = 1;    ///< FUSE_ROOT_ID
inline constexpr std::size_t kNameLimit = 255;  ///< NAME_MAX, bytes

/// A directory's entries. Its order never changes, so a position in it is an offset for readdir.
class Directory {
 public:
  struct Entry {
    std::string name;
    InodeNumber inode = 0;
    mode_t type = 0;  ///< S_IFREG, S_IFDIR or S_IFLNK
  };

  /// @return false when the name is taken or cannot be a file name
  bool add(std::string name, InodeNumber inode, mode_t type);
  const Entry* find(std::string_view name) const;
  const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> positions_;
};

/// One inode. Its type follows from the members that are set. Immutable.
struct Inode {
  struct stat attributes {};  ///< without st_blocks of a device, which costs something to tell
  InodeNumber parent = kRootInode;  ///< of a directory
  std::shared_ptr<const Directory> directory;
  std::shared_ptr<const DeviceFile> device;
  std::uint64_t node = 0;  ///< of a device: its id in the tree
  std::string read_only;   ///< of a device: why it cannot be opened for writing; empty: it can
  std::shared_ptr<const std::string> text;  ///< a link's target, or what is in status.json

  struct Status {
    struct stat attributes {};
    bool settled = true;  ///< false: a source has not answered, and st_blocks may be another soon
  };
  /// All attributes. Never fails, and soon: what a device cannot tell is estimated.
  Status status() const noexcept;
};

/// All inodes at one moment. Immutable, so safe from any thread.
class InodeView {
 public:
  /// @return null when there is no such inode, or none any more
  const Inode* find(InodeNumber number) const noexcept {
    return number < inodes_.size() ? inodes_[number].get() : nullptr;
  }
  /// One more than the largest number.
  InodeNumber end() const noexcept { return inodes_.size(); }
  std::size_t count() const noexcept { return count_; }
  std::uint64_t source_bytes() const noexcept { return source_bytes_; }

  struct Device {
    std::shared_ptr<const DeviceFile> file;
    InodeNumber inode = 0;
  };
  /// The devices of the tree, by node.
  const std::map<std::uint64_t, Device>& devices() const noexcept { return devices_; }
  const Catalog& catalog() const noexcept { return *catalog_; }

 private:
  friend class InodeTable;
  std::vector<std::shared_ptr<const Inode>> inodes_;  ///< by number
  std::size_t count_ = 0;
  std::uint64_t source_bytes_ = 0;
  std::map<std::uint64_t, Device> devices_;
  std::shared_ptr<const Catalog> catalog_;
};

/// What the kernel must forget when one view takes the place of another.
struct ViewChanges {
  struct Name {
    InodeNumber directory = 0;
    std::string name;
  };
  std::vector<Name> names;               ///< that are gone, or mean something else now
  std::vector<InodeNumber> contents;     ///< whose bytes or size may differ
  std::vector<InodeNumber> directories;  ///< whose entries differ
};
ViewChanges compare(const InodeView& before, const InodeView& after);

/// Hands out inode numbers: the same device, directory or link has the same number in every view,
/// and no number is ever given to something else, so that the kernel may keep them as long as it
/// likes. In a writable mount a device that was made afresh is another one, with a number of its
/// own. Not thread-safe.
class InodeTable {
 public:
  struct Owner {
    uid_t user = 0;
    gid_t group = 0;
    bool everybody = false;  ///< allow_other: 0444 and 0555 instead of 0400 and 0500
    timespec mounted{};
    WritePolicy policy;
  };
  explicit InodeTable(Owner owner);

  /// @param files the host file of each source, by its path
  std::shared_ptr<const InodeView> build(
      std::shared_ptr<const Catalog> catalog,
      const std::map<std::string, std::shared_ptr<const HostFile>>& files);

 private:
  struct Builder;

  InodeNumber number_of(const std::string& key);
  std::shared_ptr<Lane> lane_of(DeviceFile::Sources sources);
  struct stat attributes(InodeNumber number, mode_t type, std::uint64_t size, timespec when) const;

  Owner owner_;
  std::map<DeviceFile::Sources, std::shared_ptr<Lane>> lanes_;  ///< by sources, sorted
  std::unordered_map<std::string, InodeNumber> numbers_;
  InodeNumber next_ = kRootInode + 1;
  std::map<std::uint64_t, InodeView::Device> devices_;  ///< by node id
  /// The inodes of the last view. Those of devices that are gone from the tree stay: a program may
  /// have them open.
  std::vector<std::shared_ptr<const Inode>> inodes_;
};

}  // namespace peelfs
