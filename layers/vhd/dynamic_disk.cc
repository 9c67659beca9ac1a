#include "vhd/dynamic_disk.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

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
    const std::lock_guard lock(loading_);
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
  mutable std::mutex loading_;
};

class DynamicDisk final : public BlockDevice {
 public:
  DynamicDisk(DevicePtr file, const VhdDynamicHeader& header, std::uint64_t size,
              std::string description)
      : BlockDevice(size),
        file_(std::move(file)),
        table_(file_, header.table_offset, header.max_table_entries),
        block_size_(header.block_size),
        // One bit for each sector, in whole sectors.
        bitmap_size_(round_up(div_round_up(header.block_size / kSector, 8), kSector)),
        description_(std::move(description)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t block = offset / block_size_;
    const std::uint64_t within = offset % block_size_;
    std::uint64_t run = std::min(length, block_size_ - within);
    const std::uint32_t entry = table_.entry(block);
    if (entry == kAbsent) {
      // As many as are absent together, within reason.
      for (std::uint64_t next = block + 1; run < length && next - block < 1024; ++next) {
        if (table_.entry(next) != kAbsent) break;
        run = std::min(length, run + block_size_);
      }
      return Extent::zeroes(run);
    }
    const std::uint64_t place = std::uint64_t{entry} * kSector + bitmap_size_ + within;
    if (place + run > file_->size()) {
      throw Error(Fault::damaged, "block " + std::to_string(block) +
                                      " of the VHD image lies outside "
                                      "of the file")
          .found("an end at byte " + figure(place + run))
          .expected("at most " + std::to_string(file_->size()))
          .advice(
              "the file is truncated, or its block allocation table is damaged: look for a whole "
              "copy of it")
          .with_errno(EIO);
    }
    return Extent::in_device(*file_, place, run);
  }

  std::uint64_t allocated_bytes() const override {
    return std::min(size(), file_->allocated_bytes());
  }
  std::string read_only_reason() const override {
    return "dynamic VHD images can only be read; qemu-img convert makes a qcow2 or raw one of it";
  }
  std::string describe() const override { return description_; }

 private:
  const DevicePtr file_;
  const BlockTable table_;
  const std::uint64_t block_size_;
  const std::uint64_t bitmap_size_;
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
