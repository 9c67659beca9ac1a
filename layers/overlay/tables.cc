#include "overlay/tables.h"

#include <algorithm>
#include <array>

#include "peelfs/error.h"

namespace peelfs::overlay {

namespace {

constexpr std::size_t kMostPieces = 128;
constexpr std::uint64_t kMostBytes = 4U << 20U;
constexpr std::size_t kMostPlaces = 4096;
constexpr unsigned kMostLayers = 64;

constexpr std::uint64_t kKib = 1U << 10U;
/// Boot sectors, partition tables, labels of LVM and MD, LUKS headers, the super blocks of ext, XFS
/// and others with what stands behind them.
constexpr std::uint64_t kHead = 16 * kKib;
/// btrfs has it here.
constexpr ByteRange kSecondBlock{64 * kKib, 4 * kKib};
/// The backup of a GPT; MD with its super block at the end.
constexpr std::uint64_t kTail = 16 * kKib;

class Walk {
 public:
  Walk(const BlockDevice& disk, std::vector<ByteRange>& places) : disk_(disk), places_(places) {}

  void down(const BlockDevice& device, ByteRange range, unsigned layers = 0) {
    if (&device == &disk_) {
      places_.push_back(range);
      return;
    }
    while (range.length != 0 && layers < kMostLayers && places_.size() < kMostPlaces) {
      Extent extent = device.map(range.offset, range.length);
      if (extent.kind == ExtentKind::computed) {
        extent = device.computed_from(range.offset, extent.length);
      }
      if (extent.length == 0 || extent.length > range.length) return;
      if (extent.kind == ExtentKind::lower) {
        down(*extent.device, {extent.offset, extent.length}, layers + 1);
      }
      range.offset += extent.length;
      range.length -= extent.length;
    }
  }

 private:
  const BlockDevice& disk_;
  std::vector<ByteRange>& places_;
};

void add_places(const BlockDevice& device, Walk& walk) {
  const std::uint64_t size = device.size();
  const std::array<ByteRange, 3> ranges{
      ByteRange{0, std::min(size, kHead)}, kSecondBlock,
      ByteRange{size - std::min(size, kTail), std::min(size, kTail)}};
  for (const ByteRange& range : ranges) {
    if (range.offset >= size || range.length > size - range.offset) continue;
    try {
      walk.down(device, range);
    } catch (const Error&) {
      continue;  // damaged tables tell nothing
    }
  }
}

bool holds(const std::vector<Sample>& samples, const ByteRange& place) {
  return std::any_of(samples.begin(), samples.end(), [&](const Sample& sample) {
    return sample.offset <= place.offset && place.offset - sample.offset <= sample.length &&
           place.length <= sample.length - (place.offset - sample.offset);
  });
}

}  // namespace

std::vector<ByteRange> table_places(const Tree& tree, const BlockDevice& disk) {
  std::vector<ByteRange> places;
  Walk walk(disk, places);
  std::vector<std::uint64_t> level = tree.roots;
  for (unsigned layers = 0; !level.empty() && layers < kMostLayers; ++layers) {
    std::vector<std::uint64_t> next;
    for (const std::uint64_t id : level) {
      const Node& node = tree.at(id);
      if (node.device != nullptr && node.device.get() != &disk) add_places(*node.device, walk);
      next.insert(next.end(), node.children.begin(), node.children.end());
    }
    // What lies on several members is a child of each.
    std::sort(next.begin(), next.end());
    next.erase(std::unique(next.begin(), next.end()), next.end());
    level = std::move(next);
  }
  return places;
}

std::vector<ByteRange> not_yet_sampled(const std::vector<ByteRange>& places,
                                       const Fingerprint& known) {
  std::vector<Sample> tables = known.tables;
  std::uint64_t bytes = 0;
  for (const Sample& sample : tables) bytes += sample.length;
  std::vector<ByteRange> fresh;
  for (const ByteRange& place : places) {
    if (holds(known.samples, place) || holds(tables, place)) continue;
    if (tables.size() >= kMostPieces) break;
    if (bytes > kMostBytes || place.length > kMostBytes - bytes) break;
    tables.push_back({place.offset, place.length, ""});
    bytes += place.length;
    fresh.push_back(place);
  }
  return fresh;
}

}  // namespace peelfs::overlay
