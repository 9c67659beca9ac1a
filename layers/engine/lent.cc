#include "engine/lent.h"

#include <cstring>

#include "engine/computed.h"
#include "peelfs/host_file.h"

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

void Lent::in_file(const HostFile& file, std::uint64_t offset, std::uint64_t length) {
  // One piece is always left for the scratch memory that takes all the rest.
  if (length >= least_lent && count_ + 2 < max_pieces) {
    if (const std::byte* const memory = file.lend(offset, length); memory != nullptr) {
      add(memory, length);
      return;
    }
  }
  gather_.add(file, offset, scratch(length));
}

void Lent::zeroes(std::uint64_t length) {
  std::memset(scratch(length).data(), 0, length);
}

void Lent::computed(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  read_computed(device, offset, scratch(length));
}

}  // namespace peelfs
