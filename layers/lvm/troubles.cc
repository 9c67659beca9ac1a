#include "lvm/troubles.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace peelfs::lvm {

namespace {

/// How bad a state is; what is not in the list is the least.
std::size_t badness(std::string_view state) {
  static constexpr std::array<std::string_view, 6> order = {"note",        "degraded", "missing",
                                                            "unsupported", "io",       "damaged"};
  const auto* found = std::ranges::find(order, state);
  return found == order.end() ? 0 : static_cast<std::size_t>(found - order.begin());
}

}  // namespace

void Troubles::add(std::string state, std::string reason) {
  for (const Trouble& known : troubles_) {
    if (known.state == state && known.reason == reason) return;
  }
  if (troubles_.size() >= kMost) {
    ++more_;
    return;
  }
  troubles_.push_back({std::move(state), std::move(reason)});
}

void Troubles::add(const Troubles& others) {
  for (const Trouble& one : others.troubles_) add(one);
  more_ += others.more_;
}

void Troubles::add_degraded(const Troubles& others) {
  for (const Trouble& one : others.troubles_) {
    add(badness(one.state) > badness("degraded") ? "degraded" : one.state, one.reason);
  }
  more_ += others.more_;
}

std::optional<Trouble> Troubles::summary() const {
  if (troubles_.empty()) return std::nullopt;
  std::vector<const Trouble*> ordered;
  for (const Trouble& one : troubles_) ordered.push_back(&one);
  std::ranges::stable_sort(ordered, [](const Trouble* a, const Trouble* b) {
    return badness(a->state) > badness(b->state);
  });
  Trouble sum{ordered.front()->state, ""};
  for (const Trouble* one : ordered) {
    if (!sum.reason.empty()) sum.reason += "; ";
    sum.reason += one->reason;
  }
  if (more_ != 0) sum.reason += "; and " + std::to_string(more_) + " more";
  // Names of volumes and of where they were last seen come from the disk.
  sum.reason = printable(sum.reason);
  return sum;
}

}  // namespace peelfs::lvm
