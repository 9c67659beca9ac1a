#include "peel/layout.h"

#include <algorithm>
#include <map>

#include "peelfs/error.h"

namespace peelfs {
namespace {

constexpr std::size_t kMostPieces = 65'536;
constexpr unsigned kMostLayers = 64;

class Walk {
 public:
  Walk(const Catalog& catalog, const BlockDevice& whole) : whole_(whole) {
    for (const Catalog::Entry& entry : catalog.devices()) {
      names_.emplace(entry.node->device.get(), &entry.name);
    }
  }

  /// @return false: it cannot be said where
  bool down(const BlockDevice& device, std::uint64_t offset, std::uint64_t length, std::uint64_t at,
            unsigned layers = 0) {
    const auto name = names_.find(&device);
    if (&device != &whole_ && name != names_.end()) {
      add({at, length, *name->second, offset});
      return pieces_.size() <= kMostPieces;
    }
    while (length != 0) {
      const Extent extent = device.map(offset, length);
      const bool lower = extent.kind == ExtentKind::lower && layers < kMostLayers;
      if (!lower || extent.length == 0 || extent.length > length ||
          !down(*extent.device, extent.offset, extent.length, at, layers + 1)) {
        return false;
      }
      offset += extent.length;
      at += extent.length;
      length -= extent.length;
    }
    return true;
  }

  std::vector<PieceOfLayout> take() { return std::move(pieces_); }

 private:
  void add(PieceOfLayout piece) {
    if (!pieces_.empty()) {
      PieceOfLayout& last = pieces_.back();
      if (last.on == piece.on && last.offset + last.length == piece.offset) {
        last.length += piece.length;
        return;
      }
    }
    pieces_.push_back(std::move(piece));
  }

  const BlockDevice& whole_;
  std::map<const BlockDevice*, const std::string*> names_;
  std::vector<PieceOfLayout> pieces_;
};

/// The rest of a piece, from offset `at` of the device on.
PieceOfLayout from(const PieceOfLayout& piece, std::uint64_t at) {
  const std::uint64_t skipped = at - piece.at;
  return {at, piece.length - skipped, piece.on, piece.offset + skipped};
}

}  // namespace

std::vector<PieceOfLayout> layout_of(const Catalog& catalog, const Node& node) {
  if (node.kind != "part" && node.kind != "lvm") return {};
  try {
    Walk walk(catalog, *node.device);
    if (!walk.down(*node.device, 0, node.device->size(), 0)) return {};
    return walk.take();
  } catch (const Error&) {
    return {};
  }
}

Moved moved_between(const std::vector<PieceOfLayout>& before,
                    const std::vector<PieceOfLayout>& after) {
  Moved moved;
  auto old = before.begin();
  auto now = after.begin();
  for (std::uint64_t at = 0; old != before.end() && now != after.end();) {
    const PieceOfLayout one = from(*old, at);
    const PieceOfLayout other = from(*now, at);
    const std::uint64_t length = std::min(one.length, other.length);
    if (one.on != other.on || one.offset != other.offset) {
      if (moved.bytes == 0) {
        moved.from = one;
        moved.to = other;
      }
      moved.bytes += length;
    }
    at += length;
    if (length == one.length) ++old;
    if (length == other.length) ++now;
  }
  return moved;
}

}  // namespace peelfs
