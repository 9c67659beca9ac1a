#include <algorithm>

#include "ext/write/map_rewrite.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {

namespace {

constexpr std::uint32_t kMostWritten = 0x8000, kMostUnwritten = 0x7fff;  // blocks of one extent
constexpr std::size_t kRootEntries = 4;
constexpr std::size_t kMostLeaves = std::size_t{1} << 20U;

Error contradiction(const std::string& what) {
  return Error(Fault::damaged, "extent tree: " + what).advice("run e2fsck");
}

void put(MutableBytes bytes, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

std::size_t node_capacity(std::uint64_t block_size) {
  return (block_size - 12) / 12;
}

/// A leaf of the old tree or the new one.
struct Leaf {
  std::uint32_t logical = 0;
  std::uint64_t block = 0;  ///< 0: the root
};

class Rewrite {
 public:
  Rewrite(const Volume& volume, const Inode& inode, const TakeBlock& take)
      : volume_(volume), inode_(inode), take_(take) {
    if (volume.super().has_ro_compat(kRoCompatMetadataCsum)) {
      seed_ = inode_checksum_seed(volume.super().checksum_seed, inode.number, inode.generation);
    }
  }

  RewrittenMap run(const std::vector<WrittenRun>& runs) {
    const ExtentNode root = find_leaves();
    std::vector<Leaf> fresh;
    std::size_t next_run = 0;
    std::vector<WrittenRun> rest = runs;
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      const std::uint64_t end = i + 1 < leaves_.size() ? leaves_[i + 1].logical : 1ULL << 32U;
      std::vector<WrittenRun> own;
      while (next_run < rest.size() && rest[next_run].logical < end) {
        WrittenRun& run = rest[next_run];
        const std::uint64_t part = std::min(run.blocks, end - run.logical);
        own.push_back({run.logical, part, run.physical});
        run = {run.logical + part, run.blocks - part, run.physical + part};
        if (run.blocks == 0) ++next_run;
      }
      if (own.empty()) {
        fresh.push_back(leaves_[i]);
        continue;
      }
      std::vector<ExtentEntry> entries =
          leaves_[i].block == 0 ? root.entries : load(leaves_[i].block, 0).entries;
      if (leaves_[i].block != 0) {
        check_interval(entries, leaves_[i].logical, end);
        result_.freed.push_back(leaves_[i].block);
      }
      for (const WrittenRun& run : own) entries = with(entries, run);
      entries = merged(entries);
      if (leaves_.size() == 1 && entries.size() <= kRootEntries) {
        write_node(result_.root, 0, entries);
        return std::move(result_);
      }
      for (std::size_t at = 0; at < entries.size(); at += capacity()) {
        const std::size_t count = std::min(capacity(), entries.size() - at);
        fresh.push_back({entries[at].logical,
                         add_node(0, {entries.begin() + static_cast<std::ptrdiff_t>(at),
                                      entries.begin() + static_cast<std::ptrdiff_t>(at + count)})});
      }
    }
    build_root(std::move(fresh));
    return std::move(result_);
  }

  std::uint64_t leaves() {
    find_leaves();
    return leaves_.size();
  }

 private:
  std::size_t capacity() const { return node_capacity(volume_.block_size()); }

  ExtentNode find_leaves() {
    ExtentNode root = decode_extent_node(inode_.block, std::nullopt);
    if (root.depth == 0) {
      leaves_.push_back({root.entries.empty() ? 0 : root.entries.front().logical, 0});
    } else {
      find_leaves(root);
    }
    return root;
  }

  void find_leaves(const ExtentNode& root) {
    std::vector<ExtentEntry> level = root.entries;
    for (unsigned depth = root.depth; depth > 1; --depth) {
      std::vector<ExtentEntry> below;
      for (const ExtentEntry& index : level) {
        const ExtentNode node = load(index.physical, depth - 1);
        result_.freed.push_back(index.physical);
        below.insert(below.end(), node.entries.begin(), node.entries.end());
        if (below.size() > kMostLeaves) throw contradiction("it is too large to be changed");
      }
      level = std::move(below);
    }
    for (const ExtentEntry& entry : level) {
      if (!leaves_.empty() && entry.logical <= leaves_.back().logical) {
        throw contradiction("its nodes are out of order");
      }
      leaves_.push_back({entry.logical, entry.physical});
    }
  }

  ExtentNode load(std::uint64_t block, unsigned depth) const {
    volume_.check_blocks(block, 1, "a node of an extent tree");
    ExtentNode node = decode_extent_node(volume_.read_block(block), seed_);
    if (node.depth != depth) throw contradiction("a node stands at the wrong depth");
    return node;
  }

  static void check_interval(const std::vector<ExtentEntry>& entries, std::uint64_t begin,
                             std::uint64_t end) {
    if (entries.empty() || (entries.front().logical >= begin &&
                            std::uint64_t{entries.back().logical} + entries.back().length <= end)) {
      return;
    }
    throw contradiction("a leaf covers what its parent gave to others");
  }

  /// The part [begin, end) of an extent.
  static ExtentEntry part(const ExtentEntry& extent, std::uint64_t begin, std::uint64_t end) {
    return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end - begin),
            extent.physical + (begin - extent.logical), extent.unwritten};
  }

  static std::vector<ExtentEntry> with(const std::vector<ExtentEntry>& entries,
                                       const WrittenRun& run) {
    const std::uint64_t run_end = run.logical + run.blocks;
    std::vector<ExtentEntry> result;
    bool placed = false;
    const auto place = [&] {
      for (std::uint64_t at = 0; at < run.blocks; at += kMostWritten) {
        result.push_back(
            {static_cast<std::uint32_t>(run.logical + at),
             static_cast<std::uint32_t>(std::min<std::uint64_t>(kMostWritten, run.blocks - at)),
             run.physical + at, false});
      }
      placed = true;
    };
    for (const ExtentEntry& extent : entries) {
      const std::uint64_t end = std::uint64_t{extent.logical} + extent.length;
      if (end <= run.logical) {
        result.push_back(extent);
        continue;
      }
      if (extent.logical < run.logical) result.push_back(part(extent, extent.logical, run.logical));
      if (!placed) place();
      if (extent.logical < run_end &&
          extent.physical + run.logical != run.physical + extent.logical) {
        throw contradiction("a block that was to be written lies elsewhere now");
      }
      if (end > run_end) {
        result.push_back(part(extent, std::max<std::uint64_t>(extent.logical, run_end), end));
      }
    }
    if (!placed) place();
    return result;
  }

  static std::vector<ExtentEntry> merged(const std::vector<ExtentEntry>& entries) {
    std::vector<ExtentEntry> result;
    for (const ExtentEntry& extent : entries) {
      if (!result.empty()) {
        ExtentEntry& last = result.back();
        const std::uint32_t most = last.unwritten ? kMostUnwritten : kMostWritten;
        if (last.unwritten == extent.unwritten && last.length + extent.length <= most &&
            std::uint64_t{last.logical} + last.length == extent.logical &&
            last.physical + last.length == extent.physical) {
          last.length += extent.length;
          continue;
        }
      }
      result.push_back(extent);
    }
    return result;
  }

  void write_node(MutableBytes bytes, unsigned depth, const std::vector<ExtentEntry>& entries) {
    put(bytes, 0, 0xf30a, 2);
    put(bytes, 2, entries.size(), 2);
    put(bytes, 4, bytes.size() / 12 - 1, 2);
    put(bytes, 6, depth, 2);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const ExtentEntry& entry = entries[i];
      const std::size_t at = 12 * (1 + i);
      put(bytes, at, entry.logical, 4);
      if (depth == 0) {
        put(bytes, at + 4, entry.length + (entry.unwritten ? kMostWritten : 0), 2);
        put(bytes, at + 6, entry.physical >> 32U, 2);
        put(bytes, at + 8, entry.physical & 0xffffffffU, 4);
      } else {
        put(bytes, at + 4, entry.physical & 0xffffffffU, 4);
        put(bytes, at + 8, entry.physical >> 32U, 2);
      }
    }
  }

  std::uint64_t add_node(unsigned depth, const std::vector<ExtentEntry>& entries) {
    Buffer bytes(volume_.block_size());
    write_node(bytes, depth, entries);
    const std::size_t tail = 12 * (1 + capacity());
    if (seed_) put(bytes, tail, checksum(*seed_, Bytes(bytes).first(tail)), 4);
    const std::uint64_t block = take_();
    result_.added.push_back(block);
    write(volume_.device(), block * volume_.block_size(), bytes);
    return block;
  }

  void build_root(std::vector<Leaf> nodes) {
    unsigned depth = 1;
    const auto entries_of = [&](std::size_t begin, std::size_t end) {
      std::vector<ExtentEntry> entries;
      for (std::size_t i = begin; i < end; ++i) {
        entries.push_back({nodes[i].logical, 0, nodes[i].block, false});
      }
      return entries;
    };
    for (; nodes.size() > kRootEntries; ++depth) {
      std::vector<Leaf> above;
      for (std::size_t at = 0; at < nodes.size(); at += capacity()) {
        const std::size_t end = std::min(at + capacity(), nodes.size());
        above.push_back({nodes[at].logical, add_node(depth, entries_of(at, end))});
      }
      nodes = std::move(above);
    }
    write_node(result_.root, depth, entries_of(0, nodes.size()));
  }

  const Volume& volume_;
  const Inode& inode_;
  const TakeBlock& take_;
  std::optional<std::uint32_t> seed_;
  std::vector<Leaf> leaves_;
  RewrittenMap result_;
};

}  // namespace

RewrittenMap rewrite_extents(const Volume& volume, const Inode& inode,
                             const std::vector<WrittenRun>& runs, const TakeBlock& take) {
  return Rewrite(volume, inode, take).run(runs);
}

std::uint64_t most_new_extent_nodes(std::uint64_t block_size, std::uint64_t leaves,
                                    std::uint64_t runs, std::uint64_t blocks) {
  const std::uint64_t capacity = node_capacity(block_size);
  // A run lies in one leaf, or in a gap between two, unless it covers whole leaves of extents that
  // are unwritten, each of which has a block at least. It can split an extent of those in three.
  const std::uint64_t touched = std::min(leaves, 2 * runs + blocks);
  const std::uint64_t entries = 2 * (runs + touched) + blocks / kMostWritten;
  const std::uint64_t fresh = 2 * touched + entries / capacity;
  // All nodes above leaves are made anew.
  std::uint64_t above = 0;
  for (std::uint64_t level = leaves + fresh; level > kRootEntries;) {
    level = div_round_up(level, capacity);
    above += level;
  }
  return fresh + above;
}

std::uint64_t count_leaves(const Volume& volume, const Inode& inode) {
  const TakeBlock none;
  return Rewrite(volume, inode, none).leaves();
}

}  // namespace peelfs::ext
