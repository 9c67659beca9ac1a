#include "cli/verbs/export.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>
#include <utility>

#include "cli/digest_list.h"
#include "cli/export_output.h"
#include "cli/interrupt.h"
#include "cli/operands.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/output_file.h"
#include "peel/copy_digest.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

void report_bad(const CopyResult& result, const ExportOptions& options) {
  constexpr std::size_t kMostLines = 100;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < result.bad.size(); ++i) {
    const BadPlace& place = result.bad[i];
    bytes += place.length;
    if (i >= kMostLines) continue;
    warn("unreadable: offset " + std::to_string(place.start) + ", " + std::to_string(place.length) +
         " bytes: " + place.reason);
  }
  if (result.bad.size() > kMostLines) {
    warn("... and " + std::to_string(result.bad.size() - kMostLines) +
         " more places; --map-file FILE records them all");
  }
  if (!options.stop_on_error) {
    warn(std::to_string(bytes) + " bytes in " + std::to_string(result.bad.size()) +
         (result.bad.size() == 1 ? " place" : " places") +
         " could not be read; they are zeroes in the copy");
  }
}

/// Keeps the mapfile near to what is on the disk, so that little is lost with the machine.
class MapKeeper {
 public:
  MapKeeper(const ExportOptions& options, ExportOutput& output, const CopyMap& map)
      : path_(options.map_file), output_(output), map_(map) {}

  void now(std::uint64_t position) {
    output_.sync(position);  // first: the map must not run ahead of the data
    if (!path_.empty()) map_.save(path_, position);
    saved_ = Clock::now();
  }
  void sometimes(std::uint64_t position) {
    if (!path_.empty() && Clock::now() - saved_ > std::chrono::seconds(30)) now(position);
  }

 private:
  using Clock = std::chrono::steady_clock;
  const std::string path_;
  ExportOutput& output_;
  const CopyMap& map_;
  Clock::time_point saved_ = Clock::now();
};

std::string how_far(const ExportOptions& options, const CopyMap& map, std::uint64_t size) {
  std::string text = printable(options.output) + " is incomplete: it has " +
                     human_size(map.total(CopyMap::State::done)) + " of " + human_size(size);
  if (!options.map_file.empty()) text += "; the same command with --resume goes on from here";
  return text;
}

/// A file that is shorter than what its map says is there has lost something, or is another file.
void check_resumed(const ExportOptions& options, const ExportOutput& output, const CopyMap& map) {
  std::uint64_t end = 0;
  for (const CopyMap::Range& range : map.ranges()) {
    if (range.state != CopyMap::State::untried) end = range.start + range.length;
  }
  if (output.length() >= end) return;
  throw Error(Fault::usage, printable(options.output) + " is shorter than its map file says")
      .found(std::to_string(output.length()) + " bytes")
      .expected("at least " + std::to_string(end))
      .advice("leave --resume out to begin anew");
}

/// What the digest of the copy is computed by; null: there is none.
const DigestAlgorithm* digest_of(const ExportOptions& options, const BlockDevice& device,
                                 const ExportOutput& output) {
  if (options.no_digest) return nullptr;
  if (options.digest != nullptr) return options.digest;
  // What goes on through a pipe is a matter of the programs in it, and of what they print.
  if (options.quiet || !output.target().seekable) return nullptr;
  if (options.resume) return nullptr;  // what was copied before is not read again
  return is_mostly_holes(device) ? nullptr : find_digest("sha256");
}

/// Whether what is written to a descriptor would get into the copy.
bool is_the_copy(int descriptor, const Target& target) {
  struct stat one {};
  struct stat copy {};
  if (::fstat(descriptor, &one) != 0 || ::fstat(target.fd, &copy) != 0) return false;
  return one.st_dev == copy.st_dev && one.st_ino == copy.st_ino;
}

/// Waits for a digest that takes longer than the copy. Ctrl-C ends the program: the copy is whole.
std::string wait_for_digest(CopyDigest& digest, const ExportOptions& options) {
  while (!digest.wait(std::chrono::milliseconds(200))) {
    if (Interruptible::signal() == 0) continue;
    warn(printable(options.output) + " is complete; its digest was not waited for");
    digest.drop();
    Interruptible::obey();
  }
  return digest.finish();
}

/// Where a line may be written: not into the copy.
struct Channels {
  explicit Channels(const Target& target)
      : output(target.seekable && !is_the_copy(STDOUT_FILENO, target)),
        errors(!is_the_copy(STDERR_FILENO, target)) {}
  const bool output, errors;
};

/// On standard output, unless the copy itself is there.
void tell_digest(CopyDigest& digest, const ExportOptions& options, const Channels& channels) {
  const std::string text = wait_for_digest(digest, options);
  const std::string line =
      digest_line(digest.algorithm(), text, options.output, DigestFormat::tagged);
  if (channels.output) {
    put(line);
    return finish_output();
  }
  if (!channels.errors) return;
  std::fputs(("peelfs: " + shown(line.substr(0, line.size() - 1)) + "\n").c_str(), stderr);
}

/// The copy itself, once everything is open. @return an exit code
int copy(const ExportOptions& options, const Catalog::Entry& entry, ExportOutput& output,
         CopyMap& map) {
  const BlockDevice& device = *entry.node->device;
  std::optional<CopyDigest> digest;
  if (const DigestAlgorithm* const algorithm = digest_of(options, device, output)) {
    digest.emplace(*algorithm);
  }
  const Channels channels(output.target());  // finish() closes it
  MapKeeper keeper(options, output, map);
  Progress progress(shown(entry.name), device.size(), !options.quiet);
  const Interruptible interruptible;

  CopyOptions how;
  how.sparse = options.sparse;
  how.stop_on_error = options.stop_on_error;
  how.over_old_bytes = options.resume;
  how.digest = digest ? &*digest : nullptr;
  how.interrupted = [] { return Interruptible::signal() != 0; };
  how.progress = [&](std::uint64_t position, std::uint64_t done) {
    progress.update(done);
    keeper.sometimes(position);
  };
  CopyResult result;
  try {
    result = copy_device(device, output.target(), how, map);
  } catch (const Error& error) {
    progress.clear();
    if (error.error_number() == EPIPE) reader_is_gone();
    warn(error.what());
    warn(how_far(options, map, device.size()));
    keeper.now(0);
    return exit_code::kIncomplete;
  }
  progress.clear();
  if (!result.bad.empty()) report_bad(result, options);
  if (!result.finished) {
    warn(how_far(options, map, device.size()));
    keeper.now(result.position);
    if (Interruptible::signal() != 0) Interruptible::obey();
    return exit_code::kIncomplete;
  }
  keeper.now(result.position);
  output.finish(device.size());
  progress.clear();
  if (digest) tell_digest(*digest, options, channels);
  return result.bad.empty() ? exit_code::kOk : exit_code::kIncomplete;
}

constexpr const char* kBefore = R"(peelfs export [options] SOURCE... NAME FILE

Copies the device NAME into FILE ("-": standard output). What is not stored anywhere
becomes a hole. What cannot be read becomes zeroes, down to single sectors, and is
listed with its offset. The copy is on the disk when peelfs returns. Its digest is
printed, in a form that 'sha256sum -c' takes.

  --force                 overwrite FILE (never one of the sources)
  --sparse auto           holes where nothing is stored; always: also for blocks of
                          zeroes; never: no holes
  --map-file MAP          record what is copied and what is bad, as GNU ddrescue does
  --resume                go on from MAP: copy what is missing, try bad places again
  --stop-on-error         end at the first byte that cannot be read
  --digest ALGORITHM      print that digest of the copy (sha256, md5, ... as for 'hash'), or
                          none. Without it SHA-256 of a FILE that is a regular one, unless
                          most of the device is holes, the copy is resumed, or -q is given
  --timeout SECONDS       give up when a source does not answer so long while it is opened
                          (60); copying takes as long as a failing disk needs
)";
constexpr const char* kAfter = R"(
Exit status: 0 every byte copied; 1 copied with bad places, or not to the end;
2 nothing copied. Ctrl-C leaves FILE incomplete, and says so.

Examples:
  peelfs export vm.qcow2 vmp2 root.img
  peelfs export --map-file m /dev/sdb vg0-home home.img    # and again with --resume
)";
constexpr std::array<const char*, 7> kHelp{
    kBefore, kSourceHelp, kOverlayHelp, kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp, kAfter};

Sparse parse_sparse(const std::string& text) {
  if (text == "auto") return Sparse::automatic;
  if (text == "always") return Sparse::always;
  if (text == "never") return Sparse::never;
  throw usage("--sparse: which zeroes become holes")
      .found("'" + printable(text) + "'")
      .expected("auto, always or never");
}

void bind(Parser& parser, ExportOptions& options) {
  bind_look(parser, options);
  parser.flag("--force", options.force);
  parser.flag("--resume", options.resume);
  parser.flag("--stop-on-error", options.stop_on_error);
  parser.option("--map-file", [&options](const std::string& text) { options.map_file = text; });
  parser.option("--digest", [&options](const std::string& text) {
    options.no_digest = text == "none";
    options.digest = find_digest(text);
    if (options.no_digest || options.digest != nullptr) return;
    throw usage("--digest: no digest is called so")
        .found("'" + printable(text) + "'")
        .expected("none, " + digest_names());
  });
  parser.option("--sparse",
                [&options](const std::string& text) { options.sparse = parse_sparse(text); });
}

void take(ExportOptions& options, std::vector<std::string> operands) {
  options.output = take_last(operands, "FILE, what to export to,");
  take_sources_and_name(options.from.sources, options.name, std::move(operands));
}

void check(const ExportOptions& options) {
  if (options.resume && options.map_file.empty()) {
    throw usage("--resume needs --map-file, the record of what is there already");
  }
  if (options.resume && options.digest != nullptr) {
    throw usage("--resume and --digest exclude each other")
        .advice("what was copied before is not read again; sha256sum and its like read the copy");
  }
}

int run(const ExportOptions& options) {
  Opening opening = opening_of(options);
  opening.wanted = options.name;
  const auto peeling = open_session(opening);
  report_warnings(options.quiet, *peeling);
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, options.name);
  const std::uint64_t size = entry.node->device->size();

  // Before the output is touched: a wrong map file must not cost anything.
  if (!options.map_file.empty()) {
    refuse_as_map_file(options.map_file, options.force || options.resume);
  }
  CopyMap map = options.resume ? CopyMap::load(options.map_file, size) : CopyMap(size);
  if (options.resume && ::access(options.output.c_str(), F_OK) != 0) {
    throw Error(Fault::missing, "--resume: " + printable(options.output) + " is not there any more")
        .advice("leave --resume out to begin anew");
  }
  ExportOutput output(options,
                      options.output == "-" ? "standard output" : printable(options.output));
  if (options.resume) check_resumed(options, output, map);
  // Where no map can be written is said now, and not behind hours of copying.
  if (!options.map_file.empty()) map.save(options.map_file, 0);
  output.keep();
  try {
    return code_for(*peeling, copy(options, entry, output, map));
  } catch (const Error& error) {
    warn(error.what());
    return exit_code::kIncomplete;
  }
}

}  // namespace

extern const VerbRow kExportVerb{
    .word = "export",
    .line = "  peelfs export SOURCE... NAME FILE     one device into a (sparse) file\n",
    .help = kHelp,
    .actions = actions_of<ExportOptions, bind, take, run, check>(),
};

}  // namespace peelfs::cli
