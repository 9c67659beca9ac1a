#include "host/in_use.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <sstream>

#include "peelfs/bytes.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs {

namespace {

/// More than these are counted, not named.
constexpr std::size_t kNamedAtMost = 4;

struct Swap {
  std::string path;
  std::optional<FileId> identity;
};

/// Lines like "/swap\040file file 1048572 0 -2", below a headline (proc(5)).
std::vector<Swap> parse_swaps(const std::string& text, const HostView& view) {
  std::vector<Swap> swaps;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with('/')) continue;
    Swap swap;
    swap.path = unescape_path(line.substr(0, line.find_first_of(" \t")));
    swap.identity = view.identity(swap.path);
    swaps.push_back(std::move(swap));
  }
  return swaps;
}

/// The mount that a path lies on: the last one whose mount point is the path or above it.
const MountEntry* mount_of(const std::vector<MountEntry>& mounts, const std::string& path) {
  const MountEntry* found = nullptr;
  for (const MountEntry& mount : mounts) {
    const std::string& at = mount.mountpoint;
    const bool above =
        at == "/" || (path.starts_with(at) && (path.size() == at.size() || path[at.size()] == '/'));
    if (above && (found == nullptr || at.size() >= found->mountpoint.size())) found = &mount;
  }
  return found;
}

/// Whether a daemon or a server on the network answers for the files there.
bool may_hang(const MountEntry& mount) {
  constexpr std::array kTypes{"fuse", "nfs",  "nfs4", "cifs",    "smb3",
                              "9p",   "ceph", "afs",  "virtiofs"};
  return mount.type.starts_with("fuse.") ||
         std::find(kTypes.begin(), kTypes.end(), mount.type) != kTypes.end();
}

/// The command that ends the use of a device.
std::string ending_of(const BlockNode& node) {
  if (!node.mapper_name.empty()) {
    if (node.mapper_uuid.starts_with("LVM-")) return shell_line({"lvchange", "-an", node.path()});
    if (node.mapper_uuid.starts_with("CRYPT-")) {
      return shell_line({"cryptsetup", "close", node.mapper_name});
    }
    return shell_line({"dmsetup", "remove", node.mapper_name});
  }
  if (node.name.starts_with("md")) return shell_line({"mdadm", "--stop", node.path()});
  return "";
}

class Search {
 public:
  explicit Search(const HostView& view)
      : view_(view),
        nodes_(view.blocks()),
        mounts_(view.mounts()),
        swaps_(parse_swaps(view.swaps(), view)) {}

  std::vector<HostUse> run(const FileId& file) {
    const BlockNode* const node = file.block_device ? node_of(file.device) : nullptr;
    if (node == nullptr) {
      layers_over(file);
      swapped(file);
    } else {
      on_and_above(*node);
      below(*node);
    }
    return std::move(uses_);
  }

 private:
  const BlockNode* node_of(dev_t device) const {
    const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                    [&](const BlockNode& node) { return node.device == device; });
    return found == nodes_.end() ? nullptr : &*found;
  }
  const BlockNode* node_of(const std::string& name) const {
    const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                    [&](const BlockNode& node) { return node.name == name; });
    return found == nodes_.end() ? nullptr : &*found;
  }
  static FileId identity(const BlockNode& node) { return {true, node.device, 0}; }

  /// Adds the uses of the devices below, which share its bytes: the disk of a partition, and the
  /// file under a loop device, which another loop device may show as well.
  void below(const BlockNode& node) {
    if (const BlockNode* const disk = node_of(node.disk); disk != nullptr) {
      if (seen_.insert(disk->name).second) on(*disk);
      below(*disk);
      return;
    }
    if (node.backing_file.empty()) return;
    const auto file = view_.backing(node);
    if (!file) return;
    if (const BlockNode* const lower = file->block_device ? node_of(file->device) : nullptr) {
      if (seen_.insert(lower->name).second) on(*lower);
      below(*lower);
    } else {
      layers_over(*file);
      swapped(*file);
    }
  }

  /// Adds the uses of a device, of its partitions, and of all devices that are made of these.
  void on_and_above(const BlockNode& node) {
    if (!seen_.insert(node.name).second) return;
    for (const BlockNode& other : nodes_) {
      if (!other.disk.empty() && other.disk == node.name) on_and_above(other);
    }
    on(node);
  }

  void on(const BlockNode& node) {
    for (const std::string& name : node.holders) {
      const BlockNode* const holder = node_of(name);
      if (holder == nullptr || seen_.contains(name)) continue;
      on_and_above(*holder);
      uses_.push_back(
          {holder->path() + " is made of " + node.path(), !holder->read_only, ending_of(*holder)});
    }
    layers_over(identity(node));
    swapped(identity(node));
    mounted(node);
  }

  /// Loop and nbd devices that show a file or device.
  void layers_over(const FileId& file) {
    for (const BlockNode& node : nodes_) {
      if (seen_.contains(node.name)) continue;
      if (!node.backing_file.empty() && shows(node, file)) {
        const std::size_t before = uses_.size();
        on_and_above(node);
        if (node.read_only && uses_.size() == before) continue;
        uses_.push_back({"loop device " + node.path() + " shows it" +
                             (node.read_only ? ", read-only" : " and may write it"),
                         false, node.autoclear ? "" : shell_line({"losetup", "-d", node.path()})});
      } else if (node.server != 0 && view_.has_open(node.server, file)) {
        on_and_above(node);
        uses_.push_back(
            {node.path() + " is served from it by process " + std::to_string(node.server),
             !node.read_only, shell_line({"qemu-nbd", "-d", node.path()})});
      }
    }
  }

  bool shows(const BlockNode& loop, const FileId& file) const {
    // A look at a file on a network or FUSE filesystem may take for ever: only looks there if the
    // file can be the one.
    const MountEntry* const mount = mount_of(mounts_, loop.backing_file);
    if (mount != nullptr && may_hang(*mount) &&
        (file.block_device || mount->device != file.device)) {
      return false;
    }
    return view_.backing(loop) == file;
  }

  void swapped(const FileId& file) {
    for (const Swap& swap : swaps_) {
      if (swap.identity != file) continue;
      uses_.push_back({swap.path + " is swap space", true, shell_line({"swapoff", swap.path})});
    }
  }

  void mounted(const BlockNode& node) {
    std::vector<std::string> members{node.name};
    if (auto more = view_.filesystem_members(node); !more.empty()) members = std::move(more);
    std::set<std::string> named;
    for (const MountEntry& mount : mounts_) {
      if (!is_of(mount, node, members) || !named.insert(mount.mountpoint).second) continue;
      if (named.size() > kNamedAtMost) continue;
      uses_.push_back({node.path() + " is mounted at " + mount.mountpoint +
                           (mount.is_read_only() ? ", read-only" : ""),
                       !mount.is_read_only(), shell_line({"umount", mount.mountpoint})});
    }
  }

  /// btrfs has a device number of its own, and tells one of its devices by name.
  bool is_of(const MountEntry& mount, const BlockNode& node,
             const std::vector<std::string>& members) const {
    if (mount.device == node.device) return true;
    if (major(mount.device) != 0 || !mount.source.starts_with("/dev/")) return false;
    const auto source = view_.identity(mount.source);
    const BlockNode* const other =
        source && source->block_device ? node_of(source->device) : nullptr;
    return other != nullptr &&
           std::find(members.begin(), members.end(), other->name) != members.end();
  }

  const HostView& view_;
  const std::vector<BlockNode> nodes_;
  const std::vector<MountEntry> mounts_;
  const std::vector<Swap> swaps_;
  std::set<std::string> seen_;  ///< names of nodes that were looked at
  std::vector<HostUse> uses_;
};

}  // namespace

std::vector<HostUse> host_uses(const FileId& file, const HostView& view) {
  return Search(view).run(file);
}

namespace {

bool ends_in_name(const std::string& path, const std::string& name) {
  return path.substr(path.rfind('/') + 1) == name;
}

/// Whether what sysfs calls a loop device's file can be that file: a file with one name has that.
bool can_be(const FileTraits& file, const std::string& backing_file) {
  if (file.links > 1 || backing_file.ends_with(" (deleted)")) return true;
  return ends_in_name(backing_file, file.name);
}

}  // namespace

std::vector<HostUse> possible_uses(const FileTraits& file, const HostView& view) {
  std::vector<HostUse> uses;
  const std::vector<MountEntry> mounts = view.mounts();
  const std::vector<BlockNode> nodes = view.blocks();
  const auto is_mounted = [&](const BlockNode& node) {
    return std::any_of(mounts.begin(), mounts.end(),
                       [&](const MountEntry& mount) { return mount.device == node.device; });
  };
  for (const BlockNode& node : nodes) {
    if (node.backing_file.empty() || node.offset >= file.size) continue;
    // A loop device that can only be read counts if a mount relies on it, or on a partition of it.
    const bool is_relied_on = std::any_of(nodes.begin(), nodes.end(), [&](const BlockNode& one) {
      return (one.name == node.name || one.disk == node.name) && is_mounted(one);
    });
    if (node.read_only && !is_relied_on) continue;
    std::uint64_t shown = file.size - node.offset;
    if (node.size_limit != 0) shown = std::min(shown, node.size_limit);
    shown = round_down(shown, 512);
    // A file of that very name may have grown since.
    const bool is_namesake = ends_in_name(node.backing_file, file.name);
    if (is_namesake ? node.size > shown : node.size != shown) continue;
    if (!can_be(file, node.backing_file)) continue;
    // A server that does not answer must not be asked; it has not the file of another filesystem.
    const MountEntry* const mount = mount_of(mounts, node.backing_file);
    if (mount != nullptr && may_hang(*mount) && mount->device != file.filesystem) continue;
    if (view.backing(node)) continue;  // it is known, and another
    uses.push_back({"loop device " + node.path() + " shows a file of this size, " +
                        node.backing_file + ", that this user may not look at",
                    false, ""});
  }
  return uses;
}

namespace {

/// Nothing is known to use the file; but where that cannot be known it is not written.
void refuse_possibly_in_use(const FileId& file, const std::string& path) {
  struct stat status {};
  std::error_code failed;
  const auto plain = std::filesystem::canonical(path, failed);
  if (file.block_device || failed || ::stat(plain.c_str(), &status) != 0) return;
  if (file != FileId{false, status.st_dev, status.st_ino}) return;  // renamed since it was opened
  const auto uses = possible_uses({plain.filename(), static_cast<std::uint64_t>(status.st_size),
                                   status.st_nlink, status.st_dev});
  if (uses.empty()) return;
  throw Error(Fault::denied, path + " cannot be written: this host may use it")
      .found(printable(uses.front().what))
      .expected("no loop device on it")
      .advice("ask root which file that is (losetup -l), or run this as root")
      .with_errno(EBUSY);
}

}  // namespace

void refuse_in_use(const FileId& file, const std::string& path) {
  const std::vector<HostUse> uses = host_uses(file);
  if (uses.empty()) return refuse_possibly_in_use(file, path);
  std::string found;
  std::string ending;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (i < kNamedAtMost) found += (i == 0 ? "" : "; ") + printable(uses[i].what);
    if (!uses[i].ending.empty()) ending += (ending.empty() ? "" : " && ") + uses[i].ending;
  }
  if (uses.size() > kNamedAtMost) {
    found += "; and " + std::to_string(uses.size() - kNamedAtMost) + " more";
  }
  throw Error(Fault::denied, path + " cannot be written: this host uses it")
      .found(found)
      .advice(ending.empty() ? "end that first" : "end that first: " + ending)
      .with_errno(EBUSY);
}

std::string host_writer(const FileId& file, const HostView& view) {
  for (const HostUse& use : host_uses(file, view)) {
    if (use.writes) return "this host (" + use.what + ")";
  }
  return "";
}

}  // namespace peelfs
