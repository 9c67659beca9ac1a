#include "cli/fsck/repairs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>

#include "check/host_order.h"
#include "cli/changes_text.h"
#include "cli/fsck/result.h"
#include "cli/interrupt.h"
#include "cli/next_command.h"
#include "cli/outcome.h"
#include "cli/text.h"
#include "host/in_use.h"
#include "jobs/workplace.h"
#include "overlay/commit_refusals.h"
#include "overlay/overlay.h"
#include "overlay/own_file.h"
#include "peel/names.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"

namespace peelfs::cli {
namespace {

/// As if a person had named only these sources. What their images take bytes from, and is not below
/// them, was named besides: that is said then.
SourceOptions options_for(const FsckOptions& options, const check::Unit& unit,
                          const std::vector<SourceSpec>& specs) {
  SourceOptions own = options.from;
  own.sources.clear();
  std::set<std::string> folders;
  for (const SourceSpec& spec : specs) {
    own.sources.push_back(source_word(spec));
    folders.insert(std::filesystem::absolute(spec.path).parent_path().lexically_normal());
  }
  for (const std::string& path :
       std::set<std::string>(unit.references.begin(), unit.references.end())) {
    own.allow_references.push_back(path);
    const std::string folder = std::filesystem::absolute(path).parent_path().lexically_normal();
    if (!folders.contains(folder)) own.said.emplace_back("allow-reference", path);
  }
  return own;
}

std::string why_unwritable(const FsckOptions& options, const check::Unit& unit,
                           const std::vector<SourceSpec>& specs) {
  const SourceOptions from = options_for(options, unit, specs);
  try {
    for (const SourceSpec& spec : specs) {
      if (const auto file = identity_of(spec.path)) refuse_in_use(*file, spec.path);
    }
    overlay::refuse_unwritable(commit_request_of({.from = from, .overlays = ""}));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

constexpr std::string_view kUnchecked = ".unchecked";

/// DIR/NAME.unchecked, new; nor is there a DIR/NAME.
std::string make_below(const std::string& directory, const std::vector<SourceSpec>& specs) {
  constexpr std::size_t kLongest = 100;
  const std::string file = std::filesystem::path(specs.front().path).filename().string();
  const std::string name =
      safe_file_name(specs.front().name.empty() ? file : specs.front().name).substr(0, kLongest);
  const std::string begin =
      std::filesystem::absolute(directory).lexically_normal().string() + "/" + name;
  for (unsigned i = 1;; ++i) {
    const std::string path = begin + (i == 1 ? "" : "~" + std::to_string(i));
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) continue;
    std::string unchecked = path + std::string(kUnchecked);
    if (::mkdir(unchecked.c_str(), 0700) == 0) return unchecked;
    if (errno != EEXIST) throw Error::system(errno, "cannot make " + unchecked);
  }
}

std::string without_mark(const std::string& path) {
  if (!path.ends_with(kUnchecked)) return path;
  std::string accepted = path.substr(0, path.size() - kUnchecked.size());
  if (::rename(path.c_str(), accepted.c_str()) != 0) return path;
  return accepted;
}

/// The sources of one repair, and what was done there.
class Settlement {
 public:
  Settlement(const FsckOptions& options, const Peeling& peeling, const PeelRequest& request,
             const check::Plan& plan, const check::Repair& repair,
             std::vector<check::Outcome>& outcomes)
      : options_(options),
        plan_(plan),
        repair_(repair),
        outcomes_(outcomes),
        specs_(check::specs_of(peeling, request, *repair.unit)),
        from_(options_for(options, *repair.unit, specs_)),
        written_{.from = from_,
                 .overlays = repair.overlays,
                 .own = options.keep.empty(),
                 .quiet = options.quiet} {
    find_changes_of(peeling, request);
  }

  int settle() {
    if (changes_.empty()) {
      for (const std::size_t target : repair_.targets) {
        tell(target, "the repair changes nothing");
      }
      jobs::remove_overlays(repair_.overlays);
      return fsck_exit::kOk;
    }
    Outcome outcome = options_.outcome;
    if (outcome != Outcome::commit || !options_.quiet) show();
    if (outcome == Outcome::ask) outcome = ask_for_it();
    if (outcome == Outcome::commit && check::seal_of(repair_.overlays) != repair_.seal) {
      throw Error(Fault::denied, "what is in " + repair_.overlays +
                                     " is not what was checked: somebody has written there")
          .advice("nothing is committed; remove it, and begin anew");
    }
    try {
      if (outcome == Outcome::drop) {
        jobs::remove_overlays(repair_.overlays);  // the table says so
      } else {
        conclude(written_, outcome);
      }
    } catch (const Error& error) {
      if (Interruptible::signal() == 0) warn(error.what());
      for (const std::size_t target : repair_.targets) {
        outcomes_[target].overlays = repair_.overlays;
        // Then the commit has begun, and what was there is not any more.
        outcomes_[target].is_written = is_half_committed();
        tell(target, "the repair is in " + repair_.overlays +
                         ", and is not committed: " + std::string(error.what()));
      }
      return fsck_exit::kOperational;
    }
    for (const std::size_t target : repair_.targets) {
      switch (outcome) {
        case Outcome::commit:
          outcomes_[target].is_written = true;
          break;
        case Outcome::drop:
          tell(target, "the repair would change " + outcomes_[target].change + "; it is dropped");
          break;
        default:
          outcomes_[target].overlays = repair_.overlays;
          tell(target, "the repair changes " + outcomes_[target].change + "; it is kept in " +
                           repair_.overlays + ", not committed");
      }
    }
    return fsck_exit::kOk;
  }

 private:
  /// The source is as it was.
  void tell(std::size_t target, const std::string& text) {
    check::Verdict& verdict = outcomes_[target].verdict;
    if (verdict.state == check::State::repaired) verdict.state = check::State::errors;
    verdict.why += (verdict.why.empty() ? "" : "; ") + text;
  }

  bool is_half_committed() const {
    try {
      for (const std::string& path : overlay::overlays_in(repair_.overlays)) {
        const auto file = overlay::open_overlay_file(path);
        if (overlay::is_committing(*make_storage_device(file))) return true;
      }
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): then it is not known
    }
    return false;
  }

  void find_changes_of(const Peeling& peeling, const PeelRequest& request) {
    PeelRequest own = check::request_for(peeling, request, *repair_.unit);
    own.overlay.kind = overlay::Request::Kind::view;
    own.overlay.directory = repair_.overlays;
    const Peeling after(own, peeling.keys());
    const auto before = after.uncovered();
    changes_ = find_changes_visibly(*before, after, "", !options_.quiet);
    std::erase_if(changes_, [](const DeviceChange& change) { return !change.interesting(); });
    const auto catalog = after.catalog();
    std::map<std::string, std::string> names;
    for (const Catalog::Entry& entry : catalog->devices()) {
      names.emplace(check::place_of(catalog->tree(), *entry.node), entry.name);
    }
    for (const std::size_t target : repair_.targets) {
      const auto name = names.find(plan_.targets[target].place);
      const auto change = std::ranges::find_if(changes_, [&](const DeviceChange& one) {
        return name != names.end() && one.name == name->second;
      });
      outcomes_[target].change = change == changes_.end() ? "nothing" : change_line(*change);
    }
  }

  /// One line for each filesystem.
  void show() const {
    for (const std::size_t target : repair_.targets) {
      const check::Target& one = plan_.targets[target];
      const bool repaired = outcomes_[target].verdict.state == check::State::repaired;
      say(shown(source_of(one)) + ": " + shown(one.device) + " (" + shown(one.fstype) + ") " +
          (repaired ? "is repaired, and clean when checked again" : "has its journal replayed") +
          "\n  changes " + shown(outcomes_[target].change));
    }
  }

  Outcome ask_for_it() const {
    say("peelfs: until you decide this is in " + shown(repair_.overlays));
    const std::string what = repair_.unit->sources.size() == 1
                                 ? shown(specs_.front().path)
                                 : shown(specs_.front().path) + " and " +
                                       std::to_string(repair_.unit->sources.size() - 1) + " more";
    return ask({.text = "Commit this into " + what + ", drop it, keep it, or show it?",
                .may_commit = true,
                .details = [this] {
                  std::string text;
                  print_changes(changes_, options_.verbose, true, text);
                  say(text.substr(0, text.size() - 1));
                }});
  }

  const FsckOptions& options_;
  const check::Plan& plan_;
  const check::Repair& repair_;
  std::vector<check::Outcome>& outcomes_;
  const std::vector<SourceSpec> specs_;
  const SourceOptions from_;
  const Written written_;
  std::vector<DeviceChange> changes_;
};

}  // namespace

check::RepairOptions repair_options(const FsckOptions& options) {
  check::RepairOptions how;
  how.in_place = options.in_place;
  if (!options.keep.empty()) how.accept_directory = without_mark;
  how.make_directory = [&options](const std::vector<SourceSpec>& specs) {
    if (options.keep.empty()) return jobs::make_folder("/var/tmp", "repair");
    if (::mkdir(options.keep.c_str(), 0700) != 0 && errno != EEXIST) {
      throw Error::system(errno, "cannot make " + options.keep);
    }
    return make_below(options.keep, specs);
  };
  // Overlays that are kept or dropped may be over what cannot be written.
  if (options.in_place || options.outcome == Outcome::commit || options.outcome == Outcome::ask) {
    how.cannot_be_written = [&options](const check::Unit& unit,
                                       const std::vector<SourceSpec>& specs) {
      return why_unwritable(options, unit, specs);
    };
  }
  return how;
}

void check_keep_directory(const std::string& directory) {
  if (directory.empty()) return;
  std::error_code failure;
  const auto status = std::filesystem::status(directory, failure);
  if (status.type() == std::filesystem::file_type::not_found) {
    const auto parent = std::filesystem::absolute(directory).parent_path();
    if (std::filesystem::is_directory(parent, failure)) return;
    throw Error(Fault::usage, "--keep: there is no directory " + parent.string())
        .advice("make it first, with mkdir -p");
  }
  if (!std::filesystem::is_directory(status)) {
    throw Error(Fault::usage, "--keep: " + directory + " is no directory");
  }
  if (std::filesystem::is_empty(directory, failure) && !failure) return;
  throw Error(Fault::usage, "--keep: " + directory + " is not empty")
      .expected("a directory that is new or empty: overlays of an earlier run would be continued")
      .advice("name another one");
}

int settle_repairs(const FsckOptions& options, const Peeling& peeling, const PeelRequest& request,
                   const check::Plan& plan, const std::vector<check::Repair>& repairs,
                   std::vector<check::Outcome>& outcomes) {
  int code = fsck_exit::kOk;
  for (const check::Repair& repair : repairs) {
    if (repair.overlays.empty()) continue;  // the sources were written
    try {
      code |= Settlement(options, peeling, request, plan, repair, outcomes).settle();
    } catch (const Error& error) {
      const bool is_dropped = options.outcome == Outcome::drop;
      if (is_dropped) jobs::remove_overlays(repair.overlays);
      warn(error.what());
      code |= fsck_exit::kOperational;
      for (const std::size_t target : repair.targets) {
        check::Verdict& verdict = outcomes[target].verdict;
        if (verdict.state == check::State::repaired) verdict.state = check::State::errors;
        if (!is_dropped) outcomes[target].overlays = repair.overlays;
        verdict.why += is_dropped ? std::string("; its repair is dropped")
                                  : "; the repair is in " + repair.overlays + ": " + error.what();
      }
    }
  }
  return code;
}

}  // namespace peelfs::cli
