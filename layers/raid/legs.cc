#include "raid/legs.h"

#include <algorithm>
#include <optional>

namespace peelfs::raid {

Choice choose_legs(const std::vector<Leg>& legs, std::uint64_t length, const DevicePtr& nobody) {
  Choice choice;
  std::vector<std::size_t> next(legs.size(), 0);
  for (std::uint64_t at = 0; at < length;) {
    const Leg* chosen = nullptr;
    std::uint64_t end = length;
    for (std::size_t i = 0; i < legs.size() && chosen == nullptr; ++i) {
      const Ranges& good = legs[i].good;
      while (next[i] < good.size() && good[next[i]].end <= at) ++next[i];
      if (next[i] == good.size()) continue;
      if (good[next[i]].begin <= at) {
        chosen = &legs[i];
        end = std::min(end, good[next[i]].end);
      } else {
        // From there on an earlier leg has the bytes: the kernel prefers the earlier one, too.
        end = std::min(end, good[next[i]].begin);
      }
    }
    if (chosen != nullptr) {
      choice.pieces.push_back({chosen->device, chosen->offset + at, end - at});
    } else {
      choice.pieces.push_back({nobody, 0, end - at});
      append(choice.gaps, {at, end});
    }
    at = end;
  }
  return choice;
}

}  // namespace peelfs::raid
