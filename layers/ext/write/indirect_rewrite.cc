#include <map>

#include "ext/write/map_rewrite.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {

namespace {

class Rewrite {
 public:
  Rewrite(const Volume& volume, const Inode& inode, const TakeBlock& take)
      : volume_(volume), take_(take), fan_out_(volume.block_size() / 4) {
    result_.root = inode.block;
  }

  RewrittenMap run(const std::vector<WrittenRun>& runs) {
    for (const WrittenRun& run : runs) {
      for (std::uint64_t i = 0; i < run.blocks; ++i) set(run.logical + i, run.physical + i);
    }
    for (auto& [block, node] : nodes_) {
      if (node.fresh) {
        result_.added.push_back(block);
        write(volume_.device(), std::uint64_t{block} * volume_.block_size(), node.bytes);
      } else if (node.changed) {
        result_.late.emplace_back(block, std::move(node.bytes));
      }
    }
    return std::move(result_);
  }

 private:
  struct Node {
    Buffer bytes;
    bool fresh = false, changed = false;
  };

  static std::uint32_t get(Bytes bytes, std::uint64_t index) {
    return ByteReader(bytes, "block map").le32(4 * index);
  }
  static void put(MutableBytes bytes, std::uint64_t index, std::uint64_t value) {
    if (value >> 32U != 0) {
      throw Error(Fault::denied, "no block within reach of the file's block map is free")
          .with_errno(ENOSPC);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      bytes[4 * index + i] = static_cast<std::byte>(value >> (8 * i));
    }
  }

  void set(std::uint64_t logical, std::uint64_t physical) {
    if (logical < 12) {
      put(result_.root, logical, physical);
      return;
    }
    std::uint64_t rest = logical - 12, covered = fan_out_;
    std::uint64_t slot = 12;  // in i_block
    for (; slot < 15 && rest >= covered; ++slot, covered *= fan_out_) rest -= covered;
    if (slot == 15) throw Error(Fault::denied, "the file's block map is full").with_errno(EFBIG);
    std::uint32_t block = get(result_.root, slot);
    if (block == 0) {
      block = add();
      put(result_.root, slot, block);
    }
    for (covered /= fan_out_; covered > 1; covered /= fan_out_) {
      const std::uint64_t index = rest / covered;
      rest %= covered;
      std::uint32_t child = get(load(block).bytes, index);
      if (child == 0) {
        child = add();
        change(block, index, child);
      }
      block = child;
    }
    change(block, rest, physical);
  }

  void change(std::uint32_t block, std::uint64_t index, std::uint64_t value) {
    Node& node = load(block);
    if (get(node.bytes, index) == value) return;
    put(node.bytes, index, value);
    node.changed = true;
  }

  Node& load(std::uint32_t block) {
    const auto found = nodes_.find(block);
    if (found != nodes_.end()) return found->second;
    volume_.check_blocks(block, 1, "an indirect block");
    return nodes_[block] = {volume_.read_block(block), false, false};
  }

  std::uint32_t add() {
    const std::uint64_t block = take_();
    if (block >> 32U != 0) {
      throw Error(Fault::denied, "no block within reach of the file's block map is free")
          .with_errno(ENOSPC);
    }
    nodes_[static_cast<std::uint32_t>(block)] = {Buffer(volume_.block_size()), true, false};
    return static_cast<std::uint32_t>(block);
  }

  const Volume& volume_;
  const TakeBlock& take_;
  const std::uint64_t fan_out_;
  std::map<std::uint32_t, Node> nodes_;
  RewrittenMap result_;
};

}  // namespace

RewrittenMap rewrite_indirect(const Volume& volume, const Inode& inode,
                              const std::vector<WrittenRun>& runs, const TakeBlock& take) {
  return Rewrite(volume, inode, take).run(runs);
}

std::uint64_t most_new_indirect_blocks(std::uint64_t block_size, std::uint64_t runs,
                                       std::uint64_t blocks) {
  const std::uint64_t fan_out = block_size / 4;
  // Those that point to data, those above them, and the one above all.
  const std::uint64_t lowest = 2 * runs + blocks / fan_out;
  return lowest + std::min(lowest, 2 * runs + lowest / fan_out) + 1;
}

}  // namespace peelfs::ext
