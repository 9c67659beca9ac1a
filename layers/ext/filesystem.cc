#include "ext/filesystem.h"

#include <utility>

#include "ext/library.h"
#include "ext/read/directory.h"
#include "ext/read/file_device.h"
#include "ext/read/owner.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

constexpr std::string_view kRecoveryNote =
    "journal needs recovery: what is shown is the filesystem without it";

/// What a directory entry says of a file, where it says it.
Filesystem::Type type_of(std::uint8_t file_type) {
  switch (file_type) {
    case EXT2_FT_UNKNOWN:
      return Filesystem::Type::unknown;
    case EXT2_FT_REG_FILE:
      return Filesystem::Type::regular;
    case EXT2_FT_DIR:
      return Filesystem::Type::directory;
    case EXT2_FT_SYMLINK:
      return Filesystem::Type::symbolic_link;
    default:
      return Filesystem::Type::other;
  }
}

const Inode& inode_of(const Filesystem::Stat& stat) {
  return *static_cast<const Inode*>(stat.detail.get());
}

class ExtReader : public Filesystem::Reader {
 public:
  explicit ExtReader(std::shared_ptr<const Volume> volume) : library_(std::move(volume)) {}

  Filesystem::Stat stat(const Filesystem::Id& id) override {
    // A number that is too large for an inode is one that does not exist.
    const bool fits = id.volume == 0 && id.number <= UINT32_MAX;
    const auto inode = std::make_shared<const Inode>(
        library_.inode(fits ? static_cast<std::uint32_t>(id.number) : 0));
    Filesystem::Stat stat;
    stat.id = id;
    stat.type = inode->type;
    stat.size = inode->size;
    stat.allocated = inode->allocated_bytes;
    stat.links = inode->links;
    stat.mode = inode->mode;
    stat.owner = inode->owner;
    stat.group = inode->group;
    stat.modified = inode->modified;
    stat.changed = inode->changed;
    stat.accessed = inode->accessed;
    stat.created = inode->created;
    stat.detail = inode;
    return stat;
  }

  std::optional<Error> list(const Filesystem::Stat& directory, Filesystem::Allowance& allowance,
                            const Filesystem::Visit& visit) override {
    return read_directory(library_, inode_of(directory), allowance,
                          [&](const DirectoryEntry& entry) {
                            return visit({{0, entry.inode}, type_of(entry.file_type), entry.name});
                          });
  }

  DevicePtr file(const Filesystem::Stat& file, std::string description) override {
    return make_file(library_, inode_of(file), std::move(description));
  }

 private:
  Library library_;
};

class ExtFilesystem : public Filesystem {
 public:
  explicit ExtFilesystem(std::shared_ptr<const Volume> volume) : volume_(std::move(volume)) {}

  Abilities abilities() const noexcept override {
    return {.names = true, .streams = false, .owners = true, .free_space = true};
  }
  std::string describe() const override { return volume_->device().describe(); }
  State state() const override;
  std::string repair_advice() const override { return "run e2fsck on a writable copy"; }
  std::string last_mounted() const override { return volume_->super().last_mounted; }

  Id root() const override { return {0, kRootInode}; }
  std::unique_ptr<Reader> reader() const override { return std::make_unique<ExtReader>(volume_); }
  std::vector<OwnedRange> owners(std::span<const ByteRange> ranges) const override {
    return find_owners(volume_->device(), ranges);
  }
  std::optional<Error> free_space(
      const std::function<bool(const ByteRange&)>& visit) const override {
    return visit_free_space(volume_, visit);
  }

 private:
  const std::shared_ptr<const Volume> volume_;
};

Filesystem::State ExtFilesystem::state() const {
  const SuperBlock& super = volume_->super();
  State state;
  Troubles& troubles = state.troubles;
  if (super.has_incompat(kIncompatRecover)) {
    troubles.note(std::string(kRecoveryNote) + " (e2fsck on a writable copy replays it)");
    state.of_files = "it lies in a filesystem whose " + std::string(kRecoveryNote);
  }
  if ((super.state & kStateError) != 0 || super.error_count > 0) {
    troubles.note("the kernel has recorded errors in it; e2fsck -fn tells more");
  } else if ((super.state & kStateValid) == 0) {
    troubles.note("not cleanly unmounted; e2fsck -fn tells whether that matters");
  }
  if (super.checksum_wrong) troubles.damage("the super block fails its checksum");
  const std::uint64_t size = super.blocks_count * super.block_size;
  if (size > volume_->device().size()) {
    troubles.damage("the filesystem is larger than its device (found " +
                    std::to_string(volume_->device().size()) + " bytes, expected " +
                    std::to_string(size) + "): files beyond the end cannot be read");
  }
  return state;
}

}  // namespace

std::shared_ptr<const Filesystem> make_filesystem(std::shared_ptr<const Volume> volume) {
  return std::make_shared<const ExtFilesystem>(std::move(volume));
}

}  // namespace peelfs::ext
