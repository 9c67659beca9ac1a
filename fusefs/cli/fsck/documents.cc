#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/fsck/result.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json object_of(const check::Target& target, const check::Outcome& outcome, const std::string& log) {
  Json object;
  object["device"] = target.device;
  object["sources"] = target.sources;
  object["others"] = target.others;
  object["fstype"] = text_or_null(target.fstype);
  object["label"] = text_or_null(target.label);
  object["size"] = target.size;
  object["state"] = outcome.verdict.state == check::State::listed
                        ? std::string("listed")
                        : std::string(check::state_name(outcome.verdict.state));
  object["reason"] = text_or_null(outcome.verdict.why);
  object["left-out"] = text_or_null(outcome.left_out);
  object["remarks"] = target.remarks;
  object["busy"] = target.busy || outcome.is_busy;
  object["due"] = text_or_null(target.condition.due);
  object["journal-replayed"] = outcome.was_replayed;
  object["change"] = text_or_null(outcome.change);
  object["written"] = outcome.is_written;
  object["overlay"] = text_or_null(outcome.overlays);
  object["command"] = outcome.command.empty() ? Json(nullptr) : Json(outcome.command);
  object["exit"] = outcome.exit_code < 0 ? Json(nullptr) : Json(outcome.exit_code);
  object["seconds"] = outcome.seconds;
  object["log"] = text_or_null(log);
  return object;
}

/// For an attribute or the text of an element. XML 1.0 has no way to write most control characters.
std::string xml(std::string_view raw) {
  std::string text = printable(raw);
  // The two characters of the first plane that are none in XML: U+FFFE and U+FFFF.
  for (const std::string_view none : {"\xEF\xBF\xBE", "\xEF\xBF\xBF"}) {
    for (std::size_t at = 0; (at = text.find(none, at)) != std::string::npos;) {
      text.replace(at, none.size(), "?");
    }
  }
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
  }
  return result;
}

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", seconds);
  return text.data();
}

std::string case_of(const check::Target& target, const check::Outcome& outcome) {
  std::string text = "    <testcase classname=\"" + xml(source_of(target)) + "\" name=\"" +
                     xml(target.device) + (target.fstype.empty() ? "" : " " + xml(target.fstype)) +
                     "\" time=\"" + seconds_text(outcome.seconds) + "\"";
  std::string all = outcome.verdict.why;
  if (!outcome.left_out.empty()) all += (all.empty() ? "" : "; ") + outcome.left_out;
  for (const std::string& remark : target.remarks) all += (all.empty() ? "" : "; ") + remark;
  const std::string why = xml(all);
  switch (outcome.verdict.state) {
    case check::State::errors:
      return text + ">\n      <failure message=\"" + why + "\"/>\n    </testcase>\n";
    case check::State::failed:
      return text + ">\n      <error message=\"" + why + "\"/>\n    </testcase>\n";
    case check::State::skipped:
    case check::State::cancelled:
    case check::State::listed:
      return text + ">\n      <skipped message=\"" +
             (why.empty() ? xml(check::state_name(outcome.verdict.state)) : why) +
             "\"/>\n    </testcase>\n";
    case check::State::clean:
    case check::State::replayed:
    case check::State::repaired:
      break;
  }
  if (why.empty()) return text + "/>\n";
  return text + ">\n      <system-out>" + why + "</system-out>\n    </testcase>\n";
}

/// How many of each kind a suite counts.
struct Counts {
  std::size_t tests = 0, failures = 0, errors = 0, skipped = 0;
  double seconds = 0;
  std::string cases;
};

}  // namespace

std::string json_of(const FsckResult& result) {
  Json document;
  document["exit"] = result.exit_code;
  document["filesystems"] = Json::array();
  for (std::size_t i = 0; i < result.outcomes.size(); ++i) {
    document["filesystems"].push_back(
        object_of(result.plan.targets[i], result.outcomes[i], result.logs[i]));
  }
  document["in-snapshots"] = result.plan.in_snapshots;
  document["warnings"] = result.warnings;
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string junit_of(const FsckResult& result) {
  std::vector<std::string> order;
  std::map<std::string, Counts> suites;
  for (std::size_t i = 0; i < result.outcomes.size(); ++i) {
    const check::Target& target = result.plan.targets[i];
    const check::Outcome& outcome = result.outcomes[i];
    const std::string name = target.sources.empty() ? "" : target.sources.front();
    const auto [at, fresh] = suites.try_emplace(name);
    if (fresh) order.push_back(name);
    Counts& counts = at->second;
    ++counts.tests;
    counts.seconds += outcome.seconds;
    switch (outcome.verdict.state) {
      case check::State::errors:
        ++counts.failures;
        break;
      case check::State::failed:
        ++counts.errors;
        break;
      case check::State::skipped:
      case check::State::cancelled:
      case check::State::listed:
        ++counts.skipped;
        break;
      case check::State::clean:
      case check::State::replayed:
      case check::State::repaired:
        break;
    }
    counts.cases += case_of(target, outcome);
  }
  std::string text(kJunitBegins);
  for (const std::string& name : order) {
    const Counts& counts = suites.at(name);
    text += "  <testsuite name=\"" + xml(name) + "\" tests=\"" + std::to_string(counts.tests) +
            "\" failures=\"" + std::to_string(counts.failures) + "\" errors=\"" +
            std::to_string(counts.errors) + "\" skipped=\"" + std::to_string(counts.skipped) +
            "\" time=\"" + seconds_text(counts.seconds) + "\">\n" + counts.cases +
            "  </testsuite>\n";
  }
  // What could not be opened has no filesystem that a case could stand for.
  std::string why;
  for (const std::string& warning : result.warnings) why += (why.empty() ? "" : "; ") + warning;
  text += std::string("  <testsuite name=\"peelfs\" tests=\"1\" failures=\"0\" errors=\"") +
          (result.complete ? "0" : "1") +
          "\" skipped=\"0\" time=\"0.000\">\n    <testcase classname=\"peelfs\" "
          "name=\"every source was opened\" time=\"0.000\"" +
          (result.complete ? "/>\n"
                           : ">\n      <error message=\"" + xml(why) + "\"/>\n    </testcase>\n") +
          "  </testsuite>\n";
  return text + "</testsuites>\n";
}

}  // namespace peelfs::cli
