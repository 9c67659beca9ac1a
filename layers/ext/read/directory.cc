#include "ext/read/directory.h"

#include "ext/read/file_device.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {

namespace {

// The cost of a damaged block, counted in good blocks: a directory full of damage must not take
// long, even if its inode gives a large size.
constexpr std::uint64_t kDamagedBlockCost = 64;

/// One pass over a directory.
class Pass {
 public:
  Pass(const Volume& volume, const Inode& inode,
       const std::function<bool(const DirectoryEntry&)>& visit)
      : has_file_type_(volume.super().has_incompat(kIncompatFiletype)), visit_(visit) {
    if (volume.super().has_ro_compat(kRoCompatMetadataCsum)) {
      seed_ = inode_checksum_seed(volume.super().checksum_seed, inode.number, inode.generation);
    }
  }

  bool stopped() const { return stopped_; }
  const std::optional<Error>& damage() const { return damage_; }
  void note(const std::string& what, Fault fault = Fault::damaged) {
    if (!damage_) damage_.emplace(fault, what);
  }

  bool block(std::uint64_t number, Bytes bytes) {
    const std::string where = "directory block " + std::to_string(number);
    // The names of a block with a wrong checksum are still the best guess at what is there.
    if (seed_ && directory_checksum_fits(bytes, *seed_) == false) {
      note(where + " fails its checksum");
    }
    return entries(where, bytes);
  }

  /// @return false when they end in damage
  bool entries(const std::string& where, Bytes bytes) {
    try {
      for (std::size_t at = 0; at < bytes.size() && !stopped_;) {
        const auto entry = decode_directory_entry(bytes, at, has_file_type_);
        if (!entry || entry->name == "." || entry->name == "..") continue;
        if (entry->name.empty() || entry->name.find('/') != std::string_view::npos ||
            entry->name.find('\0') != std::string_view::npos) {
          note(where + " holds an impossible name");
          continue;
        }
        stopped_ = !visit_(*entry);
      }
      return true;
    } catch (const Error& error) {
      note(where + ": " + error.what(), error.fault());
      return false;
    }
  }

 private:
  const bool has_file_type_;
  const std::function<bool(const DirectoryEntry&)>& visit_;
  std::optional<std::uint32_t> seed_;
  std::optional<Error> damage_;
  bool stopped_ = false;
};

void read_inline_directory(Library& library, const Inode& inode, Filesystem::Allowance& allowance,
                           Pass& pass) {
  if (allowance.ended()) return;
  allowance.take(1);
  const Buffer bytes = library.inline_data(inode);
  // Four bytes with the parent's inode, entries up to the end of i_block, then those in the
  // extended attribute. No entry crosses over.
  const std::size_t parent = 4;
  const std::size_t in_block = std::min(bytes.size(), inode.block.size());
  if (in_block <= parent) {
    pass.note("its inline data is too short");
    return;
  }
  pass.entries("inline data", Bytes(bytes).subspan(parent, in_block - parent));
  pass.entries("inline data", Bytes(bytes).subspan(in_block));
}

void read_directory_blocks(Library& library, const Inode& inode, Filesystem::Allowance& allowance,
                           Pass& pass) {
  const std::uint32_t block_size = library.volume()->block_size();
  const DevicePtr file = make_file(library, inode, "directory");
  for (std::uint64_t offset = 0; offset < inode.size && !pass.stopped(); offset += block_size) {
    const std::uint64_t number = offset / block_size;
    const std::uint64_t left = inode.size - offset;
    if (left < block_size) {
      pass.note("its size is no multiple of the block size");
      return;
    }
    if (allowance.ended()) return;
    allowance.take(1);
    try {
      const Extent extent = file->map(offset, left);
      if (extent.kind == ExtentKind::zero) {
        pass.note("directory block " + std::to_string(number) + " is a hole");
        offset += round_down(extent.length, block_size) - block_size;
        continue;
      }
      if (!pass.block(number, read_bytes(*file, offset, block_size))) {
        allowance.take(kDamagedBlockCost);
      }
    } catch (const Error& error) {
      pass.note("directory block " + std::to_string(number) + ": " + error.what(), error.fault());
      allowance.take(kDamagedBlockCost);
    }
  }
}

}  // namespace

std::optional<Error> read_directory(Library& library, const Inode& inode,
                                    Filesystem::Allowance& allowance,
                                    const std::function<bool(const DirectoryEntry&)>& visit) {
  if (inode.has(kFlagEncrypted)) {
    throw Error(Fault::unsupported, "the names in it are encrypted by the filesystem (fscrypt)");
  }
  Pass pass(*library.volume(), inode, visit);
  if (inode.has(kFlagInlineData)) {
    read_inline_directory(library, inode, allowance, pass);
  } else {
    read_directory_blocks(library, inode, allowance, pass);
  }
  return pass.damage();
}

}  // namespace peelfs::ext
