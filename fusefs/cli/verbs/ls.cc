// `peelfs ls`: what is in sources, as a table in the shape that people know from lsblk; what a
// mount holds; and what is mounted.
#include "cli/verbs/ls.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "cli/groups/format.h"
#include "cli/mounts_report.h"
#include "cli/operands.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/values.h"
#include "host/host_call.h"
#include "host/mountinfo.h"
#include "mount/control_client.h"
#include "peel/document.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

using Json = nlohmann::ordered_json;

/// What makes `ls` say that the listing is incomplete. A device that waits for its key, or holds
/// what peelfs does not do, is shown as it is: that is no failure.
bool is_failure(std::string_view state) {
  return !state.empty() && state != state_name(Trouble::note) &&
         state != state_name(Trouble::unsupported) && state != state_name(Trouble::locked);
}

bool has_failure(const Tree& tree) {
  return std::ranges::any_of(tree.nodes, [](const auto& item) {
    const auto& trouble = item.second->trouble;
    return trouble && is_failure(state_name(trouble->state));
  });
}

bool has_failure(const Json& devices) {
  return std::ranges::any_of(devices, [](const Json& device) {
    const Json& state = device.at("state");
    if (state.is_string() && is_failure(state.get<std::string>())) return true;
    return device.contains("children") && has_failure(device.at("children"));
  });
}

constexpr const char* kBefore = R"(peelfs ls [-l] [-o COLUMNS] [-b] [--json] SOURCE...
peelfs ls [-l] [-o COLUMNS] [-b] [--json] MOUNTPOINT
peelfs ls [-b] [--json]

Shows the devices inside as a tree: NAME TYPE SIZE FSTYPE LABEL UUID, and in STATE that a
branch ends: locked, damaged, missing, degraded, unsupported, denied, io, or a note. Why
stands below the tree. Empty columns are left out; on a terminal that is too narrow UUID
goes first, then LABEL. A device on several others stands below each; what is in it is
shown once. Backing and data files of an image have a line below it. What a directory
holds besides disk images is counted (-v: named): links in it are not followed.

Of a MOUNTPOINT it shows what is mounted there, also what was unlocked since. Without
either it lists the mounts of peelfs, their sources and overlays, and what 'peelfs try'
has kept in temporary directories, how old it is, and what 'peelfs drop' would free.

  -l, --long              also START, SECTORS, PARTTYPENAME, BOOT and MEMBERS, and who has a
                          source in use
  -o, --output COLUMNS    these columns, as lsblk; with + before them, behind the usual ones
  -n, --noheadings        without the line of headings
  -b, --bytes             sizes in bytes
  --tree SIGNS            branches as ascii or unicode; otherwise by the locale (auto)
  --color WHEN            colours: always, never, or on a terminal (auto) where the
                          environment has no NO_COLOR
  --timeout SECONDS       give up when a source leaves a question unanswered so long (60)
  -J, --json              JSON in the shape of lsblk -J with all columns, for programs

COLUMNS, with commas between them:
  NAME, TYPE, SIZE, FSTYPE, LABEL, UUID, STATE   as above; REASON: why
  START, SECTORS  of a partition, in sectors of 512 bytes; OFFSET: START in bytes
  PARTN, PARTTYPENAME, PARTTYPE, PARTLABEL, PARTUUID, BOOT   what its table says of it
  PTTYPE, PTUUID  the partition table of a disk
  MEMBERS, GROUP  of a volume group, MD array or btrfs: "1 of 2" is here; which one
  RO, LOG-SEC     1 where it cannot be written; bytes of a logical sector
  SOURCE, FORMAT  of a source: its path, and qcow2 or vhd
  HOLDER          the program that has a source in use, by its lock
)";
constexpr const char* kAfter = R"(
Exit status: 0 all shown; 1 shown, but a source could not be opened, or a device is
damaged, degraded, missing or unreadable (locked and unsupported ones are no failure);
2 nothing shown.

Examples:
  peelfs ls disk.img
  peelfs ls -o NAME,START,SECTORS,PARTTYPENAME disk.img
  peelfs ls --json /dev/sdb /dev/sdc | jq '.blockdevices[].children'
  peelfs ls /mnt/p
)";
constexpr std::array<const char*, 7> kHelp{
    kBefore, kSourceHelp, kOverlayHelp, kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp, kAfter};

void bind(Parser& parser, LsOptions& options) {
  bind_look(parser, options);
  bind_json(parser, options.json);
  parser.flag("--bytes,-b", options.bytes);
  parser.flag("--long,-l", options.more);
  parser.flag("--noheadings,-n", options.no_headings);
  parser.option("--output,-o", [&options](const std::string& text) {
    need_value("output", text);
    options.columns = text;
  });
  parser.option("--tree",
                [&options](const std::string& text) { options.signs = parse_tree_signs(text); });
  parser.option("--color",
                [&options](const std::string& text) { options.color = parse_color(text); });
}

void take(LsOptions& options, std::vector<std::string> operands) {
  options.from.sources = std::move(operands);
}

std::vector<const TreeColumn*> columns_of(const LsOptions& options) {
  auto usual = options.more ? long_columns() : usual_columns();
  return options.columns.empty() ? usual : parse_columns(options.columns, std::move(usual));
}

void check(const LsOptions& options) {
  if (options.columns.empty()) return;
  columns_of(options);
  if (options.json) {
    throw usage("--json and -o exclude each other")
        .advice(
            "--json has every column, under its name in small letters: jq picks those that you "
            "want");
  }
}

TreeLook look_of(const LsOptions& options) {
  return {.columns = columns_of(options),
          .chosen = !options.columns.empty(),
          .holders = options.more,
          .headings = !options.no_headings,
          .bytes = options.bytes,
          .signs = options.signs,
          .colors = colors_wanted(options.color),
          .width = output_width()};
}

void print(const LsOptions& options, const Json& document) {
  put(options.json ? document_text(document) : tree_text(document, look_of(options)));
  finish_output();
}

/// How long the process of a mount may take to say what it is. It need not ask a source for it.
constexpr std::chrono::seconds kMountPatience{3};

int list_mounts(const LsOptions& options) {
  const Json document = mounts_document(std::min(options.patience, kMountPatience));
  put(options.json
          ? document_text(document)
          : mounts_text(document, output_width(), options.bytes, colors_wanted(options.color)));
  finish_output();
  return exit_code::kOk;
}

/// The mount of peelfs that an operand is the mount point of. The mount itself is not touched, but
/// what its path leads through may not answer: that is said when it is opened as a source.
std::optional<MountEntry> mount_at(const std::string& operand, std::chrono::seconds patience) {
  try {
    const auto mount = find_mount(
        answer_in_time(operand, patience, [operand] { return resolve_mountpoint(operand); }));
    if (mount && mount->is_peelfs()) return mount;
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it is a source, or nothing
  }
  return std::nullopt;
}

int list_mount(const LsOptions& options, const MountEntry& mount) {
  const std::string& point = mount.mountpoint;
  if (!options.from.keys.origins.empty()) {
    throw usage("keys open nothing in a mount that is there already")
        .found("a key, and the mount " + printable(point))
        .advice("to open a device there: " + shell_line({"peelfs", "unlock", point}));
  }
  const Json document = Json::parse(
      request_status(mount, true, std::max(options.patience, kMountPatience)), nullptr, false);
  if (!document.is_object() || !document.contains("blockdevices")) {
    throw Error(Fault::unsupported,
                "the process of the mount " + printable(point) + " answers what is not understood")
        .expected("a tree of devices")
        .advice("it may be an older peelfs: unmount it, and mount it anew");
  }
  print(options, document);
  return has_failure(document.at("blockdevices")) ? exit_code::kIncomplete : exit_code::kOk;
}

int run(const LsOptions& options) {
  if (options.from.sources.empty()) return list_mounts(options);
  for (const std::string& operand : options.from.sources) {
    const auto mount = mount_at(operand, options.patience);
    if (mount && options.from.sources.size() == 1) return list_mount(options, *mount);
    if (!mount) continue;
    throw usage(printable(operand) + " is a mount of peelfs, and no source")
        .found("other operands beside it")
        .advice("list it alone: " + shell_line({"peelfs", "ls", operand}));
  }
  Opening opening = opening_of(options);
  opening.patience->for_good = true;
  opening.tells_left_out = true;
  const auto peeling = open_session(opening);
  report_warnings(options.quiet, *peeling);
  const auto catalog = peeling->catalog();
  const Json document = tree_document(*catalog);
  print(options, document);
  const bool failed = !peeling->complete() || has_failure(catalog->tree());
  return failed ? exit_code::kIncomplete : exit_code::kOk;
}

}  // namespace

extern const VerbRow kLsVerb{
    .word = "ls",
    .line =
        "  peelfs ls SOURCE...                   show what is inside, as a tree\n"
        "  peelfs ls [MOUNTPOINT]                what is mounted, and what is in a mount\n",
    .help = kHelp,
    .actions = actions_of<LsOptions, bind, take, run, check>(),
};

}  // namespace peelfs::cli
