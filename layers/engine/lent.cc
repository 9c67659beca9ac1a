#include "engine/lent.h"

#include <algorithm>
#include <cstring>

#include "engine/computed.h"
#include "peelfs/storage.h"

namespace peelfs {

void Lent::add(const std::byte* memory, std::uint64_t length) {
  if (count_ != 0) {
    iovec& last = pieces_[count_ - 1];
    if (static_cast<const std::byte*>(last.iov_base) + last.iov_len == memory) {
      last.iov_len += length;
      return;
    }
  }
  // iovec has no const; the kernel only reads.
  pieces_[count_++] = {const_cast<std::byte*>(memory), length};
}

MutableBytes Lent::scratch(std::uint64_t length) {
  const MutableBytes part = rest_.first(length);
  rest_ = rest_.subspan(length);
  add(part.data(), length);
  return part;
}

void Lent::in_storage(const Storage& storage, std::uint64_t offset, std::uint64_t length) {
  // One piece is always left for the scratch memory that takes all the rest.
  if (length >= kLeastLent && count_ + 2 < kMaxPieces) {
    Lender* const from = lender(storage);
    const std::byte* const memory = from != nullptr ? storage.lend(offset, length) : nullptr;
    if (memory != nullptr) {
      from->end = std::max(from->end, offset + length);
      add(memory, length);
      return;
    }
  }
  gather_.add(storage, offset, scratch(length));
}

Lent::Lender* Lent::lender(const Storage& storage) {
  for (std::size_t i = 0; i < storages_; ++i) {
    if (lenders_[i].storage == &storage) return &lenders_[i];
  }
  if (storages_ == kMaxStorages) return nullptr;
  lenders_[storages_].storage = &storage;
  return &lenders_[storages_++];
}

bool Lent::holds() const noexcept {
  bool all = true;
  for (std::size_t i = 0; i < storages_; ++i) {
    all = (lenders_[i].end == 0 || lenders_[i].storage->reaches(lenders_[i].end)) && all;
  }
  return all;
}

void Lent::zeroes(std::uint64_t length) {
  std::memset(scratch(length).data(), 0, length);
}

void Lent::computed(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  read_computed(device, offset, scratch(length));
  computed_ += length;
  unit_ = std::max(unit_, device.compute_unit());
}

}  // namespace peelfs
