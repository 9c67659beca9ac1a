// `peelfs hash`: digests of the devices of a tree, in one pass over the sources.
#include "cli/verbs/hash.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "cli/groups/format.h"
#include "cli/hash_check.h"
#include "cli/hash_devices.h"
#include "cli/hash_output.h"
#include "cli/interrupt.h"
#include "cli/operands.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/host_call.h"
#include "host/source.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr const char* kBefore = R"(peelfs hash [OPTIONS] SOURCE... [NAME...]

Computes digests of devices: of all that are in the sources, or of those that are named.
The output is that of sha256sum, so that 'sha256sum -c' takes it in a mount of the same
sources. Keys are derived once, and the sources are read once for all devices that lie in
them in one order; holes are not read. Several digests are computed at once.

The words behind the sources that name no file are NAMEs; or write -- before the NAMEs.

  -a, --algorithm LIST    sha256 (unless said otherwise), md5, sha1, sha224, sha384, sha512,
                          blake2b, sha3-256, sha3-512, sm3, ripemd160; several with commas
                          between them, which makes the output that of --tag
  --all                   also what is in snapshots of an image; with NAMEs, also all
                          devices that lie in them
  -c, --check FILE        compare with the list of digests in FILE ("-": standard input),
                          as sha256sum and others, or this verb, write it
  --piecewise SIZE        a digest of each SIZE bytes of a device (64K, 1M, 2G ... as well)
  --tag                   lines as 'SHA256 (NAME) = DIGEST', as BSD and 'cksum' write them
  -j, --jobs N            digests at once (as many as there are processors)
  -J, --json              JSON, for programs
  --timeout SECONDS       give up when a source leaves a read unanswered so long (60)
)";
constexpr const char* kAfter = R"(
What cannot be read to its end has no digest, and is named with the reason; so is what lies
in a locked or damaged device. Neither has a source that a guest is writing, or that is
changed meanwhile (a block device: as far as the kernel has counted writes). No guest can begin to write one, as far as it honours qemu's locks.

Exit status: 0 all digests are there (-c: and right); 1 some are not, or differ, or a line
of the list is none; 2 nothing hashed.

Examples:
  peelfs hash --key-file key disk.img >digests
  peelfs hash --key-file key -c digests disk.img
  peelfs hash -a md5,sha1 disk.qcow2 diskp1 diskp2
)";
constexpr std::array<const char*, 7> kHelp{
    kBefore, kSourceHelp, kOverlayHelp, kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp, kAfter};

std::vector<const DigestAlgorithm*> parse_algorithms(const std::string& text) {
  std::vector<const DigestAlgorithm*> algorithms;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    begin = end + 1;
    const DigestAlgorithm* const found = find_digest(name);
    if (found == nullptr) {
      throw usage("--algorithm: no digest is called so")
          .found("'" + printable(name) + "'")
          .expected(digest_names());
    }
    if (std::ranges::find(algorithms, found) == algorithms.end()) algorithms.push_back(found);
  }
  return algorithms;
}

void bind(Parser& parser, HashVerbOptions& options) {
  bind_look(parser, options);
  bind_json(parser, options.json);
  parser.behind_dashes(options.names);
  parser.flag("--all", options.all);
  parser.flag("--tag", options.tag);
  parser.option("--algorithm,-a", [&options](const std::string& text) {
    for (const DigestAlgorithm* one : parse_algorithms(text)) {
      auto& all = options.algorithms;
      if (std::ranges::find(all, one) == all.end()) all.push_back(one);
    }
  });
  parser.option("--check,-c", [&options](const std::string& path) {
    need_value("check", path);
    options.list = path;
  });
  parser.option("--piecewise", [&options](const std::string& text) {
    options.piece = parse_size(text, "--piecewise");
    if (options.piece == 0) throw usage("--piecewise: pieces of 0 bytes").expected("at least 1");
  });
  parser.option("--jobs,-j", [&options](const std::string& text) {
    const auto number = parse_number(text);
    constexpr std::uint64_t kMost = 256;
    if (!number || *number == 0 || *number > kMost) {
      throw usage("--jobs takes a number from 1 to " + std::to_string(kMost))
          .found("'" + printable(text) + "'");
    }
    options.jobs = static_cast<unsigned>(*number);
  });
}

/// Whether a word can only be meant as a source, or there is a file of that name. One that does not
/// answer is said when the sources are opened.
bool is_source(const std::string& word, std::chrono::seconds patience) {
  if (word.starts_with("/") || word.starts_with("./") || word.starts_with("../")) return true;
  const std::string path = parse_source(word).path;
  try {
    return answer_in_time(path, patience, [path] {
      struct stat status {};
      return ::stat(path.c_str(), &status) == 0;
    });
  } catch (const Error&) {
    return true;
  }
}

void take(HashVerbOptions& options, std::vector<std::string> operands) {
  if (options.names.empty() && !operands.empty()) {
    const auto named = [&](const std::string& word) { return is_source(word, options.patience); };
    // The first is a source in any case: if it is not there, that is what there is to say.
    const auto names = std::find_if_not(operands.begin() + 1, operands.end(), named);
    if (const auto late = std::find_if(names, operands.end(), named); late != operands.end()) {
      throw usage("'" + printable(*late) + "' is a source, and stands behind '" +
                  printable(*names) + "', which is no file")
          .expected("all sources first, then the names of devices")
          .advice("if it is the name of a device, write -- before the names");
    }
    options.names.assign(names, operands.end());
    operands.erase(names, operands.end());
  }
  take_sources(options.from.sources, std::move(operands), "");
}

void check(const HashVerbOptions& options) {
  if (options.list.empty()) return;
  if (!options.names.empty()) {
    throw usage("--check and NAMEs exclude each other")
        .found("'" + printable(options.names.front()) + "'")
        .advice("the list says which devices are compared; 'grep' makes a shorter one");
  }
  if (options.piece != 0) throw usage("--check and --piecewise exclude each other");
  if (options.tag) throw usage("--check and --tag exclude each other");
}

/// Computes, with a bar. Ctrl-C ends the program: nothing was said yet, and nothing is to be left
/// in order.
HashResult compute(const HashVerbOptions& options, const std::vector<HashSubject>& subjects,
                   const std::vector<const DigestAlgorithm*>& algorithms) {
  const Interruptible interruptible;
  Progress progress("hashing", hash_total(subjects), !options.quiet);
  HashOptions how;
  how.algorithms = algorithms;
  how.threads =
      options.jobs != 0 ? options.jobs : std::max(1U, std::thread::hardware_concurrency());
  how.progress = [&](std::uint64_t done) {
    if (Interruptible::signal() != 0) {
      progress.clear();
      Interruptible::obey();
    }
    progress.update(done);
  };
  HashResult result = hash_devices(subjects, how);
  progress.clear();
  if (Interruptible::signal() != 0) Interruptible::obey();
  return result;
}

int check_list(const HashVerbOptions& options, const Peeling& peeling, const Catalog& catalog,
               const HashDevices& devices, HashCheck& list) {
  const std::vector<HashSubject> subjects = list.plan(devices, catalog);
  list.compare(devices, compute(options, subjects, list.algorithms()));
  options.json ? put(list.json(peeling.warnings())) : put(list.lines(options.quiet));
  finish_output();
  for (const std::string& complaint : list.complaints()) warn(complaint);
  bool good = list.is_good();
  if (options.all) {
    for (const std::string& name : list.unnamed(devices.all(true))) {
      warn(name + " is not in the list");
      good = false;
    }
  }
  return code_for(peeling, good ? exit_code::kOk : exit_code::kIncomplete);
}

/// Every digest is in memory until all are there.
void refuse_too_many(const std::vector<HashSubject>& subjects, std::size_t algorithms) {
  std::uint64_t digests = 0;
  for (const HashSubject& subject : subjects) digests += subject.pieces.size() * algorithms;
  if (digests <= kMostHashPieces) return;
  throw usage("--piecewise: that many digests are not kept in memory")
      .found(std::to_string(digests) + " of all devices and algorithms")
      .expected("at most " + std::to_string(kMostHashPieces))
      .advice("take larger pieces, or one device and one algorithm at a time");
}

int hash_all(const HashVerbOptions& options, const Peeling& peeling, const HashDevices& devices) {
  const bool named = !options.names.empty();
  std::vector<HashedDevice> all;
  for (HashDevice& device :
       named ? devices.named(options.names, options.all) : devices.all(options.all)) {
    all.push_back({std::move(device), {}, {}});
  }
  HashOutput output;
  output.algorithms = options.algorithms;
  if (output.algorithms.empty()) output.algorithms.push_back(find_digest("sha256"));
  if (options.tag || output.algorithms.size() > 1) output.format = DigestFormat::tagged;
  output.by_piece = options.piece != 0;

  std::vector<HashSubject> subjects;
  std::vector<std::size_t> whose;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].device.refusal) continue;
    all[i].ranges = pieces_of(*all[i].device.node->device, options.piece);
    subjects.push_back(devices.subject(all[i].device, all[i].ranges));
    whose.push_back(i);
  }
  refuse_too_many(subjects, output.algorithms.size());
  HashResult result = compute(options, subjects, output.algorithms);
  for (std::size_t i = 0; i < whose.size(); ++i) {
    HashedDevice& hashed = all[whose[i]];
    hashed.pieces = std::move(result.pieces[i]);
    hashed.device.refusal = devices.changed(hashed.device);
    if (hashed.device.refusal) hashed.pieces.clear();
  }
  options.json ? put(digests_json(all, output, peeling.warnings()))
               : put(digest_lines(all, output));
  finish_output();

  int code = exit_code::kOk;
  for (const HashedDevice& hashed : all) {
    const std::vector<std::string> missing = missing_digests(hashed, output.by_piece);
    constexpr std::size_t kMost = 100;
    for (std::size_t i = 0; i < std::min(kMost, missing.size()); ++i) warn(missing[i]);
    if (missing.size() > kMost) {
      warn("... and " + std::to_string(missing.size() - kMost) + " more places in " +
           hashed.device.name + "; --json names them all");
    }
    const auto unopened = unopened_text(hashed.device);
    // Of what is named only its own bytes were asked for.
    const bool wanted = !named || options.all;
    if (missing.empty() && wanted && unopened) warn(*unopened);
    if (!missing.empty() || (wanted && unopened)) code = exit_code::kIncomplete;
  }
  if (!named && !options.all && devices.in_snapshots() != 0 && !options.quiet) {
    warn(std::to_string(devices.in_snapshots()) +
         " devices in snapshots are left out; --all hashes them, too");
  }
  return code_for(peeling, code);
}

/// A word that is a file here and a device in the sources before it: a person who compares a copy
/// with the device would get the copy's digest under the device's name.
void refuse_ambiguous(const HashVerbOptions& options, const Catalog& catalog) {
  for (std::size_t i = 1; i < options.from.sources.size(); ++i) {
    const std::string& word = options.from.sources[i];
    if (word.find('/') != std::string::npos || word.find('=') != std::string::npos) continue;
    for (const Catalog::Entry& entry : catalog.devices()) {
      const Node& node = *entry.node;
      // With the file among the sources, the device's name has its disk's before it.
      const bool is_called_so = entry.name == word || entry.name.ends_with("." + word);
      if (!is_called_so || node.parents.empty() || node.source_path == word) continue;
      throw usage("'" + printable(word) + "' is a file here, and " + entry.name +
                  " is a device in the sources")
          .advice("write ./" + printable(word) + " for the file, or -- " + printable(word) +
                  " for the device");
    }
  }
}

int run(const HashVerbOptions& options) {
  std::optional<HashCheck> list;  // before all the work
  if (!options.list.empty()) list.emplace(options.list, options.algorithms);
  Opening opening = opening_of(options);
  if (options.names.size() == 1) opening.wanted = options.names.front();
  opening.patience->for_good = true;
  const auto peeling = open_session(opening);
  report_warnings(options.quiet, *peeling);
  const auto catalog = peeling->catalog();
  refuse_ambiguous(options, *catalog);
  const HashDevices devices(*peeling, *catalog);
  if (list) return check_list(options, *peeling, *catalog, devices, *list);
  return hash_all(options, *peeling, devices);
}

}  // namespace

extern const VerbRow kHashVerb{
    .word = "hash",
    .line = "  peelfs hash SOURCE... [NAME...]       digests of devices, as sha256sum's\n",
    .help = kHelp,
    .actions = actions_of<HashVerbOptions, bind, take, run, check>(),
};

}  // namespace peelfs::cli
