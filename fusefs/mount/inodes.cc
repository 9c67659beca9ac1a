#include "mount/inodes.h"

#include <algorithm>
#include <set>

#include "mount/log.h"

namespace peelfs {
namespace {

/// The largest size that the kernel takes; a larger one, which a hostile header may well claim,
/// would make it refuse not this file but the whole listing.
constexpr std::uint64_t kSizeLimit = 0x7fff'ffff'ffff'f000;

DeviceFile::Sources sources_of(
    const Tree& tree, const Node& node,
    const std::map<std::string, std::shared_ptr<const HostFile>>& files) {
  DeviceFile::Sources found;
  std::set<std::uint64_t> seen{node.id};
  std::vector<const Node*> open{&node};
  while (!open.empty()) {
    const Node& at = *open.back();
    open.pop_back();
    const auto file = at.source_path.empty() ? files.end() : files.find(at.source_path);
    if (file != files.end() && std::find(found.begin(), found.end(), file->second) == found.end()) {
      found.push_back(file->second);
    }
    for (const std::uint64_t parent : at.parents) {
      const auto above = tree.nodes.find(parent);
      if (above != tree.nodes.end() && seen.insert(parent).second) {
        open.push_back(above->second.get());
      }
    }
  }
  return found;
}

}  // namespace

bool Directory::add(std::string name, InodeNumber inode, mode_t type) {
  if (name.empty() || name.size() > kNameLimit || name == "." || name == ".." ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
      !positions_.emplace(name, entries_.size()).second) {
    return false;
  }
  entries_.push_back({std::move(name), inode, type});
  return true;
}

const Directory::Entry* Directory::find(std::string_view name) const {
  const auto at = positions_.find(name);
  return at == positions_.end() ? nullptr : &entries_[at->second];
}

Inode::Status Inode::status() const noexcept {
  Status result{attributes, true};
  if (device) {
    const DeviceFile::Blocks blocks = device->blocks();
    result.attributes.st_mtim = result.attributes.st_ctim = device->modified();
    result.attributes.st_blocks = static_cast<blkcnt_t>(blocks.count);
    result.settled = blocks.settled;
  }
  return result;
}

/// One view in the making: directories are open for entries until finish().
struct InodeTable::Builder {
  Builder(InodeTable& owner, InodeView& filled) : table(owner), view(filled) {
    make_directory("", kRootInode, kRootInode);
  }

  struct Open {
    InodeNumber parent = kRootInode;
    std::shared_ptr<Directory> directory = std::make_shared<Directory>();
  };

  void put(InodeNumber number, Inode inode) {
    if (view.inodes_.size() <= number) view.inodes_.resize(number + 1);
    view.inodes_[number] = std::make_shared<const Inode>(std::move(inode));
    ++view.count_;
  }

  void make_directory(const std::string& path, InodeNumber number, InodeNumber parent) {
    Open open;
    open.parent = parent;
    paths.emplace(path, number);
    directories.emplace(number, std::move(open));
  }

  /// The directory with this path, which is made when it is not there; 0 when a file is in the way.
  InodeNumber directory(const std::string& path) {
    if (const auto known = paths.find(path); known != paths.end()) return known->second;
    const std::size_t slash = path.rfind('/');
    const InodeNumber parent = directory(slash == std::string::npos ? "" : path.substr(0, slash));
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    const InodeNumber number = table.number_of("directory " + path);
    if (parent == 0 || !directories.at(parent).directory->add(name, number, S_IFDIR)) return 0;
    make_directory(path, number, parent);
    return number;
  }

  void add(InodeNumber parent, const std::string& name, InodeNumber number, Inode inode) {
    if (parent == 0 ||
        !directories.at(parent).directory->add(name, number, inode.attributes.st_mode & S_IFMT)) {
      log_message(LogLevel::warning,
                  "the name " + name + " is taken; it is not shown a second time");
      return;
    }
    put(number, std::move(inode));
  }

  void add_text(InodeNumber parent, const std::string& name, std::string text) {
    const InodeNumber number = table.number_of("text " + name);
    Inode inode;
    inode.attributes = table.attributes(number, S_IFREG, text.size(), table.owner_.mounted);
    inode.text = std::make_shared<const std::string>(std::move(text));
    add(parent, name, number, std::move(inode));
  }

  void add_link(const Link& link) {
    // A link that points elsewhere is another link: the kernel may cache what one points at.
    const InodeNumber number =
        table.number_of("link " + link.directory + '/' + link.name + '\0' + link.target);
    Inode inode;
    inode.attributes = table.attributes(number, S_IFLNK, link.target.size(), table.owner_.mounted);
    inode.text = std::make_shared<const std::string>(link.target);
    add(directory(link.directory), link.name, number, std::move(inode));
  }

  void add_device(const Catalog::Entry& entry, DeviceFile::Sources sources) {
    const Node& node = *entry.node;
    InodeView::Device& device = table.devices_[node.id];
    std::shared_ptr<const DeviceFile>& file = device.file;
    if (!file || file->device() != node.device || file->name() != entry.name) {
      std::shared_ptr<Lane> lane = table.lane_of(sources);
      file = std::make_shared<const DeviceFile>(entry.name, node.device, std::move(sources),
                                                std::move(lane), table.owner_.mounted);
      if (device.inode == 0 || table.owner_.policy.writable) device.inode = table.next_++;
    }
    Inode inode;
    inode.attributes = table.attributes(device.inode, S_IFREG, file->size(), file->modified());
    inode.device = file;
    inode.node = node.id;
    inode.read_only =
        why_read_only(*view.catalog_, entry, table.owner_.policy).value_or(std::string());
    if (inode.read_only.empty()) inode.attributes.st_mode |= 0200;
    view.devices_.emplace(node.id, device);
    add(kRootInode, entry.name, device.inode, std::move(inode));
  }

  void finish() {
    for (auto& [number, open] : directories) {
      const auto& entries = open.directory->entries();
      const auto inside = std::count_if(entries.begin(), entries.end(),
                                        [](const auto& entry) { return entry.type == S_IFDIR; });
      Inode inode;
      inode.attributes = table.attributes(number, S_IFDIR, 0, table.owner_.mounted);
      inode.attributes.st_nlink = static_cast<nlink_t>(2 + inside);
      inode.parent = open.parent;
      inode.directory = std::move(open.directory);
      put(number, std::move(inode));
    }
  }

  InodeTable& table;
  InodeView& view;
  std::unordered_map<std::string, InodeNumber> paths;
  std::map<InodeNumber, Open> directories;
};

InodeTable::InodeTable(Owner owner) : owner_(owner) {}

std::shared_ptr<Lane> InodeTable::lane_of(DeviceFile::Sources sources) {
  std::sort(sources.begin(), sources.end());
  std::shared_ptr<Lane>& lane = lanes_[std::move(sources)];
  if (!lane) lane = std::make_shared<Lane>();
  return lane;
}

InodeNumber InodeTable::number_of(const std::string& key) {
  const auto [at, is_new] = numbers_.emplace(key, next_);
  next_ += is_new ? 1 : 0;
  return at->second;
}

struct stat InodeTable::attributes(InodeNumber number, mode_t type, std::uint64_t size,
                                   timespec when) const {
  struct stat result {};
  result.st_ino = number;
  const mode_t read = owner_.everybody ? 0444 : 0400;
  const mode_t enter = owner_.everybody ? 0555 : 0500;
  result.st_mode = type | (type == S_IFDIR ? enter : type == S_IFLNK ? mode_t{0777} : read);
  result.st_nlink = 1;
  result.st_uid = owner_.user;
  result.st_gid = owner_.group;
  result.st_size = static_cast<off_t>(std::min(size, kSizeLimit));
  // The page size: the kernel reads ahead as it likes, and tools choose their own larger buffers.
  result.st_blksize = 4096;
  result.st_blocks = type == S_IFREG ? static_cast<blkcnt_t>(div_round_up(size, 512)) : 0;
  result.st_atim = result.st_mtim = result.st_ctim = when;
  return result;
}

std::shared_ptr<const InodeView> InodeTable::build(
    std::shared_ptr<const Catalog> newest,
    const std::map<std::string, std::shared_ptr<const HostFile>>& files) {
  auto view = std::make_shared<InodeView>();
  const Catalog& catalog = *newest;
  view->catalog_ = std::move(newest);
  view->inodes_ = inodes_;
  if (owner_.policy.writable) {
    // A program that has a device open which is gone may not use it any more, so nothing has to be
    // kept for it.
    for (auto& inode : view->inodes_) {
      if (inode && inode->device) inode = nullptr;
    }
    std::erase_if(devices_,
                  [&](const auto& device) { return !catalog.tree().nodes.contains(device.first); });
  }
  Builder builder(*this, *view);
  const InodeNumber own = builder.directory(".peelfs");
  builder.add_text(own, "status.json", tree_json(catalog, owner_.policy));
  // Directories before devices: a device that is called like one of them must not take its place.
  for (const Link& link : catalog.links()) builder.directory(link.directory);
  const Tree& tree = catalog.tree();
  for (const Catalog::Entry& entry : catalog.devices()) {
    builder.add_device(entry, sources_of(tree, *entry.node, files));
  }
  for (const Link& link : catalog.links()) builder.add_link(link);
  builder.finish();
  for (const std::uint64_t root : tree.roots) view->source_bytes_ += tree.at(root).device->size();
  inodes_ = view->inodes_;
  return view;
}

ViewChanges compare(const InodeView& before, const InodeView& after) {
  ViewChanges changes;
  for (InodeNumber number = kRootInode; number < before.end(); ++number) {
    const Inode* const was = before.find(number);
    const Inode* const is = after.find(number);
    if (was == nullptr || was == is) continue;
    if (was->directory) {
      bool differs =
          is == nullptr || is->directory->entries().size() != was->directory->entries().size();
      for (const Directory::Entry& entry : was->directory->entries()) {
        const Directory::Entry* const now =
            is == nullptr ? nullptr : is->directory->find(entry.name);
        if (now == nullptr || now->inode != entry.inode) {
          changes.names.push_back({number, entry.name});
          differs = true;
        }
      }
      if (differs) changes.directories.push_back(number);
    } else if (is == nullptr ? was->device != nullptr
                             : (was->device != is->device ||
                                (was->text && is->text && *was->text != *is->text))) {
      changes.contents.push_back(number);
    }
  }
  return changes;
}

}  // namespace peelfs
