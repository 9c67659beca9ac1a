// How changes are shown: to a person, and as JSON.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/changes.h"
#include "cli/text.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kNamed = 20;

std::string count_of(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string summary(const DeviceChange& change) {
  if (change.fate == DeviceChange::Fate::appeared) return "is new";
  if (change.fate == DeviceChange::Fate::vanished) return "is gone";
  const overlay::Comparison& found = change.comparison;
  if (found.changed == 0 && found.unreadable == 0) return "unchanged";
  std::string text;
  if (found.changed != 0) {
    text = human_size(found.changed) + " in " + count_of(found.runs.size(), "range");
    if (found.only_zeroes()) {
      text += ", only zeroes were written";
    } else if (found.zeroed != 0) {
      text += ", " + human_size(found.zeroed) + " of it zero now";
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

void add_names(const DeviceChange& change, const std::string& indent, std::string& out) {
  std::map<std::string, Total> totals;
  for (const NamedRange& range : change.named) {
    Total& total = totals.try_emplace(range.what, Total{0, range.offset}).first->second;
    total.bytes += range.length;
  }
  std::vector<std::pair<std::string, Total>> order(totals.begin(), totals.end());
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second.first < b.second.first; });
  for (std::size_t i = 0; i < order.size() && i < kNamed; ++i) {
    out += indent + pad_left(human_size(order[i].second.bytes), 8) + "  " + shown(order[i].first) +
           "\n";
  }
  if (order.size() > kNamed) {
    out += indent + "          and " + std::to_string(order.size() - kNamed) +
           " more; --json has them all\n";
  }
}

nlohmann::ordered_json object(const DeviceChange& change) {
  nlohmann::ordered_json result;
  const overlay::Comparison& found = change.comparison;
  result["name"] = change.name;
  result["type"] = change.kind;
  result["size"] = change.size;
  result["state"] = change.fate == DeviceChange::Fate::appeared   ? "new"
                    : change.fate == DeviceChange::Fate::vanished ? "gone"
                    : found.changed != 0                          ? "changed"
                    : found.unreadable != 0                       ? "unreadable"
                                                                  : "unchanged";
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

void print_changes(const std::vector<DeviceChange>& changes, bool ranges, std::string& out) {
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
    add_names(change, indent + "  ", out);
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
