// The second concept beside BlockDevice: a filesystem on a device (or on several), seen from
// outside. It says which files there are, where their bytes are, and what the bytes of a device
// belong to. Code that searches for disk images, follows references inside of a guest, or names
// what has changed is written over this interface, once (layers/fs/).
//
// Nothing here writes. A file is a BlockDevice, and takes writes by its own rules.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/byte_range.h"
#include "peelfs/error.h"
#include "peelfs/trouble.h"

namespace peelfs {

/// A filesystem. Immutable, so safe from any thread. It keeps the devices alive that it lies on,
/// and little memory besides: what takes more belongs to a Reader, which the caller drops again.
///
/// A filesystem may be able to do only a part of all this, see Abilities: the default of every
/// other function throws Error(Fault::unsupported).
///
/// The bytes below may change while a file in it is written. A Reader may or may not see what was
/// written after it was made, so readers are made for one task and not kept.
class Filesystem {
 public:
  /// A file of this filesystem, by whatever name: hard links share one. Never given to another file
  /// while the bytes stay as they are.
  ///
  /// In ascending order they lie on the disk in ascending order, as far as the filesystem keeps its
  /// files in an order (inode tables do). Code that looks at many files goes by it.
  struct Id {
    /// Which numbers these are: btrfs' subvolume, APFS' volume; 0 where there is one sort only.
    std::uint64_t volume = 0;
    /// The inode's number. Of NTFS the number of the record above its sequence number (16 bits), of
    /// FAT the byte of the directory entry.
    std::uint64_t number = 0;
    auto operator<=>(const Id&) const = default;
  };

  enum class Type : std::uint8_t {
    unknown,  ///< a directory entry need not tell it; stat() does
    regular,
    directory,
    symbolic_link,
    other,  ///< a device, a pipe, a socket: it has no bytes
  };

  /// A name in a directory. "." and ".." are left out.
  struct Entry {
    Id id;
    Type type = Type::unknown;
    std::string_view name;  ///< raw bytes, neither empty nor with '/' or NUL; good for the visit
  };

  struct Time {
    std::int64_t seconds = 0;  ///< since 1970, UTC where the filesystem knows the zone
    std::uint32_t nanoseconds = 0;
    auto operator<=>(const Time&) const = default;
  };

  /// What is known of a file.
  struct Stat {
    Id id;
    Type type = Type::unknown;
    std::uint64_t size = 0;       ///< bytes
    std::uint64_t allocated = 0;  ///< bytes of the disk that are its own, its block map included
    std::uint32_t links = 1;      ///< names that it says to have
    std::uint32_t mode = 0;       ///< type and permissions as in st_mode; 0: it has none
    std::uint32_t owner = 0;      ///< st_uid
    std::uint32_t group = 0;      ///< st_gid
    std::optional<Time> modified, changed, accessed, created;
    /// The filesystem's own, for Reader::file() and list(): they look at nothing twice.
    std::shared_ptr<const void> detail;
  };

  /// More bytes of a file: an alternate data stream of NTFS, a resource fork, or an extended
  /// attribute.
  struct Stream {
    enum class Kind : std::uint8_t { data, attribute };
    Kind kind = Kind::attribute;
    std::string name;  ///< raw: "Zone.Identifier", "user.note", "security.selinux"
    std::uint64_t size = 0;
  };

  /// What the listing of directories may cost a caller, over many of them: a directory is as long
  /// as a disk likes.
  struct Allowance {
    /// Blocks of directories that may still be read. A damaged one costs more than one.
    std::uint64_t blocks = std::uint64_t{1} << 16U;
    /// Ends the work when it becomes true. May be null.
    const std::atomic<bool>* cancelled = nullptr;

    bool ended() const noexcept { return blocks == 0 || (cancelled != nullptr && *cancelled); }
    void take(std::uint64_t count) noexcept { blocks -= count < blocks ? count : blocks; }
  };

  /// @return false to end the listing
  using Visit = std::function<bool(const Entry&)>;

  /// Looks into the filesystem for one task. Not thread-safe, but readers are independent of one
  /// another. It keeps alive what it reads from. Its memory is bounded by a few caches and by what
  /// the filesystem needs to find any file at all (group descriptors, an allocation table).
  class Reader {
   public:
    Reader() = default;
    virtual ~Reader() = default;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    /// @throws Error(Fault::damaged) when there is no such file, or what describes it is damaged
    virtual Stat stat(const Id& id) = 0;

    /// Visits the names in a directory in the order of the disk, until `visit` answers false or the
    /// allowance has ended, which is no Error. Damage costs the names that it hits, not the others.
    /// @param directory from stat()
    /// @return what was wrong, the first thing only; nullopt: nothing
    /// @throws Error when there is nothing to list at all: unsupported for encrypted names
    virtual std::optional<Error> list(const Stat& directory, Allowance& allowance,
                                      const Visit& visit) = 0;

    /// Whether two names in a directory are the same. The default compares bytes; FAT and NTFS do
    /// not tell upper case from lower case.
    virtual bool same_name(std::string_view a, std::string_view b) const { return a == b; }

    /// What a name in a directory stands for. The default lists the directory and compares by
    /// same_name(); a filesystem with an index may do better.
    /// @return nullopt: there is no such name
    /// @throws Error when it was not found in a directory that could not all be read
    virtual std::optional<Id> find(const Stat& directory, std::string_view name,
                                   Allowance& allowance);

    /// The bytes of a file, 0 to its size. map() tells where they lie in the filesystem's devices;
    /// holes and what was allocated but never written are zeroes. Damage in what maps them shows
    /// when the range that needs it is read. It may be used from any thread, and longer than this.
    /// @param file from stat() of a reader of this filesystem, or of one with the same bytes
    /// @param description what the device is called: "file /images/os43.qcow2"
    /// @throws Error(Fault::unsupported) when the filesystem transforms the bytes in a way that is
    ///   not read (encryption), and what reading bytes throws that lie in its inode
    virtual DevicePtr file(const Stat& file, std::string description) = 0;

    /// Where a symbolic link leads to, raw. The default takes the bytes of the file.
    /// @return 1 to 4096 bytes @throws Error(Fault::damaged)
    virtual std::string link_target(const Stat& link);

    /// What a file holds besides its bytes. @return in the order of the disk; see
    /// Abilities::streams for a filesystem that cannot tell
    virtual std::vector<Stream> streams(const Stat& file);
    /// The bytes of one of streams(); as file().
    virtual DevicePtr stream(const Stat& file, const Stream& stream, std::string description);
  };

  /// What a run of bytes of the device belongs to.
  struct Owner {
    enum class Kind : std::uint8_t {
      none,       ///< nothing in the filesystem names it: free space
      structure,  ///< the filesystem's own; `name` says which: "superblock", "inode bitmap"
      file,       ///< bytes of a file
      directory,  ///< names
      map,        ///< what else belongs to a file: its block map, its attributes
      data,       ///< bytes of a file, or free: which is not known
    };
    Kind kind = Kind::none;
    Id id;  ///< of file, directory and map
    /// Of those one path from the root, raw; "<inode 12>" where no directory names it.
    std::string name;
    bool operator==(const Owner&) const = default;
  };
  struct OwnedRange {
    std::uint64_t offset = 0;  ///< bytes of the device
    std::uint64_t length = 0;
    Owner owner;
  };

  /// Which of the functions below are there.
  struct Abilities {
    bool names = false;       ///< root() and reader()
    bool streams = false;     ///< Reader::streams() knows all that there are
    bool owners = false;      ///< owners()
    bool free_space = false;  ///< free_space()
  };

  /// What there is to say of it, as far as opening it told.
  struct State {
    Troubles troubles;
    /// What is to be said of each file in it: its journal was not replayed. Empty: nothing.
    std::string of_files;
  };

  Filesystem() = default;
  virtual ~Filesystem() = default;
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  virtual Abilities abilities() const noexcept = 0;
  /// What it lies on, for a person: "partition 2 of os43".
  virtual std::string describe() const = 0;
  virtual State state() const { return {}; }
  /// What a person does about damage, as Error::advice(): "run e2fsck on a writable copy".
  virtual std::string repair_advice() const { return {}; }
  /// The path that it was last mounted on, raw; empty: not known. Files in it know one another by
  /// paths below that.
  virtual std::string last_mounted() const { return {}; }

  virtual Id root() const;
  /// @throws Error when the tables by which files are found cannot be read
  virtual std::unique_ptr<Reader> reader() const;

  /// What bytes belong to. It may look at everything in the filesystem once. Damage leaves bytes
  /// without an owner, or with one of two that claim them.
  /// @param ranges of the device whose node carries this object, in order, not overlapping. (A
  ///   filesystem on several devices is an object for each of them, see Opened.)
  /// @return all of the ranges, in order; neighbours with one owner are one
  /// @throws Error when there is no filesystem that can be opened
  virtual std::vector<OwnedRange> owners(std::span<const ByteRange> ranges) const;

  /// Visits the bytes of that device that are free by the filesystem's own account, in order, until
  /// `visit` answers false. Where its tables are damaged nothing is called free.
  /// @return what was wrong, the first thing only; nullopt: nothing
  /// @throws Error when the tables cannot be found at all
  virtual std::optional<Error> free_space(const std::function<bool(const ByteRange&)>& visit) const;

 protected:
  /// What the functions throw that a filesystem does not have.
  [[noreturn]] void cannot(std::string_view what) const;
};

/// Adds a run behind the others; one that touches the last and has its owner makes that longer.
inline void append(std::vector<Filesystem::OwnedRange>& runs, std::uint64_t begin,
                   std::uint64_t end, const Filesystem::Owner& owner) {
  if (!runs.empty() && runs.back().offset + runs.back().length == begin &&
      runs.back().owner == owner) {
    runs.back().length += end - begin;
  } else {
    runs.push_back({begin, end - begin, owner});
  }
}

}  // namespace peelfs
