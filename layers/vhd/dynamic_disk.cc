#include "vhd/dynamic_disk.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kAbsent = 0xFFFF'FFFF;
/// Blocks of 64 KiB of a disk of 2 TiB: less than what any program makes.
constexpr std::uint32_t kMostEntries = 1U << 25U;

/// The block allocation table, read page by page when it is asked. Thread-safe.
class BlockTable {
 public:
  BlockTable(DevicePtr file, std::uint64_t offset, std::uint32_t entries)
      : file_(std::move(file)),
        offset_(offset),
        entries_(entries),
        pages_(div_round_up(entries, kPerPage)) {}
  ~BlockTable() {
    for (auto& page : pages_) delete page.load(std::memory_order_relaxed);
  }
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  /// @return the sector of the file at which a block begins with its bitmap; kAbsent
  std::uint32_t entry(std::uint64_t block) const {
    const std::size_t number = block / kPerPage;
    const Page* page = pages_[number].load(std::memory_order_acquire);
    if (page == nullptr) page = load(number);
    return (*page)[block % kPerPage];
  }

 private:
  static constexpr std::size_t kPerPage = 4096;
  using Page = std::array<std::uint32_t, kPerPage>;

  const Page* load(std::size_t number) const {
    const MutexLock lock(loading_);
    if (const Page* page = pages_[number].load(std::memory_order_acquire)) return page;
    const std::size_t first = number * kPerPage;
    const std::size_t count = std::min(kPerPage, entries_ - first);
    const Buffer bytes = read_bytes(*file_, offset_ + first * 4, count * 4);
    const ByteReader reader(bytes, "VHD block allocation table");
    auto page = std::make_unique<Page>();
    for (std::size_t i = 0; i < count; ++i) (*page)[i] = reader.be32(i * 4);
    const Page* const result = page.release();  // the table owns it from here on
    pages_[number].store(result, std::memory_order_release);
    return result;
  }

  const DevicePtr file_;
  const std::uint64_t offset_;
  const std::size_t entries_;
  mutable std::vector<std::atomic<const Page*>> pages_;
  mutable Mutex loading_;  ///< held to add a page, so that each is read once
};

/// The bitmaps in front of blocks: which sectors of a block are there. Thread-safe.
class Bitmaps {
 public:
  Bitmaps(DevicePtr file, std::uint64_t size) : file_(std::move(file)), size_(size) {}

  /// @param place of the bitmap in the file, in bytes
  std::shared_ptr<const Buffer> at(std::uint64_t place) const {
    const MutexLock lock(mutex_);
    if (const auto known = known_.find(place); known != known_.end()) return known->second;
    auto bitmap = std::make_shared<const Buffer>(read_bytes(*file_, place, size_));
    if ((known_.size() + 1) * size_ > kMostBytes) known_.clear();
    known_.emplace(place, bitmap);
    return bitmap;
  }

 private:
  static constexpr std::uint64_t kMostBytes = 4U << 20U;
  const DevicePtr file_;
  const std::uint64_t size_;
  mutable Mutex mutex_;
  mutable std::map<std::uint64_t, std::shared_ptr<const Buffer>> known_ PEELFS_GUARDED_BY(mutex_);
};

class DynamicDisk final : public BlockDevice {
 public:
  DynamicDisk(DevicePtr file, const VhdDynamicHeader& header, std::uint64_t size,
              std::string description)
      : BlockDevice(size),
        file_(std::move(file)),
        header_(header),
        table_(file_, header.table_offset, header.max_table_entries),
        block_size_(header.block_size),
        // One bit for each sector, in whole sectors.
        bitmap_size_(round_up(div_round_up(header.block_size / kSector, 8), kSector)),
        bitmaps_(file_, bitmap_size_),
        description_(std::move(description)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t block = offset / block_size_;
    const std::uint32_t entry = table_.entry(block);
    if (entry == kAbsent) return Extent::zeroes(absent_from(offset, length));
    const std::uint64_t place = std::uint64_t{entry} * kSector;
    check_place(block, place);
    const std::uint64_t within = offset % block_size_;
    const std::uint64_t most = std::min(length, block_size_ - within);
    const std::shared_ptr<const Buffer> bitmap = bitmaps_.at(place);
    const bool is_there = bit(*bitmap, within / kSector);
    std::uint64_t end = round_down(within, kSector) + kSector;
    while (end < within + most && bit(*bitmap, end / kSector) == is_there) end += kSector;
    const std::uint64_t run = std::min(most, end - within);
    // What a program put there before the block was made is not the disk's.
    if (!is_there) return Extent::zeroes(run);
    const std::uint64_t data = place + bitmap_size_ + within;
    if (data >= file_->size()) throw outside(block, data + run);
    return Extent::in_device(*file_, data, std::min(run, file_->size() - data));
  }

  std::uint64_t allocated_bytes() const override {
    return std::min(size(), file_->allocated_bytes());
  }
  std::string read_only_reason() const override {
    return "dynamic VHD images can only be read; qemu-img convert makes a qcow2 or raw one of it";
  }
  std::string describe() const override { return description_; }

 private:
  /// Most significant first.
  static bool bit(const Buffer& bitmap, std::uint64_t sector) {
    return (std::to_integer<unsigned>(bitmap[sector / 8]) >> (7 - sector % 8) & 1U) != 0;
  }

  /// Bytes from there on that are in absent blocks, as many as are absent together, within reason.
  std::uint64_t absent_from(std::uint64_t offset, std::uint64_t length) const {
    std::uint64_t run = std::min(length, block_size_ - offset % block_size_);
    const std::uint64_t block = offset / block_size_;
    try {
      for (std::uint64_t next = block + 1; run < length && next - block < 1024; ++next) {
        if (table_.entry(next) != kAbsent) break;
        run = std::min(length, run + block_size_);
      }
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): said when that block is read
    }
    return run;
  }

  void check_place(std::uint64_t block, std::uint64_t place) const {
    const std::uint64_t end = place + bitmap_size_ + block_size_;
    const auto overlaps = [&](std::uint64_t begin, std::uint64_t length) {
      return place < begin + length && begin < end;
    };
    if (overlaps(0, VhdFooter::kSize) || overlaps(header_.offset, VhdDynamicHeader::kSize) ||
        overlaps(header_.table_offset, std::uint64_t{header_.max_table_entries} * 4)) {
      throw Error(Fault::damaged, "block " + std::to_string(block) +
                                      " of the VHD image lies on the image's own tables")
          .found("byte " + figure(place))
          .expected("a place behind the header and the block allocation table")
          .advice("the block allocation table is damaged: look for a whole copy of the image")
          .with_errno(EIO);
    }
    if (place + bitmap_size_ > file_->size()) throw outside(block, place + bitmap_size_);
  }

  Error outside(std::uint64_t block, std::uint64_t end) const {
    return Error(Fault::damaged,
                 "block " + std::to_string(block) + " of the VHD image lies outside of the file")
        .found("an end at byte " + figure(end))
        .expected("at most " + std::to_string(file_->size()))
        .advice(
            "the file is truncated, or its block allocation table is damaged: look for a whole "
            "copy of it")
        .with_errno(EIO);
  }

  const DevicePtr file_;
  const VhdDynamicHeader header_;
  const BlockTable table_;
  const std::uint64_t block_size_;
  const std::uint64_t bitmap_size_;
  const Bitmaps bitmaps_;
  const std::string description_;
};

}  // namespace

DevicePtr make_vhd_dynamic_disk(DevicePtr file, const VhdDynamicHeader& header, std::uint64_t size,
                                std::string description) {
  if (!std::has_single_bit(header.block_size) || header.block_size < kSector) {
    throw Error(Fault::damaged, "Block Size of the VHD image is wrong")
        .found(std::to_string(header.block_size) + " bytes")
        .expected("a power of two from 512 on");
  }
  if (header.max_table_entries > kMostEntries) {
    throw Error(Fault::unsupported, "the block allocation table of the VHD image is too large")
        .found(std::to_string(header.max_table_entries) + " entries")
        .expected("at most " + std::to_string(kMostEntries));
  }
  const std::uint64_t described = std::uint64_t{header.max_table_entries} * header.block_size;
  if (size > described) {
    throw Error(Fault::damaged, "the VHD image's disk is larger than its table describes")
        .found(figure(size) + " bytes")
        .expected("at most " + figure(described));
  }
  const std::uint64_t length = std::uint64_t{header.max_table_entries} * 4;
  if (header.table_offset > file->size() || length > file->size() - header.table_offset) {
    throw Error(Fault::damaged,
                "the block allocation table of the VHD image lies outside of the file")
        .found("an offset of " + figure(header.table_offset) + " and " + std::to_string(length) +
               " bytes")
        .expected("an end at or before " + std::to_string(file->size()))
        .advice("the file is truncated: look for a whole copy of it");
  }
  return std::make_shared<DynamicDisk>(std::move(file), header, size, std::move(description));
}

}  // namespace peelfs
