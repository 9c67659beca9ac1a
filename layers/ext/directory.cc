#include "ext/directory.h"

#include "ext/file_device.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs::ext {

namespace {

constexpr unsigned max_links = 40;  // as the kernel's MAXSYMLINKS
constexpr unsigned max_components = 1024;
constexpr std::size_t max_name_bytes = 4096;  // as the kernel's PATH_MAX
// The cost of a damaged block, counted in good blocks: a directory full of damage must not take
// long, even if its inode gives a large size.
constexpr std::uint64_t damaged_block_cost = 64;

/// One pass over a directory.
class Pass {
 public:
  Pass(const Volume& volume, const Inode& inode,
       const std::function<bool(const DirectoryEntry&)>& visit)
      : has_file_type_(volume.super().has_incompat(incompat_filetype)), visit_(visit) {
    if (volume.super().has_ro_compat(ro_compat_metadata_csum)) {
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

void read_inline_directory(Library& library, const Inode& inode, Pass& pass) {
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

void read_directory_blocks(Library& library, const Inode& inode, DirectoryBudget& budget,
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
    if (budget.blocks == 0) return;
    --budget.blocks;
    try {
      const Extent extent = file->map(offset, left);
      if (extent.kind == ExtentKind::zero) {
        pass.note("directory block " + std::to_string(number) + " is a hole");
        offset += round_down(extent.length, block_size) - block_size;
        continue;
      }
      if (!pass.block(number, read_bytes(*file, offset, block_size))) {
        budget.blocks -= std::min(budget.blocks, damaged_block_cost);
      }
    } catch (const Error& error) {
      pass.note("directory block " + std::to_string(number) + ": " + error.what(), error.fault());
      budget.blocks -= std::min(budget.blocks, damaged_block_cost);
    }
  }
}

/// The inode of a name in a directory; 0 when it is not there.
std::uint32_t look_up(Library& library, const Inode& directory, std::string_view name,
                      DirectoryBudget& budget) {
  std::uint32_t result = 0;
  const auto damage = read_directory(library, directory, budget, [&](const DirectoryEntry& entry) {
    if (entry.name == name) result = entry.inode;
    return result == 0;
  });
  if (result == 0 && damage) {
    throw Error(damage->fault(),
                "\"" + std::string(name) + "\" is not found in a directory that cannot all be read")
        .found(damage->what());
  }
  return result;
}

std::string link_target(Library& library, const Inode& inode) {
  if (inode.size == 0 || inode.size > max_name_bytes) {
    throw Error(Fault::damaged, "a symbolic link has an impossible length")
        .found(figure(inode.size) + " bytes")
        .expected("1 to " + std::to_string(max_name_bytes));
  }
  const DevicePtr file = make_file(library, inode, "symbolic link");
  return std::string(as_text(read_bytes(*file, 0, inode.size)));
}

}  // namespace

std::optional<Error> read_directory(Library& library, const Inode& inode, DirectoryBudget& budget,
                                    const std::function<bool(const DirectoryEntry&)>& visit) {
  if (inode.has(flag_encrypted)) {
    throw Error(Fault::unsupported, "the names in it are encrypted by the filesystem (fscrypt)");
  }
  Pass pass(*library.volume(), inode, visit);
  if (inode.has(flag_inline_data)) {
    read_inline_directory(library, inode, pass);
  } else {
    read_directory_blocks(library, inode, budget, pass);
  }
  return pass.damage();
}

Located locate(Library& library, std::vector<std::uint32_t> directory, std::string_view name) {
  const auto missing = [&](const std::string& why) {
    return Error(Fault::missing,
                 "the file \"" + std::string(name) + "\" is not in the same filesystem")
        .found(why)
        .advice("a reference inside a filesystem is only looked for in that filesystem");
  };
  if (name.empty() || name.size() > max_name_bytes) throw missing("a name that no file can have");
  DirectoryBudget budget;
  Located result;
  std::string rest(name);
  unsigned links = 0;
  if (rest.front() == '/') directory.assign(1, root_inode);
  for (unsigned components = 0;; ++components) {
    if (components == max_components) throw missing("too many components");
    rest.erase(0, rest.find_first_not_of('/'));
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string component = rest.substr(0, end);
    rest.erase(0, end);
    if (component.empty()) throw missing("a directory");
    if (component == ".") continue;
    if (component == "..") {
      if (directory.size() > 1) directory.pop_back();
      continue;
    }
    const Inode parent = library.inode(directory.back());
    if (parent.type != Inode::Type::directory) throw missing("a component that is no directory");
    const std::uint32_t number = look_up(library, parent, component, budget);
    if (number == 0) throw missing("no \"" + component + "\"");
    Inode inode = library.inode(number);
    switch (inode.type) {
      case Inode::Type::directory:
        directory.push_back(number);
        break;
      case Inode::Type::symbolic_link: {
        if (++links > max_links) throw missing("too many symbolic links, or a loop of them");
        std::string target = link_target(library, inode);
        if (target.front() == '/') directory.assign(1, root_inode);
        rest = target + rest;
        if (rest.size() > 2 * max_name_bytes) throw missing("symbolic links that grow too long");
        break;
      }
      case Inode::Type::regular:
        if (!rest.empty()) throw missing("a component that is no directory");
        result.inode = inode;
        result.directory = std::move(directory);
        result.name = component;
        return result;
      case Inode::Type::other:
        throw missing("no regular file");
    }
  }
}

}  // namespace peelfs::ext
