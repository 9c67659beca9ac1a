#include "ext/write/allocator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "ext/channel.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {

// Structures of the disk that the library holds in memory are written without conversion.
static_assert(std::endian::native == std::endian::little);

namespace {

// 4 TiB in blocks of 4 KiB: their bitmaps are 128 MiB to read.
constexpr std::uint64_t kMostGroups = 32768;

// Offsets in the super block.
constexpr std::size_t kReservedLow = 0x08, kFreeLow = 0x0c, kState = 0x3a;
constexpr std::size_t kReservedHigh = 0x154, kFreeHigh = 0x158, kSuperChecksum = 0x3fc;
constexpr std::size_t kUnusedField = 0xc8;  // s_algorithm_usage_bitmap, for compression
constexpr std::size_t kSector = 512;

void put(Buffer& bytes, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
  }
}

/// The checksum lies in the second sector of the super block, and what changes in the first. So the
/// checksum stays, and a field that no implementation has ever used makes up for the change: a
/// checksum is linear in its bits, and any value can be had by 32 of them.
void keep_checksum(Buffer& bytes) {
  const auto sum_with = [&bytes](std::uint32_t value) {
    put(bytes, kUnusedField, value, 4);
    return checksum(~0U, Bytes(bytes).first(kSuperChecksum));
  };
  const std::uint32_t zero = sum_with(0);
  std::uint32_t missing = zero ^ ByteReader(bytes, "ext super block").le32(kSuperChecksum);
  // Each bit of the field changes some bits of the sum; brought into a form in which each of these
  // rows alone decides on its highest bit.
  struct Row {
    std::uint32_t sum = 0, field = 0;
  };
  std::array<Row, 32> by_highest_bit{};
  for (unsigned bit = 0; bit < 32; ++bit) {
    Row row{sum_with(1U << bit) ^ zero, 1U << bit};
    while (row.sum != 0) {
      Row& known = by_highest_bit.at(31U - static_cast<unsigned>(std::countl_zero(row.sum)));
      if (known.sum == 0) {
        known = row;
        break;
      }
      row = {row.sum ^ known.sum, row.field ^ known.field};
    }
  }
  std::uint32_t value = 0;
  while (missing != 0) {
    const Row& row = by_highest_bit.at(31U - static_cast<unsigned>(std::countl_zero(missing)));
    if (row.sum == 0) throw Error(Fault::io, "the super block's checksum cannot be kept");
    missing ^= row.sum;
    value ^= row.field;
  }
  put(bytes, kUnusedField, value, 4);
}

[[noreturn]] void fail(errcode_t code, const std::string& what) {
  throw Error(Fault::damaged, what).found(error_message(code)).advice("run e2fsck first");
}

}  // namespace

Allocator::Allocator(std::shared_ptr<const Volume> volume)
    : volume_(std::move(volume)), channel_(std::make_unique<DeviceChannel>(volume_->device())) {
  const SuperBlock& super = volume_->super();
  if (super.group_count() > kMostGroups) {
    throw Error(Fault::unsupported, "the filesystem is too large to allocate space in")
        .found(std::to_string(super.group_count()) + " block groups")
        .expected("at most " + std::to_string(kMostGroups))
        .with_errno(ENOSPC);
  }
  if (const errcode_t code =
          channel_->open(EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, &handle_)) {
    fail(code, "libext2fs cannot open the filesystem");
  }
  if (const errcode_t code = ext2fs_read_block_bitmap(handle_)) {
    ext2fs_free(handle_);
    fail(code, "the bitmaps of free blocks cannot be read");
  }
  const Buffer bytes = read_bytes(volume_->device(), kSuperBlockOffset, kSuperBlockSize);
  const ByteReader reader(bytes, "ext super block");
  const bool high = super.has_incompat(kIncompat64bit);
  free_ = reader.le32(kFreeLow) | (high ? std::uint64_t{reader.le32(kFreeHigh)} << 32U : 0);
  reserved_ =
      reader.le32(kReservedLow) | (high ? std::uint64_t{reader.le32(kReservedHigh)} << 32U : 0);
}

Allocator::~Allocator() {
  ext2fs_free(handle_);
}

Allocator::Run Allocator::take(std::uint64_t goal, std::uint64_t most) {
  const std::uint64_t first = volume_->super().first_data_block + 1;
  const std::uint64_t last = volume_->super().blocks_count - 1;
  if (goal < first || goal > last) goal = first;
  blk64_t begin = 0;
  if (ext2fs_find_first_zero_block_bitmap2(handle_->block_map, goal, last, &begin) != 0 &&
      (goal == first ||
       ext2fs_find_first_zero_block_bitmap2(handle_->block_map, first, goal - 1, &begin) != 0)) {
    throw Error(Fault::denied, "the filesystem that holds the file is full").with_errno(ENOSPC);
  }
  const std::uint64_t limit = std::min<std::uint64_t>(last, begin + most - 1);
  blk64_t used = 0;
  Run run{begin, limit - begin + 1};
  if (ext2fs_find_first_set_block_bitmap2(handle_->block_map, begin, limit, &used) == 0) {
    run.count = used - begin;
  }
  give_space(run);
  mark(run, true);
  return run;
}

void Allocator::give_back(Run run) {
  mark(run, false);
}

void Allocator::give_space(Run run) {
  const dgrp_t last = ext2fs_group_of_blk2(handle_, run.first + run.count - 1);
  for (dgrp_t group = ext2fs_group_of_blk2(handle_, run.first); group <= last; ++group) {
    if (has_space_.contains(group)) continue;
    const std::uint64_t block_size = volume_->super().block_size;
    claim_space(volume_->device(), bitmap_place(group), block_size);
    claim_space(volume_->device(), round_down(descriptor_place(group), block_size), block_size);
    has_space_.insert(group);
  }
}

std::uint64_t Allocator::bitmap_place(std::uint32_t group) const {
  const std::uint64_t block = ext2fs_block_bitmap_loc(handle_, group);
  volume_->check_blocks(block, 1, "a bitmap of free blocks");
  return block * volume_->super().block_size;
}

std::uint64_t Allocator::descriptor_place(std::uint32_t group) const {
  const SuperBlock& super = volume_->super();
  const std::uint64_t per_block = super.block_size / super.descriptor_size;
  const std::uint64_t table = ext2fs_descriptor_block_loc2(handle_, super.first_data_block,
                                                           static_cast<dgrp_t>(group / per_block));
  return table * super.block_size + group % per_block * super.descriptor_size;
}

void Allocator::mark(Run run, bool used) {
  for (std::uint64_t block = run.first; block < run.first + run.count; ++block) {
    if ((ext2fs_test_block_bitmap2(handle_->block_map, block) != 0) == used) {
      throw Error(Fault::damaged, "block " + std::to_string(block) +
                                      (used ? " is in use already" : " is free already"))
          .advice("run e2fsck");
    }
    if (used) {
      ext2fs_mark_block_bitmap2(handle_->block_map, block);
    } else {
      ext2fs_unmark_block_bitmap2(handle_->block_map, block);
    }
    const dgrp_t group = ext2fs_group_of_blk2(handle_, block);
    const std::uint32_t free = ext2fs_bg_free_blocks_count(handle_, group);
    ext2fs_bg_free_blocks_count_set(handle_, group, used ? (free > 0 ? free - 1 : 0) : free + 1);
    changed_.insert(group);
  }
  free_ = used ? free_ - std::min(free_, run.count) : free_ + run.count;
}

std::uint64_t Allocator::inode_offset(std::uint32_t number) const {
  const SuperBlock& super = volume_->super();
  const std::uint32_t group = (number - 1) / super.inodes_per_group;
  const std::uint64_t table = ext2fs_inode_table_loc(handle_, group);
  const std::uint64_t within =
      std::uint64_t{(number - 1) % super.inodes_per_group} * super.inode_size;
  volume_->check_blocks(table, within / super.block_size + 1, "an inode table");
  return table * super.block_size + within;
}

void Allocator::write_groups() {
  const SuperBlock& super = volume_->super();
  const std::size_t bitmap_bytes = super.blocks_per_group / 8;
  for (const std::uint32_t group : changed_) {
    // As libext2fs does it in write_bitmaps(): what belongs to no block counts as used.
    Buffer bitmap(super.block_size, std::byte{0xff});
    const std::uint64_t first = ext2fs_group_first_block2(handle_, group);
    if (const errcode_t code = ext2fs_get_block_bitmap_range2(
            handle_->block_map, first, std::size_t{bitmap_bytes} * 8, bitmap.data())) {
      fail(code, "the bitmap of block group " + std::to_string(group) + " cannot be made");
    }
    const std::uint64_t blocks = ext2fs_group_last_block2(handle_, group) - first + 1;
    for (std::uint64_t bit = blocks; bit < 8 * bitmap.size(); ++bit) {
      bitmap[bit / 8] |= static_cast<std::byte>(1U << (bit % 8));
    }
    const std::uint64_t place = bitmap_place(group);
    ext2fs_bg_flags_clear(handle_, group, EXT2_BG_BLOCK_UNINIT);
    ext2fs_block_bitmap_csum_set(handle_, group, reinterpret_cast<char*>(bitmap.data()),
                                 static_cast<int>(bitmap_bytes));
    ext2fs_group_desc_csum_set(handle_, group);
    write(volume_->device(), place, bitmap);
    // One descriptor lies in one sector, so after a power cut it is the old or the new one.
    const void* descriptor = ext2fs_group_desc(handle_, handle_->group_desc, group);
    write(volume_->device(), descriptor_place(group),
          {static_cast<const std::byte*>(descriptor), super.descriptor_size});
  }
  changed_.clear();
}

void Allocator::write_super(bool valid) {
  const SuperBlock& super = volume_->super();
  Buffer bytes = read_bytes(volume_->device(), kSuperBlockOffset, kSuperBlockSize);
  const std::uint16_t before = ByteReader(bytes, "ext super block").le16(kState);
  put(bytes, kState, valid ? before | kStateValid : before & ~kStateValid, 2);
  put(bytes, kFreeLow, free_ & 0xffffffffU, 4);
  if (super.has_incompat(kIncompat64bit)) put(bytes, kFreeHigh, free_ >> 32U, 4);
  if (super.has_ro_compat(kRoCompatMetadataCsum)) keep_checksum(bytes);
  // All changes lie in one sector, so after a power cut the super block is the old or the new one.
  // A small filesystem has no copy of it.
  write(volume_->device(), kSuperBlockOffset, Bytes(bytes).first(kSector));
}

}  // namespace peelfs::ext
