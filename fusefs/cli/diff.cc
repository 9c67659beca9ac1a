// `peelfs diff`: what an overlay changes.
#include <sys/stat.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/changes_text.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "host/host_call.h"
#include "host/source.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::cli {
namespace {

/// The last operand names a device if it names no source: a file goes first, as everywhere.
std::string take_name(Command& command) {
  auto& sources = command.from.sources;
  struct stat status {};
  if (sources.size() < 2) return "";
  const std::string path = parse_source(sources.back()).path;
  const OpeningClock clock(command);
  const HostCall call(path);
  if (::stat(path.c_str(), &status) == 0) return "";
  std::string name = std::move(sources.back());
  sources.pop_back();
  return name;
}

std::string dump_line(char sign, std::uint64_t offset, Bytes bytes) {
  char number[32];
  std::snprintf(number, sizeof number, "%c%010" PRIx64 " ", static_cast<int>(sign), offset);
  std::string line = number;
  std::string text;
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 8) line += ' ';
    if (i >= bytes.size()) {
      line += "   ";
      continue;
    }
    char digits[8];
    const auto byte = std::to_integer<unsigned>(bytes[i]);
    std::snprintf(digits, sizeof digits, " %02x", byte);
    line += digits;
    text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
  }
  return line + "  |" + text + "|\n";
}

/// What a device has of a range; nothing behind its end.
Buffer part_of(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  if (offset >= device.size()) return {};
  return read_bytes(device, offset, std::min(length, device.size() - offset));
}

Bytes line_of(const Buffer& bytes, std::size_t at) {
  if (at >= bytes.size()) return {};
  return Bytes(bytes).subspan(at, std::min<std::size_t>(16, bytes.size() - at));
}

/// As a unified diff: what is the same once, what differs before and after.
void dump(const BlockDevice& before, const BlockDevice& after, const DumpRange& range) {
  const std::uint64_t size = std::max(before.size(), after.size());
  if (range.offset >= size) {
    throw Error(Fault::usage, "--hexdump begins behind the end of the device")
        .found(std::to_string(range.offset))
        .expected("less than " + std::to_string(size));
  }
  const Buffer was = part_of(before, range.offset, range.length);
  const Buffer is = part_of(after, range.offset, range.length);
  for (std::size_t at = 0; at < std::max(was.size(), is.size()); at += 16) {
    const Bytes one = line_of(was, at);
    const Bytes other = line_of(is, at);
    if (std::equal(one.begin(), one.end(), other.begin(), other.end())) {
      put(dump_line(' ', range.offset + at, one));
      continue;
    }
    if (!one.empty()) put(dump_line('-', range.offset + at, one));
    if (!other.empty()) put(dump_line('+', range.offset + at, other));
  }
}

int dump_device(const Command& command, const Peeling& before, const Peeling& after,
                const std::string& what) {
  const auto old_catalog = before.catalog();
  const auto new_catalog = after.catalog();
  const Catalog::Entry is = find_device(after, *new_catalog, what);
  const Catalog::Entry was = find_device(before, *old_catalog, is.name);
  dump(*was.node->device, *is.node->device, command.dump);
  finish_output();
  return exit_code::ok;
}

/// Ctrl-C ends it with the progress bar taken away.
std::vector<DeviceChange> compare_all(const Peeling& before, const Peeling& after,
                                      const std::string& only, bool progress) {
  const Interruptible interruptible;
  try {
    return find_changes_visibly(before, after, only, progress);
  } catch (const Error& error) {
    if (Interruptible::signal() == 0) throw;
    Interruptible::obey(error);
  }
}

}  // namespace

int run_diff(const Command& command) {
  Command inside = command;
  std::string name = take_name(inside);
  if (command.dump.length != 0 && name.empty()) {
    throw Error(Fault::usage, "--hexdump needs the NAME of one device")
        .expected("SOURCE... NAME")
        .advice("'peelfs diff' without it shows the names");
  }
  const std::shared_ptr<Peeling> after = open_session(inside);
  report_warnings(inside, *after);
  const auto before = after->uncovered();
  if (command.dump.length != 0) return dump_device(command, *before, *after, name);
  if (!name.empty()) name = find_device(*after, *after->catalog(), name).name;

  std::vector<DeviceChange> changes = compare_all(*before, *after, name, !command.quiet);
  const bool incomplete = std::any_of(changes.begin(), changes.end(), [](const auto& change) {
    return change.comparison.unreadable != 0 || change.needs_key;
  });
  if (name.empty()) {
    std::erase_if(changes, [](const DeviceChange& change) { return !change.interesting(); });
  }
  std::string text;
  if (command.json) {
    text = changes_json(changes);
  } else if (changes.empty()) {
    text = "nothing is changed\n";
  } else {
    print_changes(changes, command.verbose || !name.empty(), command.verbose, text);
  }
  put(text);
  finish_output();
  return code_for(*after, incomplete ? exit_code::incomplete : exit_code::ok);
}

}  // namespace peelfs::cli
