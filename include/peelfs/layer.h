// The contract of a layer: one row of the table in layers/table.cc. README.md beside this file
// walks a new layer's author through it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "peelfs/keys.h"
#include "peelfs/origin.h"
#include "peelfs/trouble.h"

namespace peelfs {

class LayerMemory;

/// What libblkid says of a device (layers/identify). Empty strings where it says nothing. All text
/// is raw, as it stands on the disk: escape it before you show it.
struct Identity {
  /// One superblock that libblkid found.
  struct Signature {
    std::string type;          ///< TYPE
    std::string usage;         ///< USAGE
    std::uint64_t offset = 0;  ///< of its magic number on the device, in bytes
  };

  std::string type;   ///< TYPE: "ext4", "LVM2_member", "crypto_LUKS", "vfat", ...
  std::string usage;  ///< USAGE: "filesystem", "raid", "crypto", "other"
  std::string label;
  std::string uuid;
  std::string pttype;  ///< "gpt", "dos", ...
  std::string ptuuid;
  /// Every superblock there is, the one of `type` included: more than one where a device was put to
  /// another use and the old signature was not wiped.
  std::vector<Signature> signatures = {};
  unsigned partitions = 0;  ///< how many the table of `pttype` has, as libblkid counts them
};

/// Opens what an image names outside of itself (backing file, external data file), under the rules
/// of design section 6. There is one for each place an image can come from: beneath the directory
/// of the source that the user named, or the same guest filesystem. Thread-safe.
class References {
 public:
  struct Found {
    DevicePtr device;
    /// The same rules seen from that file's directory, for the next link of a backing chain.
    std::shared_ptr<const References> references;
    std::string name;  ///< for messages; of a host file its path
    /// The file of the host that it is; null: it lies in a guest's filesystem.
    std::shared_ptr<const HostFile> file = {};
  };
  virtual ~References() = default;
  /// Opens a backing file, for reading.
  /// @throws Error(Fault::denied) when the rules forbid it, Error(Fault::missing) when it is not
  ///   there
  virtual Found open(std::string_view name) const = 0;
  /// Opens a part of the image itself (its external data file), which is written where the image
  /// is.
  /// @param writing the image is written: so is its part, if the person named that, too. Otherwise
  ///   the device is read-only, and BlockDevice::read_only_reason() says what to do
  virtual Found open_part(std::string_view name, bool /*writing*/) const { return open(name); }
  /// Which file of the host a part is, if the person named it. Nothing is opened for it.
  virtual std::optional<FileId> named_part(std::string_view /*name*/) const { return std::nullopt; }
  /// The files beside the image whose names begin like this: the further segments of an image that
  /// is split into many. Nothing is opened for it; open_part() may still refuse one of them.
  /// @return names as open_part() takes them, sorted; empty where the image may name nothing
  /// @throws Error when the directory cannot be read
  virtual std::vector<std::string> siblings(std::string_view /*begin*/) const { return {}; }
};

/// A file, besides the one that was opened, that bytes of a disk come from.
struct Part {
  std::string role;  ///< "data-file", "backing-file"
  std::string name;  ///< raw; of a host file its path
  std::uint64_t size = 0;
  /// By which it is known again when it is found on its own: such a file is no disk of its own.
  Origin origin = {};
  /// The file of the host that it is; null: it lies in a guest's filesystem.
  std::shared_ptr<const HostFile> file = {};
};

/// What a device says of the group that it is a member of. Text is raw, as on the disk.
struct Membership {
  std::string group;       ///< by UUID, never by name; empty: it does not know its group
  std::string group_name;  ///< for people: "vg volssd10"
  std::string member;      ///< which one it is, by UUID: a clone of it has the same
  /// Grows with each change of the group (seqno, event count): of two that contradict each other
  /// the higher one is right. 0: not known.
  std::uint64_t generation = 0;
  unsigned expected = 0;  ///< how many members there are; 0: it does not say
  /// True: the scanner opens the members as one, by the layer's open. False: each is opened on its
  /// own, and the membership is only told (a filesystem on several devices).
  bool opened_together = true;
};

/// "This is mine", as a layer's probe says it. Text is raw, as on the disk.
struct Claim {
  std::string format;  ///< as blkid names it where blkid knows it: "LVM2_member", "qcow2", "gpt"
  std::string label;
  std::string uuid;
  /// For a layer of several members (LVM, MD). The scanner opens the group once a wave of probing
  /// has settled, if it is Membership::opened_together.
  std::optional<Membership> membership;
  /// Anything that probe read and open would otherwise read again; private to the layer.
  std::shared_ptr<const void> state;
};

/// One device as a layer is given it.
struct Member {
  DevicePtr device;
  const Claim* claim = nullptr;  ///< what this layer's probe said of it; null for a detached header
  /// What names of devices inside are built on: "os43p2" for a partition. (design section 4)
  std::string stem;
  /// The last part of the name, what `_crypt` is put behind: "kvmos" for volssd10-kvmos.
  std::string tail;
  /// True when `stem` is free for what an image file unpacks to: "os43" for the file os43.qcow2.
  bool unpacks_to_stem = false;
  std::shared_ptr<const References> references;  ///< null: may name nothing outside of itself
};

/// @return bytes that one key derivation may use unless the person says otherwise: 4 GiB, but at
///   most half of the memory that this process may have. Thread-safe.
std::uint64_t usual_kdf_memory();

/// Limits that the person set, and that layers must keep.
struct Limits {
  unsigned search_depth = 3;  ///< image files within image files within ..., 0 = do not search
  std::size_t search_files = 200'000;             ///< inodes looked at in one filesystem
  std::size_t devices = 50'000;                   ///< in the whole tree
  unsigned nesting = 32;                          ///< layers below one another
  std::uint64_t kdf_memory = usual_kdf_memory();  ///< bytes that a key derivation may demand
  std::uint32_t kdf_iterations = 100'000'000;     ///< PBKDF2 iterations that one may demand
  // What the whole run may use, see Budget.
  std::uint64_t run_files = 2'000'000;             ///< inodes looked at in all filesystems
  std::uint64_t run_kdf_seconds = 600;             ///< spent in key derivations
  std::uint64_t run_identify_bytes = 32ULL << 30;  ///< read to find out what devices are
};

class Budget;
class Cancel;
class Filesystem;
class Formats;

/// The moment that a snapshot shows. Snapshots of several disks are of one moment when they have
/// the same name and were taken within a few seconds (see layers/scan/instances.h).
struct Moment {
  std::string name;               ///< raw; may be empty
  std::uint32_t seconds = 0;      ///< since 1970; 0: not known
  std::uint32_t nanoseconds = 0;  ///< behind those
};

/// What a layer knows of a device inside beyond what every device has. `peelfs ls` and JSON show it
/// by its name (layers/peel/document.h).
struct Property {
  /// Of static lifetime: "boot". Where lsblk or sfdisk has a name for it, that one.
  std::string_view name;
  /// Text is raw, as on the disk.
  std::variant<bool, std::uint64_t, std::string> value;
};

/// One device inside, as a layer's open returns it.
struct Inner {
  std::string kind;  ///< TYPE of lsblk: "part", "lvm", "crypt", "disk", "snapshot", "file"
  std::string name;  ///< its flat name, raw: "os43p2", "volssd10-kvmos", "kvmos_crypt"
  std::string stem;  ///< see Member; empty: the same as name
  std::string tail;  ///< see Member; empty: the same as stem
  /// Its place below its parent in by-path, raw components: {"p2"}, {"volssd10", "kvmos"}
  std::vector<std::string> path;
  /// Never null: a device that cannot be read is make_unreadable().
  DevicePtr device;
  std::optional<Trouble> trouble;
  std::string partuuid, partlabel, parttype;
  /// Which members (indices) carry it; empty: all of them.
  std::vector<std::size_t> members;
  /// False for a part of another device that is shown but not looked into (a RAID leg).
  bool peel = true;
  /// True for an image file found in a filesystem: what is in it is unpacked, and counts for
  /// --depth.
  bool image_file = false;
  std::shared_ptr<const References> references;
  /// Of a snapshot: when it was taken. What lies in it is never put together with what is of
  /// another moment.
  std::optional<Moment> moment = std::nullopt;
  /// Files that an image names and its bytes come from, in the order of the chain. They are
  /// consumed: what else is found of them is shown as a part of this device, and not looked into.
  std::vector<Part> parts = {};
  /// Where its first byte lies on the device below it, in bytes; nullopt: no single place.
  std::optional<std::uint64_t> offset = std::nullopt;
  std::vector<Property> properties = {};
};

/// What an open says of one member of a group.
struct MemberReport {
  std::size_t member = 0;  ///< its index in OpenInput::members
  Trouble trouble;
  /// It missed changes of its group: what it says of the group is not believed.
  bool stale = false;
};

/// What an open found.
struct Opened {
  std::vector<Inner> devices;
  /// The filesystem that the members hold: an object for each member, in their order, which speaks
  /// of the bytes of that member. Empty: they hold none, or none that is known from within.
  std::vector<std::shared_ptr<const Filesystem>> filesystems = {};
  /// Why the container shows less than it could: locked, a missing member, a damaged primary
  /// header.
  std::optional<Trouble> trouble;
  /// Members that did not know their group (Membership::group is "") and turned out to belong to
  /// this one.
  std::vector<std::size_t> adopted = {};
  /// What concerns one member, and not the group as a whole.
  std::vector<MemberReport> reports = {};
  /// How many members the group has, if opening it told; 0: as the members' claims say.
  unsigned expected = 0;
};

/// What a person says of one device (--as, --header): how it is to be opened, whatever its bytes
/// say. What has no magic number is opened only so.
struct Directive {
  /// The device: its name as its layer proposes it, its stem, PARTUUID, or the path of a source.
  std::string device;
  /// A name among Layer::kinds, or kAsRaw or kAsNone (formats.h). Empty with a header: that of the
  /// row that takes detached headers.
  std::string kind = {};
  std::map<std::string, std::string> options = {};  ///< by name, see Layer::options
  DevicePtr header = nullptr;                       ///< a detached header; null: none
};

struct ProbeInput {
  const BlockDevice& device;
  const Identity& identity;
  /// What the partition table says of a partition: "0x83" or a type GUID; empty for other devices.
  std::string_view parttype = {};
};

struct OpenInput {
  std::span<const Member> members;  ///< one, except for a group
  const KeyRing& keys;
  const Limits& limits;
  const Directive* directive = nullptr;  ///< by which the device is opened; null: by its bytes
  unsigned image_depth = 0;              ///< how many image files enclose the members
  Budget* budget = nullptr;              ///< of the run; null: only `limits` hold
  /// Where the layer keeps what it learned from one device for the next ones; empty at first, and
  /// emptied before devices are looked at again. Several devices are opened at once. Null: nowhere.
  LayerMemory* memory = nullptr;
  const Formats* formats = nullptr;  ///< by which files within are known; null: none are known
  /// The images that this one is opened for, from the outermost child on; see parent.h.
  std::span<const Origin> children = {};
  /// Looked at between pieces of work that last (see check_cancel). Null: nothing ends it.
  const Cancel* cancel = nullptr;
};

/// Bytes at a place by which a format is known.
struct Signature {
  std::size_t offset = 0;  ///< from the start, below 8 KiB
  std::string_view magic;
  std::string_view format;  ///< as Claim::format names it
};

/// What sort of thing a layer opens.
struct Traits {
  /// It unpacks a file into a disk, which takes the file's place in the tree. Never asked of what
  /// is given as raw.
  bool image = false;
  bool encryption = false;
  bool detached_header = false;  ///< its header may be given by the person, see OpenInput
  /// It divides a disk. Its UUID is the table's (PTUUID), and no UUID of the device.
  bool partition_table = false;
  bool filesystem = false;  ///< it holds files, see Opened::filesystems
};

/// One row of the table of layers: all that there is to know of a layer from outside.
struct Layer {
  std::string_view name;
  /// Cheap and read-only. @return nullopt when it is not this layer's; an Error means "mine, but so
  /// damaged that I cannot even say whose" and leaves the device visible with that reason. Null:
  /// the row claims nothing by itself. It only names what is recognised, or opens what a directive
  /// names.
  std::optional<Claim> (*probe)(const ProbeInput&) = nullptr;
  /// Called by several threads at once, for different members.
  /// @throws Error when nothing inside can be shown. Otherwise partial results carry Trouble.
  Opened (*open)(const OpenInput&) = nullptr;
  Traits traits = {};
  /// Any of these bytes tells that a file is of this layer; see Formats.
  std::span<const Signature> signatures = {};
  /// Of names of files in this format: lower case, with the dot.
  std::span<const std::string_view> suffixes = {};
  /// What qemu calls the format, where that is another name: "vpc".
  std::string_view qemu_name = {};
  /// The same for formats that no signature tells. It must be strict: it decides which of many
  /// files count as images.
  /// @return the format; empty: it is none of this layer's @throws Error when it cannot be read
  std::string_view (*recognise)(const BlockDevice& file) = nullptr;
  /// Of an image format: the names of the files that hold bytes of the image itself (an external
  /// data file), and so are no disks of their own. Reads no more than a probe. @throws Error
  std::vector<std::string> (*parts)(const BlockDevice& file) = nullptr;
  /// What a person may call it in a directive, its own name first: "luks", "crypto_LUKS". Empty: no
  /// directive can name it.
  std::span<const std::string_view> kinds = {};
  /// The names of the options that a directive may give it.
  std::span<const std::string_view> options = {};
};

}  // namespace peelfs
