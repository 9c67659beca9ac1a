#include "peel/map_file.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "host/output_file.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

Error broken(const std::string& path, std::size_t line, const std::string& text) {
  return Error(Fault::usage, "map file " + path + ": line " + std::to_string(line) +
                                 " is not as ddrescue writes it")
      .found("'" + text + "'")
      .expected("a position, a size and a status, such as '0x00000000  0x00100000  +'");
}

std::string line_of(std::uint64_t start, std::uint64_t length, CopyMap::State state) {
  char text[96];
  std::snprintf(text, sizeof text, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", start, length,
                static_cast<char>(state));
  return text;
}

}  // namespace

CopyMap::CopyMap(std::uint64_t size) {
  if (size != 0) ranges_.push_back({0, size, State::untried});
}

CopyMap CopyMap::load(const std::string& path, std::uint64_t size) {
  std::ifstream file(path);
  if (!file) throw Error::system(errno, "cannot open map file " + path);
  CopyMap map(0);
  std::string line;
  std::size_t number = 0;
  bool seen_position = false;  // the first line that is no comment: where ddrescue was
  std::uint64_t expected_start = 0;
  while (std::getline(file, line)) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    if (!seen_position) {
      seen_position = true;
      continue;
    }
    std::istringstream fields(line);
    std::string start_text;
    std::string length_text;
    char status = 0;
    if (!(fields >> start_text >> length_text >> status)) throw broken(path, number, line);
    Range range;
    std::size_t used_start = 0;
    std::size_t used_length = 0;
    try {
      range.start = std::stoull(start_text, &used_start, 0);
      range.length = std::stoull(length_text, &used_length, 0);
    } catch (const std::exception&) {
      throw broken(path, number, line);
    }
    if (used_start != start_text.size() || used_length != length_text.size() ||
        std::string("?*/-+").find(status) == std::string::npos) {
      throw broken(path, number, line);
    }
    if (range.start != expected_start || range.length == 0 || range.length > size - range.start) {
      throw Error(Fault::usage, "map file " + path + ": line " + std::to_string(number) +
                                    " does not follow on the one before, or leaves the device")
          .found(line)
          .expected("position " + hex(expected_start) + ", ending at or before " + hex(size));
    }
    if (status == '+') range.state = State::done;
    if (status == '-') range.state = State::bad;
    expected_start += range.length;
    map.ranges_.push_back(range);
  }
  if (expected_start != size) {
    throw Error(Fault::usage, "map file " + path + " is about another device")
        .found(std::to_string(expected_start) + " bytes")
        .expected(std::to_string(size) + " bytes, the size of the device")
        .advice("leave --resume out to begin anew");
  }
  return map;
}

void refuse_as_map_file(const std::string& path, bool replace_any) {
  refuse_replacing(path);
  std::ifstream file(path);
  std::string line;
  if (replace_any || !file || !std::getline(file, line)) return;
  // The second is what ddrescue called it before 1.20.
  if (line.starts_with("# Mapfile") || line.starts_with("# Rescue Logfile")) return;
  throw Error(Fault::usage, path + " exists already, and is no map file")
      .expected("a file that begins with '# Mapfile', as ddrescue writes it")
      .advice("name another file, or overwrite it with --force");
}

void CopyMap::save(const std::string& path, std::uint64_t position) const {
  const bool finished = total(State::untried) == 0;
  std::string text =
      "# Mapfile. Created by peelfs export\n# current_pos  current_status  current_pass\n";
  char current[64];
  std::snprintf(current, sizeof current, "0x%08" PRIX64 "     %c               1\n", position,
                finished ? '+' : '?');
  text += current;
  text += "#      pos        size  status\n";
  for (const Range& range : ranges_) text += line_of(range.start, range.length, range.state);

  replace_file(path, text);
}

void CopyMap::mark(std::uint64_t start, std::uint64_t length, State state) {
  if (length == 0) return;
  const std::uint64_t end = start + length;
  // The ranges that the new one touches; copies go forward, so they are found from the end quickly.
  const auto first = std::partition_point(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return range.start + range.length <= start;
  });
  const auto last = std::partition_point(first, ranges_.end(),
                                         [&](const Range& range) { return range.start < end; });
  std::vector<Range> fresh;
  if (first != last && first->start < start) {
    fresh.push_back({first->start, start - first->start, first->state});
  }
  fresh.push_back({start, length, state});
  if (first != last) {
    const Range& tail = *std::prev(last);
    if (tail.start + tail.length > end) {
      fresh.push_back({end, tail.start + tail.length - end, tail.state});
    }
  }
  auto at = ranges_.erase(first, last);
  at = ranges_.insert(at, fresh.begin(), fresh.end());
  // Only the new ranges and their neighbours can have become mergeable.
  std::size_t i = static_cast<std::size_t>(at - ranges_.begin());
  std::size_t end_index = std::min(i + fresh.size(), ranges_.size() - 1);
  if (i > 0) --i;
  while (i < end_index) {
    if (ranges_[i].state == ranges_[i + 1].state) {
      ranges_[i].length += ranges_[i + 1].length;
      ranges_.erase(ranges_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      --end_index;
    } else {
      ++i;
    }
  }
}

std::uint64_t CopyMap::total(State state) const noexcept {
  std::uint64_t sum = 0;
  for (const Range& range : ranges_) sum += range.state == state ? range.length : 0;
  return sum;
}

}  // namespace peelfs
