// `peelfs cat`: the bytes of one device on standard output.
#include "cli/verbs/cat.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>

#include "cli/operands.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/output_file.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kChunk = 4U << 20;

void write_out(Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EPIPE) reader_is_gone();
    if (put < 0) throw Error::system(errno, "cannot write to standard output");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

/// A chunk failed: what can be read of it up to the first bad sector is still delivered.
/// @return where reading ends; `why` says so
std::uint64_t write_good_part(const BlockDevice& device, std::uint64_t offset, MutableBytes chunk,
                              std::optional<Error>& why) {
  const std::uint64_t end = offset + chunk.size();
  while (offset < end) {
    const std::uint64_t sector_end = std::min(end, round_down(offset, 512) + 512);
    const MutableBytes sector = chunk.first(sector_end - offset);
    try {
      read(device, offset, sector);
    } catch (const Error& error) {
      why = error;
      return offset;
    }
    write_out(sector);
    offset = sector_end;
  }
  return offset;
}

int write_device(const CatOptions& options, const Catalog::Entry& entry) {
  const BlockDevice& device = *entry.node->device;
  std::uint64_t offset = options.offset;
  const std::uint64_t end = offset + std::min(options.length, device.size() - offset);
  Buffer buffer(std::min<std::uint64_t>(kChunk, std::max<std::uint64_t>(end - offset, 1)));
  while (offset < end) {
    // Chunks end on multiples of their size, so that layers are asked for whole clusters.
    const std::uint64_t stop = std::min(end, round_down(offset, kChunk) + kChunk);
    const MutableBytes chunk =
        MutableBytes(buffer).first(std::min<std::uint64_t>(stop - offset, buffer.size()));
    try {
      read(device, offset, chunk);
    } catch (const Error&) {
      std::optional<Error> why;
      const std::uint64_t reached = write_good_part(device, offset, chunk, why);
      if (!why) {  // it went well the second time
        offset = reached;
        continue;
      }
      warn(entry.name + " cannot be read at byte " + std::to_string(reached) +
           ", so its output ends there: " + why->what());
      if (!options.quiet) warn("'peelfs export' goes on behind such places");
      return exit_code::kIncomplete;
    }
    write_out(chunk);
    offset += chunk.size();
  }
  return exit_code::kOk;
}

constexpr const char* kBefore = R"(peelfs cat [--offset N] [--length N] SOURCE... NAME

Writes the bytes of the device NAME to standard output. NAME is one of `peelfs ls`,
UUID=..., LABEL=..., PARTUUID=..., PARTLABEL=..., or a path below by-path.

  --offset N, --length N  a part of it only, in bytes (64K, 1M, 2G ... as well)
  --force                 even if standard output is a terminal
  --timeout SECONDS       give up when a source leaves a read unanswered so long (60)
)";
constexpr const char* kAfter = R"(
Exit status: 0 all written; 1 it ends early, at a byte that cannot be read (see export,
which goes on behind it); 2 nothing written.

Examples:
  peelfs cat disk.qcow2 diskp1 | sha256sum
  peelfs cat --length 1M disk.img LABEL=root | file -
)";
constexpr std::array<const char*, 7> kHelp{
    kBefore, kSourceHelp, kOverlayHelp, kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp, kAfter};

void bind(Parser& parser, CatOptions& options) {
  bind_look(parser, options);
  parser.flag("--force", options.force);
  parser.option("--offset", [&options](const std::string& text) {
    options.offset = parse_size(text, "--offset");
  });
  parser.option("--length", [&options](const std::string& text) {
    options.length = parse_size(text, "--length");
  });
}

void take(CatOptions& options, std::vector<std::string> operands) {
  take_sources_and_name(options.from.sources, options.name, std::move(operands));
}

int run(const CatOptions& options) {
  if (::isatty(STDOUT_FILENO) != 0 && !options.force) {
    throw Error(Fault::usage, "standard output is a terminal, and a device is not text")
        .advice("send it into a file or a pipe, or insist with --force");
  }
  Opening opening = opening_of(options);
  opening.wanted = options.name;
  opening.patience->for_good = true;
  const auto peeling = open_session(opening);
  report_warnings(options.quiet, *peeling);
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, options.name);
  const BlockDevice& device = *entry.node->device;
  refuse_as_output(STDOUT_FILENO, "standard output");  // ">>disk.img"
  if (options.offset > device.size()) {
    throw Error(Fault::usage, "--offset lies behind the end of " + entry.name)
        .found(std::to_string(options.offset))
        .expected("at most " + std::to_string(device.size()));
  }
  try {
    return code_for(*peeling, write_device(options, entry));
  } catch (const Error& error) {  // of the output; those of the device are told where they are met
    warn(error.what());
    return exit_code::kIncomplete;
  }
}

}  // namespace

extern const VerbRow kCatVerb{
    .word = "cat",
    .line = "  peelfs cat SOURCE... NAME             the bytes of one device on standard output\n",
    .help = kHelp,
    .actions = actions_of<CatOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
