// `peelfs diff`: what an overlay changes.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/changes_text.h"
#include "cli/groups/format.h"
#include "cli/groups/look.h"
#include "cli/interrupt.h"
#include "cli/operands.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/host_call.h"
#include "host/source.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::cli {
namespace {

/// One --hexdump OFFSET[,LENGTH].
struct DumpRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  ///< 0: none
};

struct DiffOptions : LookOptions {
  bool json = false;
  DumpRange dump;
};

/// The last operand names a device if it names no source: a file goes first, as everywhere.
std::string take_name(DiffOptions& options) {
  auto& sources = options.from.sources;
  struct stat status {};
  if (sources.size() < 2) return "";
  const std::string path = parse_source(sources.back()).path;
  const OpeningClock clock(Patience{.limit = options.patience});
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

int dump_device(const DiffOptions& options, const Peeling& before, const Peeling& after,
                const std::string& what) {
  const auto old_catalog = before.catalog();
  const auto new_catalog = after.catalog();
  const Catalog::Entry is = find_device(after, *new_catalog, what);
  const Catalog::Entry was = find_device(before, *old_catalog, is.name);
  dump(*was.node->device, *is.node->device, options.dump);
  finish_output();
  return exit_code::kOk;
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

constexpr const char* kBefore = R"(peelfs diff --overlay DIR [--json] SOURCE... [NAME]
peelfs diff --overlay DIR --hexdump OFFSET[,LENGTH] SOURCE... NAME

Shows what the overlays in DIR change, device by device, in sectors of 512 bytes that
differ (what was written with the bytes it had is no change), and whether only zeroes
were written. For ext2/3/4 and btrfs it says what the changed blocks are: superblock,
inode table, journal, "file /etc/fstab", which tree. What lies behind the end of a device
that was resized counts as zero there. Partitions and logical volumes that are new, gone,
of another size or lie elsewhere have a line that says so. Warns when an overlay that was
written together with these is left out. What is encrypted with a key that was changed
(cryptsetup luksChangeKey) needs the old and the new one: give both.

  -J, --json              every range, for programs
  -v, --verbose           every range and every name, for people
  --timeout SECONDS       give up when a source does not answer so long while it is opened (60)
  --hexdump OFFSET[,LENGTH]  the bytes there before (-) and after (+); 512 of them, or
                          LENGTH, in bytes (64K, 1M ... as well)

Exit status: 0 compared, changed or not (of what is locked the encrypted bytes are
compared); 1 something cannot be read, or opens with another key only, and so cannot be
compared; 2 nothing compared.

Examples:
  peelfs diff --overlay changes disk.qcow2
  peelfs diff --overlay changes disk.qcow2 diskp1 --hexdump 1024,64
)";
constexpr std::array<const char*, 6> kHelp{kBefore,           kSourceHelp,       kOverlayHelp,
                                           kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp};

/// "1M,512" or "4096"
DumpRange parse_dump(const std::string& text) {
  constexpr std::uint64_t kUsual = 512;
  constexpr std::uint64_t kMost = 16U << 20U;
  const std::size_t comma = text.find(',');
  DumpRange range{parse_size(text.substr(0, comma), "--hexdump"), kUsual};
  if (comma != std::string::npos) range.length = parse_size(text.substr(comma + 1), "--hexdump");
  if (range.length == 0 || range.length > kMost) {
    throw usage("--hexdump: how much to show")
        .found(std::to_string(range.length) + " bytes")
        .expected("OFFSET or OFFSET,LENGTH, with a length from 1 to 16M");
  }
  return range;
}

void bind(Parser& parser, DiffOptions& options) {
  bind_look(parser, options);
  bind_json(parser, options.json);
  parser.option("--hexdump",
                [&options](const std::string& text) { options.dump = parse_dump(text); });
}

/// Whether the last one is the name of a device is told when the files are looked at.
void take(DiffOptions& options, std::vector<std::string> operands) {
  require_overlay(options.cover);
  take_sources(options.from.sources, std::move(operands), "");
}

int run(const DiffOptions& options) {
  DiffOptions inside = options;
  std::string name = take_name(inside);
  if (options.dump.length != 0 && name.empty()) {
    throw Error(Fault::usage, "--hexdump needs the NAME of one device")
        .expected("SOURCE... NAME")
        .advice("'peelfs diff' without it shows the names");
  }
  const std::shared_ptr<Peeling> after = open_session(opening_of(inside));
  report_warnings(options.quiet, *after);
  const auto before = after->uncovered();
  if (options.dump.length != 0) return dump_device(options, *before, *after, name);
  if (!name.empty()) name = find_device(*after, *after->catalog(), name).name;

  std::vector<DeviceChange> changes = compare_all(*before, *after, name, !options.quiet);
  const bool incomplete = std::any_of(changes.begin(), changes.end(), [](const auto& change) {
    return change.comparison.unreadable != 0 || change.needs_key;
  });
  if (name.empty()) {
    std::erase_if(changes, [](const DeviceChange& change) { return !change.interesting(); });
  }
  std::string text;
  if (options.json) {
    text = changes_json(changes);
  } else if (changes.empty()) {
    text = "nothing is changed\n";
  } else {
    print_changes(changes, options.verbose || !name.empty(), options.verbose, text);
  }
  put(text);
  finish_output();
  return code_for(*after, incomplete ? exit_code::kIncomplete : exit_code::kOk);
}

}  // namespace

extern const VerbRow kDiffVerb{
    .word = "diff",
    .line = "  peelfs diff --overlay DIR SOURCE...   what would change\n",
    .help = kHelp,
    .actions = actions_of<DiffOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
