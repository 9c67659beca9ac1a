#include "overlay/compare.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/storage.h"

namespace peelfs::overlay {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kChunk = 1U << 20U;
/// Damaged tables do not say how far the damage goes: it is looked again this far on.
constexpr std::uint64_t kUnreadableStep = 64U << 10U;

bool is_same(const Storage& a, const Storage& b) {
  if (&a == &b) return true;
  const StorageId one = a.identity();
  return one != StorageId() && one == b.identity();
}

bool all_zero(Bytes bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

class Comparer {
 public:
  Comparer(const BlockDevice& before, const BlockDevice& after) : before_(before), after_(after) {}

  Comparison run(const std::function<void(std::uint64_t)>& progress) {
    const std::uint64_t common = std::min(before_.size(), after_.size());
    for (std::uint64_t at = 0; at < common;) {
      at += step(at, common - at);
      if (progress) progress(at);
    }
    compare_tail(common);
    return std::move(result_);
  }

 private:
  struct Verdict {
    bool same = false;
    std::uint64_t length = 0;
  };

  /// @return how many bytes are dealt with
  std::uint64_t step(std::uint64_t at, std::uint64_t length) {
    try {
      const Verdict verdict = look(before_, at, after_, at, length);
      if (verdict.same) return verdict.length;
      // Sectors are compared as a whole, wherever places change.
      const std::uint64_t begin = round_down(at, kSector);
      const std::uint64_t end = std::min(round_up(at + verdict.length, kSector), at + length);
      const std::uint64_t part = std::min(end - begin, kChunk);
      read_and_compare(begin, part);
      return begin + part - at;
    } catch (const Error& error) {
      const std::uint64_t part =
          std::min(length, round_down(at, kUnreadableStep) + kUnreadableStep - at);
      if (result_.reason.empty()) result_.reason = error.what();
      result_.unreadable += part;
      return part;
    }
  }

  /// Whether the bytes are the same because they lie in the same place.
  Verdict look(const BlockDevice& a, std::uint64_t a_at, const BlockDevice& b, std::uint64_t b_at,
               std::uint64_t length) {
    if (&a == &b && a_at == b_at) return {true, length};
    const Resolved x = resolve(a, a_at, length);
    const Resolved y = resolve(b, b_at, x.extent.length);
    length = y.extent.length;
    if (x.extent.kind != y.extent.kind) return {false, length};
    switch (x.extent.kind) {
      case ExtentKind::zero:
        return {true, length};
      case ExtentKind::storage:
        return {x.extent.offset == y.extent.offset && is_same(*x.extent.storage, *y.extent.storage),
                length};
      default:
        return look_below(x, y, length);
    }
  }

  /// Bytes that are computed on both sides are the same if they are computed in the same way from
  /// the same bytes.
  Verdict look_below(const Resolved& x, const Resolved& y, std::uint64_t length) {
    if (x.device == y.device) return {x.offset == y.offset, length};
    const Extent from_x = x.device->computed_from(x.offset, length);
    const Extent from_y = y.device->computed_from(y.offset, length);
    length = std::min({length, from_x.length, from_y.length});
    if (from_x.kind != ExtentKind::lower || from_y.kind != ExtentKind::lower) {
      return {false, length};
    }
    const Verdict below =
        look(*from_x.device, from_x.offset, *from_y.device, from_y.offset, length);
    if (!below.same) return below;
    return {same_way(x, y), below.length};
  }

  /// Whether two devices compute alike (the same key, the same sector numbers): what is computed
  /// from the same bytes is looked at once.
  bool same_way(const Resolved& x, const Resolved& y) {
    const auto known = ways_.find({x.device, y.device});
    if (known != ways_.end()) return known->second;
    const std::size_t length =
        std::min<std::uint64_t>({4096, x.device->size() - x.offset, y.device->size() - y.offset});
    const bool same =
        read_bytes(*x.device, x.offset, length) == read_bytes(*y.device, y.offset, length);
    ways_.emplace(std::pair(x.device, y.device), same);
    return same;
  }

  void read_and_compare(std::uint64_t offset, std::uint64_t length) {
    old_.resize(length);
    new_.resize(length);
    read(before_, offset, old_);
    read(after_, offset, new_);
    compare(offset, old_, new_);
  }

  void compare(std::uint64_t offset, Bytes old_bytes, Bytes new_bytes) {
    for (std::size_t at = 0; at < old_bytes.size(); at += kSector) {
      const std::size_t length = std::min<std::size_t>(kSector, old_bytes.size() - at);
      const Bytes was = old_bytes.subspan(at, length);
      const Bytes is = new_bytes.subspan(at, length);
      if (std::memcmp(was.data(), is.data(), length) != 0) {
        add(offset + at, length, all_zero(is), all_zero(was));
      }
    }
  }

  void add(std::uint64_t offset, std::uint64_t length, bool zeroed, bool filled) {
    if (result_.runs.empty() || result_.runs.back().offset + result_.runs.back().length != offset) {
      result_.runs.push_back({offset, 0, 0, 0});
    }
    ChangedRun& run = result_.runs.back();
    run.length += length;
    run.zeroed += zeroed ? length : 0;
    run.filled += filled ? length : 0;
    result_.changed += length;
    result_.zeroed += zeroed ? length : 0;
    result_.filled += filled ? length : 0;
  }

  void compare_tail(std::uint64_t from) {
    const BlockDevice& longer = before_.size() > after_.size() ? before_ : after_;
    for (std::uint64_t at = from; at < longer.size();) {
      const Run run = block_status(longer, at, longer.size() - at);
      // Up to the next sector first, where the shorter one ends within one.
      const std::uint64_t most = at % kSector == 0 ? kChunk : kSector - at % kSector;
      const std::uint64_t part = run.data ? std::min(run.length, most) : run.length;
      if (run.data) {
        old_ = read_bytes(longer, at, part);
        new_.assign(part, std::byte{0});
        if (&longer == &after_) std::swap(old_, new_);
        compare(at, old_, new_);
      }
      at += part;
    }
  }

  const BlockDevice& before_;
  const BlockDevice& after_;
  Comparison result_;
  Buffer old_, new_;
  std::map<std::pair<const BlockDevice*, const BlockDevice*>, bool> ways_;
};

}  // namespace

Comparison compare_devices(const BlockDevice& before, const BlockDevice& after,
                           const std::function<void(std::uint64_t)>& progress) {
  return Comparer(before, after).run(progress);
}

}  // namespace peelfs::overlay
