// What a read finds, as pieces of memory for the kernel: shown where it lies if it can be.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "engine/gather.h"
#include "peelfs/block_device.h"

namespace peelfs {

/// Lives on the stack of one request; allocates nothing. Takes what the read loop finds, in order.
class Lent {
 public:
  /// @param scratch for what must be copied or computed; as long as what is read
  explicit Lent(MutableBytes scratch) : rest_(scratch) {}

  void in_storage(const Storage& storage, std::uint64_t offset, std::uint64_t length);
  void zeroes(std::uint64_t length);
  void computed(const BlockDevice& device, std::uint64_t offset, std::uint64_t length);
  void finish() { gather_.finish(); }

  std::span<const iovec> pieces() const noexcept { return {pieces_.data(), count_}; }

  /// Bytes that had to be computed, and the largest compute_unit() of the devices that computed
  /// them.
  std::uint64_t computed_bytes() const noexcept { return computed_; }
  std::uint32_t compute_unit() const noexcept { return unit_; }

  /// Whether every storage of which something was lent is still as long as that.
  bool holds() const noexcept;

 private:
  /// A system call takes 1024. Each costs the kernel some work; what is scattered over more of them
  /// is copied.
  static constexpr std::size_t kMaxPieces = 128;
  /// Less than this is read: asking whether it is in the cache costs as much as copying it.
  static constexpr std::size_t kLeastLent = 16384;
  /// Striped volumes have as many as that.
  static constexpr std::size_t kMaxStorages = 16;

  struct Lender {
    const Storage* storage = nullptr;
    std::uint64_t end = 0;  ///< of what it has lent, bytes
  };

  void add(const std::byte* memory, std::uint64_t length);
  MutableBytes scratch(std::uint64_t length);
  /// @return null: there are too many already
  Lender* lender(const Storage& storage);

  MutableBytes rest_;  ///< of the scratch memory; always long enough for what is still to come
  Gather gather_{Gather::Direction::read};
  std::array<iovec, kMaxPieces> pieces_;
  std::size_t count_ = 0;
  std::array<Lender, kMaxStorages> lenders_;
  std::size_t storages_ = 0;
  std::uint64_t computed_ = 0;
  std::uint32_t unit_ = 0;
};

}  // namespace peelfs
