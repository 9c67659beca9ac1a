// Numbers that look random and depend on a seed only, bent towards where writers go wrong.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace peelfs::test {

/// Whether PEELFS_NIGHTLY asks for the long runs (contrib/test --nightly sets it).
bool nightly();

/// $PEELFS_SEED; without it 1, so that a normal run is the same every time, and another one each
/// night. Mixed with `purpose`, so that two tests do not do the same.
std::uint64_t seed_for(std::string_view purpose);

/// What to add to a failure's message: how to run it again.
std::string how_to_repeat();

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Not thread-safe: one for each thread.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }
  std::uint64_t number() { return random_(); }

  /// A range of 1 to `most` bytes inside of `size`: often at, just before or just behind multiples
  /// of 512, 4096 and `unit`, and at the end of the device.
  Range range(std::uint64_t size, std::uint64_t unit, std::uint64_t most = 1U << 20U);
  /// The same, begin and end at multiples of `granule` (the end of the device counts as one).
  Range aligned(std::uint64_t size, std::uint64_t unit, std::uint64_t granule,
                std::uint64_t most = 1U << 20U);

 private:
  std::uint64_t near_boundary(std::uint64_t size, std::uint64_t unit);
  std::mt19937_64 random_;
};

}  // namespace peelfs::test
