// How changes are shown: to a person, and as JSON.
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/changes_text.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kNamed = 20;

std::string count_of(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// "grown from 5.0M to 64M"; in bytes where that would say the same twice.
std::string resized(const DeviceChange& change) {
  std::string from = human_size(change.old_size);
  std::string to = human_size(change.size);
  if (from == to) {
    from = std::to_string(change.old_size);
    to = std::to_string(change.size) + " bytes";
  }
  return (change.size > change.old_size ? "grown from " : "shrunk from ") + from + " to " + to;
}

/// "moved from 1048576 to 2097152 on disk"
std::string moved(const DeviceChange& change) {
  const PieceOfLayout& from = change.moved.from;
  const PieceOfLayout& to = change.moved.to;
  const bool part = change.moved.bytes < std::min(change.size, change.old_size);
  return std::string(part ? human_size(change.moved.bytes) + " of it " : "") + "moved from byte " +
         std::to_string(from.offset) + (from.on == to.on ? "" : " of " + shown(from.on)) + " to " +
         std::to_string(to.offset) + " of " + shown(to.on);
}

/// Bytes that differ behind the end of the shorter one.
std::uint64_t behind_the_end(const DeviceChange& change) {
  const std::uint64_t common = std::min(change.size, change.old_size);
  std::uint64_t bytes = 0;
  for (const overlay::ChangedRun& run : change.comparison.runs) {
    const std::uint64_t end = run.offset + run.length;
    if (end > common) bytes += end - std::max(run.offset, common);
  }
  return bytes;
}

std::string summary(const DeviceChange& change) {
  if (change.fate == DeviceChange::Fate::appeared) return "is new, " + human_size(change.size);
  if (change.fate == DeviceChange::Fate::vanished) {
    return "is gone, with its " + human_size(change.size);
  }
  const overlay::Comparison& found = change.comparison;
  std::string text = change.size == change.old_size ? "" : resized(change);
  if (change.moved.bytes != 0) text += (text.empty() ? "" : "; ") + moved(change);
  if (found.changed == 0 && found.unreadable == 0) return text.empty() ? "unchanged" : text;
  if (found.changed != 0) {
    text += (text.empty() ? "" : "; ") + human_size(found.changed) + " in " +
            count_of(found.runs.size(), "range");
    if (found.only_zeroes()) {
      text += ", only zeroes were written";
    } else if (found.zeroed != 0) {
      text += ", " + human_size(found.zeroed) + " of it zero now";
    }
    if (const std::uint64_t behind = behind_the_end(change); behind != 0) {
      text += ", " + human_size(behind) + " of it behind the " +
              (change.size > change.old_size ? "old" : "new") + " end";
    }
  }
  if (found.unreadable != 0) {
    text += (text.empty() ? "" : "; ") + human_size(found.unreadable) + " cannot be compared";
  }
  return text;
}

struct Total {
  std::uint64_t bytes = 0;
  std::uint64_t first = 0;
};

/// What the changed bytes are, each with how many they are, in the order of their places.
std::vector<std::pair<std::string, Total>> totals_of(const DeviceChange& change) {
  std::map<std::string, Total> totals;
  for (const NamedRange& range : change.named) {
    Total& total = totals.try_emplace(range.what, Total{0, range.offset}).first->second;
    total.bytes += range.length;
  }
  std::vector<std::pair<std::string, Total>> order(totals.begin(), totals.end());
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second.first < b.second.first; });
  return order;
}

void add_names(const DeviceChange& change, const std::string& indent, std::size_t most,
               std::string& out) {
  const auto order = totals_of(change);
  for (std::size_t i = 0; i < order.size() && i < most; ++i) {
    out += indent + pad_left(human_size(order[i].second.bytes), 8) + "  " + shown(order[i].first) +
           "\n";
  }
  if (order.size() > most) {
    out += indent + "          and " + std::to_string(order.size() - most) +
           " more; -v shows them all\n";
  }
}

nlohmann::ordered_json place(const PieceOfLayout& piece) {
  return {{"device", piece.on}, {"start", piece.offset}};
}

nlohmann::ordered_json object(const DeviceChange& change) {
  nlohmann::ordered_json result;
  const overlay::Comparison& found = change.comparison;
  result["name"] = change.name;
  result["type"] = change.kind;
  result["size"] = change.size;
  result["old_size"] = change.fate == DeviceChange::Fate::appeared
                           ? nlohmann::ordered_json(nullptr)
                           : nlohmann::ordered_json(change.old_size);
  result["state"] = change.fate == DeviceChange::Fate::appeared                 ? "new"
                    : change.fate == DeviceChange::Fate::vanished               ? "gone"
                    : found.changed != 0                                        ? "changed"
                    : change.size != change.old_size || change.moved.bytes != 0 ? "changed"
                    : found.unreadable != 0                                     ? "unreadable"
                                                                                : "unchanged";
  result["moved"] = change.moved.bytes == 0
                        ? nlohmann::ordered_json(nullptr)
                        : nlohmann::ordered_json({{"bytes", change.moved.bytes},
                                                  {"from", place(change.moved.from)},
                                                  {"to", place(change.moved.to)}});
  result["changed"] = found.changed;
  result["zeroed"] = found.zeroed;
  result["filled"] = found.filled;
  result["only_zeroes"] = found.only_zeroes();
  result["unreadable"] = found.unreadable;
  const std::string& reason = change.remark.empty() ? found.reason : change.remark;
  result["reason"] =
      reason.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(reason);
  result["ranges"] = nlohmann::ordered_json::array();
  for (const overlay::ChangedRun& run : found.runs) {
    result["ranges"].push_back({{"start", run.offset},
                                {"length", run.length},
                                {"zeroed", run.zeroed},
                                {"filled", run.filled}});
  }
  result["what"] = nlohmann::ordered_json::array();
  for (const NamedRange& range : change.named) {
    result["what"].push_back(
        {{"start", range.offset}, {"length", range.length}, {"what", range.what}});
  }
  return result;
}

}  // namespace

std::vector<DeviceChange> find_changes_visibly(const Peeling& before, const Peeling& after,
                                               const std::string& only, bool wants_bar) {
  std::unique_ptr<Progress> bar;
  std::string device;
  return find_changes(before, after, only, [&](const JobStep& step) {
    if (!bar || device != step.device) {
      device = step.device;
      bar.reset();  // the one before goes first
      bar = std::make_unique<Progress>(shown(std::string(step.what) + " " + device), step.total,
                                       wants_bar);
    }
    bar->update(step.done);
    Interruptible::check();
  });
}

std::string change_line(const DeviceChange& change) {
  constexpr std::size_t kMost = 3;
  std::string text = summary(change);
  auto order = totals_of(change);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  for (std::size_t i = 0; i < order.size() && i < kMost; ++i) {
    text += (i == 0 ? ": " : ", ") + human_size(order[i].second.bytes) + " " + order[i].first;
  }
  if (order.size() > kMost) text += ", " + std::to_string(order.size() - kMost) + " more";
  return text;
}

void print_changes(const std::vector<DeviceChange>& changes, bool ranges, bool names,
                   std::string& out) {
  std::size_t width = 0;
  for (const DeviceChange& change : changes) {
    width = std::max(width, std::size_t{2} * change.depth + display_width(shown(change.name)));
  }
  for (const DeviceChange& change : changes) {
    const std::string indent(std::size_t{2} * change.depth, ' ');
    out += pad_right(indent + shown(change.name), width) + "  " + summary(change) + "\n";
    if (!change.remark.empty()) out += indent + "    " + shown(change.remark) + "\n";
    if (change.comparison.unreadable != 0 && change.remark.empty()) {
      out += indent + "    " + shown(change.comparison.reason) + "\n";
    }
    add_names(change, indent + "  ", names ? SIZE_MAX : kNamed, out);
    if (!ranges) continue;
    for (const overlay::ChangedRun& run : change.comparison.runs) {
      out += indent + "    at " + std::to_string(run.offset) + ": " + std::to_string(run.length) +
             " bytes" + (run.zeroed == run.length ? ", zero now" : "") + "\n";
    }
  }
}

std::string changes_json(const std::vector<DeviceChange>& changes) {
  nlohmann::ordered_json document;
  document["devices"] = nlohmann::ordered_json::array();
  for (const DeviceChange& change : changes) document["devices"].push_back(object(change));
  return document.dump(3, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace peelfs::cli
