#include <array>
#include <span>
#include <vector>

#include "ext/read/block_map.h"
#include "ext/read/node_cache.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

constexpr std::size_t kDirectBlocks = 12;  // EXT4_NDIR_BLOCKS
constexpr unsigned kIndirectLevels = 3;    // i_block[12] to i_block[14]

class IndirectMap : public BlockMap {
 public:
  IndirectMap(std::shared_ptr<const Volume> volume, const Inode& inode)
      : volume_(std::move(volume)), inode_(inode.number), fan_out_(volume_->block_size() / 4) {
    const ByteReader reader(inode.block, "i_block");
    for (std::size_t i = 0; i < roots_.size(); ++i) roots_.at(i) = reader.le32(4 * i);
    direct_runs_ = find_runs(std::span(roots_).first(kDirectBlocks));
  }

  BlockRun at(std::uint64_t logical) const override {
    if (logical < kDirectBlocks) {
      return run(std::span(roots_).first(kDirectBlocks), direct_runs_, logical);
    }
    std::uint64_t rest = logical - kDirectBlocks;
    std::uint64_t covered = fan_out_;  // blocks below one root of this level; at most 2^42
    for (unsigned level = 0; level < kIndirectLevels; ++level, covered *= fan_out_) {
      if (rest < covered) return descend(roots_.at(kDirectBlocks + level), level, rest, covered);
      rest -= covered;
    }
    throw Error(Fault::damaged, "the file is longer than its indirect blocks can map")
        .found("block " + std::to_string(logical))
        .expected("below " + std::to_string(logical - rest));
  }

 private:
  /// @param level how many levels of indirect blocks are below `block` itself
  /// @param covered blocks of the file that hang below `block`
  BlockRun descend(std::uint32_t block, unsigned level, std::uint64_t rest,
                   std::uint64_t covered) const {
    while (block != 0) {
      const std::shared_ptr<const MapNode> node = load(block);
      if (level == 0) return run(node->pointers, node->runs, rest);
      --level;
      covered /= fan_out_;
      block = node->pointers.at(rest / covered);
      rest %= covered;
    }
    return {covered - rest, std::nullopt, std::nullopt};
  }

  /// See MapNode::runs.
  static std::vector<std::uint16_t> find_runs(std::span<const std::uint32_t> pointers) {
    std::vector<std::uint16_t> runs(pointers.size(), 1);
    for (std::size_t i = pointers.size() - 1; i-- > 0;) {
      const std::uint64_t next = pointers[i] == 0 ? 0 : std::uint64_t{pointers[i]} + 1;
      if (pointers[i + 1] == next) runs[i] = static_cast<std::uint16_t>(runs[i + 1] + 1);
    }
    return runs;
  }

  /// What stands at `index`, with the neighbours that continue it.
  BlockRun run(std::span<const std::uint32_t> pointers, const std::vector<std::uint16_t>& runs,
               std::size_t index) const {
    const std::uint64_t first = pointers[index];
    const std::uint64_t count = runs.at(index);
    if (first == 0) return {count, std::nullopt, std::nullopt};
    volume_->check_blocks(first, 1, "a block of the file");
    // Of a run that leaves the filesystem the part inside is good.
    return {std::min(count, volume_->super().blocks_count - first), first, std::nullopt};
  }

  std::shared_ptr<const MapNode> load(std::uint32_t block) const {
    const NodeKey key{volume_->id(), inode_, block};
    if (std::shared_ptr<const MapNode> node = find_node(key)) return node;
    volume_->check_blocks(block, 1, "an indirect block");
    const Buffer bytes = volume_->read_block(block);
    const ByteReader reader(bytes, "indirect block");
    auto node = std::make_shared<MapNode>();
    node->pointers.reserve(fan_out_);
    for (std::size_t i = 0; i < fan_out_; ++i) node->pointers.push_back(reader.le32(4 * i));
    node->runs = find_runs(node->pointers);
    keep_node(key, node);
    return node;
  }

  const std::shared_ptr<const Volume> volume_;
  const std::uint32_t inode_;
  const std::uint64_t fan_out_;  ///< block numbers in one block
  std::array<std::uint32_t, kDirectBlocks + kIndirectLevels> roots_{};
  std::vector<std::uint16_t> direct_runs_;  ///< of the first of them
};

}  // namespace

std::unique_ptr<BlockMap> make_indirect_map(std::shared_ptr<const Volume> volume,
                                            const Inode& inode) {
  return std::make_unique<IndirectMap>(std::move(volume), inode);
}

}  // namespace peelfs::ext
