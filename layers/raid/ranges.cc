#include "raid/ranges.h"

#include <algorithm>

namespace peelfs::raid {

void append(Ranges& ranges, Range range) {
  if (range.begin >= range.end) return;
  if (!ranges.empty() && range.begin <= ranges.back().end) {
    ranges.back().end = std::max(ranges.back().end, range.end);
  } else {
    ranges.push_back(range);
  }
}

Ranges normalized(Ranges ranges) {
  std::ranges::sort(ranges, {}, &Range::begin);
  Ranges result;
  for (const Range& range : ranges) append(result, range);
  return result;
}

Ranges clipped(const Ranges& ranges, std::uint64_t begin, std::uint64_t end) {
  Ranges result;
  auto at = std::ranges::upper_bound(ranges, begin, {}, &Range::end);
  for (; at != ranges.end() && at->begin < end; ++at) {
    append(result, {std::max(at->begin, begin) - begin, std::min(at->end, end) - begin});
  }
  return result;
}

Ranges complement(const Ranges& ranges, std::uint64_t length) {
  Ranges result;
  std::uint64_t at = 0;
  for (const Range& range : ranges) {
    append(result, {at, std::min(range.begin, length)});
    at = range.end;
    if (at >= length) return result;
  }
  append(result, {at, length});
  return result;
}

Ranges intersection(const Ranges& a, const Ranges& b) {
  Ranges result;
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() && j != b.end()) {
    append(result, {std::max(i->begin, j->begin), std::min(i->end, j->end)});
    if (i->end < j->end) {
      ++i;
    } else {
      ++j;
    }
  }
  return result;
}

std::uint64_t total(const Ranges& ranges) noexcept {
  std::uint64_t sum = 0;
  for (const Range& range : ranges) sum += range.end - range.begin;
  return sum;
}

}  // namespace peelfs::raid
