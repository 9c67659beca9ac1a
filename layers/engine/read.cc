#include <algorithm>
#include <cstring>

#include "engine/computed.h"
#include "engine/epoch.h"
#include "engine/gather.h"
#include "engine/lent.h"
#include "engine/resolve.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

/// The read loop. @param to takes the pieces that were found, in order: in_storage(storage, offset,
/// length), zeroes(length), computed(device, offset, length)
template <typename Taker>
void take_all(const BlockDevice& device, std::uint64_t offset, std::uint64_t length, Taker& to) {
  check_range(device, offset, length);
  try {
    while (length != 0) {
      const Resolved at = resolve(device, offset, length);
      const std::uint64_t part = at.extent.length;
      switch (at.extent.kind) {
        case ExtentKind::storage:
          to.in_storage(*at.extent.storage, at.extent.offset, part);
          break;
        case ExtentKind::zero:
          to.zeroes(part);
          break;
        case ExtentKind::computed:
          to.computed(*at.device, at.offset, part);
          break;
        case ExtentKind::lower:
          break;  // resolve() never answers it
      }
      offset += part;
      length -= part;
    }
    to.finish();
  } catch (Error& error) {
    error.add_context(device.describe());
    throw;
  }
}

/// Everything into one buffer.
class Copied {
 public:
  explicit Copied(MutableBytes out) : rest_(out) {}
  void in_storage(const Storage& storage, std::uint64_t offset, std::uint64_t length) {
    gather_.add(storage, offset, take(length));
  }
  void zeroes(std::uint64_t length) { std::memset(take(length).data(), 0, length); }
  void computed(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
    read_computed(device, offset, take(length));
  }
  void finish() { gather_.finish(); }

 private:
  MutableBytes take(std::uint64_t length) {
    const MutableBytes part = rest_.first(length);
    rest_ = rest_.subspan(length);
    return part;
  }
  MutableBytes rest_;
  Gather gather_{Gather::Direction::read};
};

}  // namespace

void read(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  const Epochs::Request request;
  Copied copied(out);
  take_all(device, offset, out.size(), copied);
}

Lending lend(const BlockDevice& device, std::uint64_t offset, MutableBytes scratch,
             const std::function<void(std::span<const iovec>)>& hand_over) {
  // No place that is lent here may be used for other data before the kernel has copied it.
  const Epochs::Request request;
  Lent lent(scratch);
  take_all(device, offset, scratch.size(), lent);
  Lending lending{true, lent.computed_bytes(), lent.compute_unit()};
  if (!lent.holds()) {
    // It became shorter while other pieces were read or computed: reading says so.
    read(device, offset, scratch);
    const iovec whole{scratch.data(), scratch.size()};
    hand_over({&whole, 1});
    return lending;
  }
  hand_over(lent.pieces());
  lending.trusted = lent.holds();
  return lending;
}

Buffer read_bytes(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  check_range(device, offset, length);
  Buffer buffer(length);
  read(device, offset, buffer);
  return buffer;
}

Buffer read_up_to(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  if (offset >= device.size()) return {};
  return read_bytes(device, offset, std::min<std::uint64_t>(length, device.size() - offset));
}

Run block_status(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  const Epochs::Request request;
  const Resolved at = resolve(device, offset, length);
  switch (at.extent.kind) {
    case ExtentKind::zero:
      return {false, at.extent.length};
    case ExtentKind::storage:
      return at.extent.storage->status(at.extent.offset, at.extent.length);
    case ExtentKind::computed:
    case ExtentKind::lower:
      break;
  }
  return {true, at.extent.length};
}

}  // namespace peelfs
