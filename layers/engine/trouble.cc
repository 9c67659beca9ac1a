#include "peelfs/trouble.h"

#include <algorithm>
#include <ostream>

#include "peelfs/error.h"

namespace peelfs {

namespace {

/// Whether the message `more` says something that `known` says already, with more context. Advice,
/// which comes behind the first semicolon, is not compared: many messages have the same.
bool is_known(std::string_view known, std::string_view more) {
  constexpr std::string_view kSeparator = "; ";
  constexpr std::size_t kTelling = 20;  // a shorter clause may be in many a sentence
  const std::string_view statement = more.substr(0, more.find(kSeparator));
  while (!known.empty()) {
    const std::size_t end = std::min(known.find(kSeparator), known.size());
    const std::string_view clause = known.substr(0, end);
    // The layer's message begins with the image whose backing file this is; the message of a read
    // does not.
    const std::size_t context = clause.find(": ");
    const std::string_view inner =
        context == std::string_view::npos ? std::string_view() : clause.substr(context + 2);
    if (clause.size() >= kTelling && statement.find(clause) != std::string_view::npos) return true;
    if (inner.size() >= 2 * kTelling && statement.find(inner) != std::string_view::npos)
      return true;
    known.remove_prefix(std::min(end + kSeparator.size(), known.size()));
  }
  return false;
}

Trouble::State state_of(Fault fault) {
  switch (fault) {
    case Fault::damaged:
      return Trouble::damaged;
    case Fault::unsupported:
      return Trouble::unsupported;
    case Fault::missing:
      return Trouble::missing;
    case Fault::locked:
      return Trouble::locked;
    case Fault::denied:
    case Fault::usage:  // what was asked for cannot be had
      return Trouble::denied;
    case Fault::io:
      return Trouble::io;
  }
  return Trouble::damaged;
}

}  // namespace

std::string_view state_name(Trouble::State state) noexcept {
  switch (state) {
    case Trouble::note:
      return "note";
    case Trouble::degraded:
      return "degraded";
    case Trouble::missing:
      return "missing";
    case Trouble::unsupported:
      return "unsupported";
    case Trouble::denied:
      return "denied";
    case Trouble::io:
      return "io";
    case Trouble::damaged:
      return "damaged";
    case Trouble::locked:
      return "locked";
  }
  return "damaged";
}

std::ostream& operator<<(std::ostream& stream, Trouble::State state) {
  return stream << state_name(state);
}

std::string text_of(const Trouble& trouble) {
  return std::string(state_name(trouble.state)) + ": " + trouble.reason;
}

Trouble trouble_from(const Error& error) {
  return {state_of(error.fault()), error.what()};
}

void Troubles::add(Trouble::State state, std::string_view reason) {
  if (reason.empty()) return;
  std::string text = printable(reason);
  for (Trouble& known : troubles_) {
    if (known.reason != text) continue;
    known.state = std::max(known.state, state);
    return;
  }
  if (troubles_.size() < kMost) {
    troubles_.push_back({state, std::move(text)});
    return;
  }
  // The state counts even where there is no room for the reason.
  ++more_;
  const auto mildest = std::ranges::min_element(troubles_, {}, &Trouble::state);
  if (mildest->state < state) *mildest = {state, std::move(text)};
}

void Troubles::add(const Troubles& others, std::string_view context) {
  for (const Trouble& one : others.troubles_) add(one.state, std::string(context) + one.reason);
  more_ += others.more_;
}

void Troubles::add_degraded(const Troubles& others) {
  for (const Trouble& one : others.troubles_) {
    add(std::min(one.state, Trouble::degraded), one.reason);
  }
  more_ += others.more_;
}

void Troubles::damage(const Error& error) {
  add(Trouble::damaged, error.what());
}

bool Troubles::reach(Trouble::State state) const noexcept {
  return std::ranges::any_of(troubles_, [&](const Trouble& one) { return one.state >= state; });
}

std::optional<Trouble> Troubles::summary() const {
  if (troubles_.empty()) return std::nullopt;
  std::vector<const Trouble*> ordered;
  for (const Trouble& one : troubles_) ordered.push_back(&one);
  std::ranges::stable_sort(ordered, std::ranges::greater{}, &Trouble::state);
  Trouble sum{ordered.front()->state, ""};
  for (const Trouble* one : ordered) {
    if (!sum.reason.empty()) sum.reason += "; ";
    sum.reason += one->reason;
  }
  if (more_ != 0) sum.reason += "; and " + std::to_string(more_) + " more";
  return sum;
}

void join(std::optional<Trouble>& known, const Trouble& more) {
  if (!known) {
    known = more;
    return;
  }
  const bool is_said = known->reason.find(more.reason) != std::string::npos ||
                       more.reason.find(known->reason) != std::string::npos ||
                       is_known(known->reason, more.reason);
  if (is_said) {
    known->state = std::max(known->state, more.state);
    return;
  }
  Troubles both(known);
  both.add(more);
  known = both.summary();
}

}  // namespace peelfs
