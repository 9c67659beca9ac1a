#include <algorithm>
#include <array>
#include <cstdio>

#include "cli/fsck/result.h"
#include "cli/text.h"

namespace peelfs::cli {
namespace {

enum Column : std::size_t { kSource, kDevice, kFstype, kSize, kState, kTime, kColumns };
using Row = std::array<std::string, kColumns>;

std::string time_text(double seconds) {
  constexpr int kMinute = 60;
  std::array<char, 32> text{};
  const int whole = static_cast<int>(seconds);
  if (seconds < 10) {
    std::snprintf(text.data(), text.size(), "%.1fs", seconds);
  } else if (whole < kMinute) {
    std::snprintf(text.data(), text.size(), "%ds", whole);
  } else {
    std::snprintf(text.data(), text.size(), "%dm%02ds", whole / kMinute, whole % kMinute);
  }
  return text.data();
}

Row row_of(const check::Target& target, const check::Outcome& outcome) {
  Row row;
  row[kSource] = shown(source_of(target));
  row[kDevice] = shown(target.device);
  row[kFstype] = target.fstype.empty() ? "-" : shown(target.fstype);
  row[kSize] = human_size(target.size);
  row[kState] = std::string(check::state_name(outcome.verdict.state));
  row[kTime] = outcome.command.empty() ? "-" : time_text(outcome.seconds);
  return row;
}

/// What there is to add to a line of the table: under it.
std::vector<std::string> remarks_of(const check::Target& target, const check::Outcome& outcome,
                                    const std::string& log) {
  std::vector<std::string> remarks;
  if (!target.others.empty()) {
    std::string text = "with ";
    for (std::size_t i = 0; i < target.others.size(); ++i) {
      text += (i == 0 ? "" : ", ") + target.others[i];
    }
    remarks.push_back(text);
  }
  if (!outcome.verdict.why.empty()) remarks.push_back(outcome.verdict.why);
  if (outcome.is_written && !outcome.change.empty()) remarks.push_back("changed " + outcome.change);
  if (!outcome.left_out.empty()) remarks.push_back(outcome.left_out);
  // What was found before is not so any more.
  if (!outcome.command.empty() && outcome.verdict.state != check::State::repaired) {
    remarks.insert(remarks.end(), target.remarks.begin(), target.remarks.end());
  }
  const bool is_bad = outcome.verdict.state == check::State::errors ||
                      outcome.verdict.state == check::State::failed;
  if (is_bad && !log.empty()) remarks.push_back("see " + log);
  return remarks;
}

}  // namespace

std::string source_of(const check::Target& target) {
  if (target.sources.empty()) return "";
  const std::string& first = target.sources.front();
  std::string name = first.substr(first.rfind('/') + 1);
  if (name.empty()) name = first;
  if (target.sources.size() > 1) name += " +" + std::to_string(target.sources.size() - 1);
  return name;
}

void print_table(const FsckResult& result) {
  std::vector<Row> rows{{"SOURCE", "DEVICE", "FSTYPE", "SIZE", "STATE", "TIME"}};
  for (std::size_t i = 0; i < result.outcomes.size(); ++i) {
    rows.push_back(row_of(result.plan.targets[i], result.outcomes[i]));
  }
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) {
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  }
  for (std::size_t number = 0; number < rows.size(); ++number) {
    std::string line;
    for (std::size_t i = 0; i < kColumns; ++i) {
      if (i != 0) line += ' ';
      const bool right = i == kSize || i == kTime;
      line += right ? pad_left(rows[number][i], widths[i]) : pad_right(rows[number][i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    put(line + "\n");
    if (number == 0) continue;
    const std::size_t target = number - 1;
    for (const std::string& remark :
         remarks_of(result.plan.targets[target], result.outcomes[target], result.logs[target])) {
      put("  " + shown(remark) + "\n");
    }
  }
}

}  // namespace peelfs::cli
