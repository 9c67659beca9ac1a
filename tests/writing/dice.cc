#include "writing/dice.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "peelfs/bytes.h"

namespace peelfs::test {
namespace {

std::uint64_t base_seed() {
  static const std::uint64_t seed = [] {
    if (const char* const chosen = std::getenv("PEELFS_SEED")) return std::stoull(chosen);
    return nightly() ? static_cast<unsigned long long>(std::random_device()()) : 1ULL;
  }();
  return seed;
}

}  // namespace

bool nightly() {
  const char* const asked = std::getenv("PEELFS_NIGHTLY");
  return asked != nullptr && std::string_view(asked) == "1";
}

std::uint64_t seed_for(std::string_view purpose) {
  // FNV-1a: std::hash may differ from one library to the next.
  std::uint64_t mixed = 0xcbf29ce484222325ULL ^ base_seed();
  for (const char c : purpose) mixed = (mixed ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mixed;
}

std::string how_to_repeat() {
  return std::string("again: PEELFS_SEED=") + std::to_string(base_seed()) +
         (nightly() ? " PEELFS_NIGHTLY=1" : "");
}

std::uint64_t Dice::near_boundary(std::uint64_t size, std::uint64_t unit) {
  const std::array<std::uint64_t, 4> units{512, 4096, unit, 2 * unit};
  const std::array<std::int64_t, 8> steps{0, 0, 0, 1, -1, 511, -512, 7};
  const std::uint64_t boundary = round_down(below(size), units.at(below(units.size())));
  const auto moved = static_cast<std::int64_t>(boundary) + steps.at(below(steps.size()));
  return std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(moved, 0)), size - 1);
}

Range Dice::range(std::uint64_t size, std::uint64_t unit, std::uint64_t most) {
  const std::uint64_t offset = chance(60) ? near_boundary(size, unit) : below(size);
  const std::uint64_t room = std::min(size - offset, most);
  if (chance(5)) return {offset, room};
  const std::array<std::uint64_t, 6> limits{512, 4096, 3 * 4096, unit, 3 * unit, most};
  const std::uint64_t limit = std::min(room, limits.at(below(limits.size())));
  std::uint64_t length = 1 + below(limit);
  if (chance(40)) {
    // Ends at a boundary, where the range is long enough for that.
    const std::uint64_t end = round_down(offset + length, chance(50) ? 512 : unit);
    if (end > offset) length = end - offset;
  }
  return {offset, length};
}

Range Dice::aligned(std::uint64_t size, std::uint64_t unit, std::uint64_t granule,
                    std::uint64_t most) {
  const Range any = range(size, unit, most);
  const std::uint64_t begin = round_down(any.offset, granule);
  const std::uint64_t end = std::min(size, round_up(any.offset + any.length, granule));
  return {begin, end - begin};
}

}  // namespace peelfs::test
