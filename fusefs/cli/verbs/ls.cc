// `peelfs ls`: the tree as a table, in the shape that people know from lsblk.
#include "cli/verbs/ls.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "cli/groups/format.h"
#include "cli/operands.h"
#include "cli/session.h"
#include "cli/text.h"

namespace peelfs::cli {
namespace {

enum Column : std::size_t { kName, kType, kSize, kFstype, kLabel, kUuid, kState, kColumns };
using Row = std::array<std::string, kColumns>;

/// How the branches of the tree are drawn.
struct Branches {
  std::string middle, last, below_middle, below_last, more;
};

Branches branches() {
  if (unicode_output()) return {"├─", "└─", "│ ", "  ", "…"};
  return {"|-", "`-", "| ", "  ", "..."};
}

/// A device that is shown below more than one other has its branch under the first only: a VG on
/// many disks would be repeated for each of them otherwise.
class Table {
 public:
  Table(const Catalog& catalog, bool bytes) : catalog_(catalog), bytes_(bytes) {
    rows_.push_back({"NAME", "TYPE", "SIZE", "FSTYPE", "LABEL", "UUID", "STATE"});
    for (const std::uint64_t id : visible(catalog.tree().roots)) add(id, "", "");
  }

  void print() const {
    std::array<std::size_t, kColumns> widths{};
    for (const Row& row : rows_) {
      for (std::size_t i = 0; i < kColumns; ++i) {
        widths[i] = std::max(widths[i], display_width(row[i]));
      }
    }
    for (const Row& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < kColumns; ++i) {
        if (i != 0) line += ' ';
        line += i == kSize ? pad_left(row[i], widths[i]) : pad_right(row[i], widths[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      put(line + "\n");
    }
  }

 private:
  /// A container whose disk took its place is no device file: its children stand where it would.
  std::vector<std::uint64_t> visible(const std::vector<std::uint64_t>& ids) const {
    std::vector<std::uint64_t> result;
    for (const std::uint64_t id : ids) {
      const Node& node = catalog_.tree().at(id);
      if (!node.hidden) {
        result.push_back(id);
        continue;
      }
      const auto below = visible(node.children);
      result.insert(result.end(), below.begin(), below.end());
    }
    return result;
  }

  void add(std::uint64_t id, const std::string& own, const std::string& below) {
    const Node& node = catalog_.tree().at(id);
    Row row = row_of(node);
    row[kName] = own + row[kName];
    const bool again = !drawn_.insert(id).second;
    if (again) {
      if (!node.children.empty()) row[kName] += " " + signs_.more;
      if (node.trouble) row[kState] = std::string(state_name(node.trouble->state)) + ", as above";
      rows_.push_back(std::move(row));
      return;
    }
    rows_.push_back(std::move(row));
    const auto children = visible(node.children);
    add_parts(node, children.empty(), below);
    const std::size_t fresh = shown_children(children);
    for (std::size_t i = 0; i < fresh; ++i) {
      const bool last = i + 1 == fresh && fresh == children.size();
      add(children[i], below + (last ? signs_.last : signs_.middle),
          below + (last ? signs_.below_last : signs_.below_middle));
    }
    if (fresh == children.size()) return;
    Row rest;
    rest[kName] = below + signs_.last + signs_.more;
    rest[kState] = std::to_string(children.size() - fresh) + " devices shown above";
    rows_.push_back(std::move(rest));
  }

  /// The files that the image names and its bytes come from, a line each.
  void add_parts(const Node& node, bool no_children, const std::string& below) {
    for (std::size_t i = 0; i < node.parts.size(); ++i) {
      const Part& part = node.parts[i];
      const bool last = no_children && i + 1 == node.parts.size();
      Row row;
      row[kName] = below + (last ? signs_.last : signs_.middle) + shown(part.name);
      row[kType] = part.role;
      const std::uint64_t size = part.size;
      row[kSize] = bytes_ ? std::to_string(size) : human_size(size);
      rows_.push_back(std::move(row));
    }
  }

  /// How many children get lines of their own: all, but of many that all stand above already none.
  std::size_t shown_children(const std::vector<std::uint64_t>& children) const {
    constexpr std::size_t kFew = 3;
    const bool repeated = std::all_of(children.begin(), children.end(),
                                      [&](std::uint64_t id) { return drawn_.contains(id); });
    return repeated && children.size() > kFew ? 0 : children.size();
  }

  Row row_of(const Node& node) const {
    Row row;
    row[kName] = shown(catalog_.name_of(node.id));
    row[kType] = shown(node.kind);
    const std::uint64_t size = node.device->size();
    row[kSize] = bytes_ ? std::to_string(size) : human_size(size);
    const bool table = node.format == "gpt" || node.format == "dos" || node.format == "raw";
    row[kFstype] = shown(node.identity.type.empty() && !table ? node.format : node.identity.type);
    row[kLabel] = shown(node.identity.label);
    row[kUuid] = shown(node.identity.uuid);
    // Of several sources with one name: which file this one is.
    if (catalog_.is_doubled(node.id)) row[kState] = shown("file " + catalog_.source_of(node.id));
    if (node.trouble) {
      row[kState] += row[kState].empty() ? "" : "; ";
      row[kState] += shown(text_of(*node.trouble));
    }
    return row;
  }

  const Catalog& catalog_;
  const bool bytes_;
  const Branches signs_ = branches();
  std::set<std::uint64_t> drawn_;
  std::vector<Row> rows_;
};

/// What makes `ls` say that the listing is incomplete. A device that waits for its key, or holds
/// what peelfs does not do, is shown as it is: that is no failure.
bool is_failure(const Node& node) {
  if (!node.trouble) return false;
  switch (node.trouble->state) {
    case Trouble::note:
    case Trouble::unsupported:
    case Trouble::locked:
      return false;
    default:
      return true;
  }
}

constexpr const char* kBefore = R"(peelfs ls [-b] [--json] SOURCE...

Shows the devices inside as a tree: NAME TYPE SIZE FSTYPE LABEL UUID, and in STATE why a
branch ends: locked, damaged, missing, degraded, unsupported, denied, io, or a note.
A device on several others stands below each; what is in it is shown once. Backing and
data files of an image have a line below it. What a directory holds besides disk images
is counted (-v: named): links in it are not followed.

  -b, --bytes             sizes in bytes
  --timeout SECONDS       give up when a source leaves a question unanswered so long (60)
  -J, --json              JSON in the shape of lsblk -J, for programs
)";
constexpr const char* kAfter = R"(
Exit status: 0 all shown; 1 shown, but a source could not be opened, or a device is
damaged, degraded, missing or unreadable (locked and unsupported ones are no failure);
2 nothing shown.

Examples:
  peelfs ls disk.img
  peelfs ls --json /dev/sdb /dev/sdc | jq '.blockdevices[].children'
)";
constexpr std::array<const char*, 7> kHelp{
    kBefore, kSourceHelp, kOverlayHelp, kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp, kAfter};

void bind(Parser& parser, LsOptions& options) {
  bind_look(parser, options);
  bind_json(parser, options.json);
  parser.flag("--bytes,-b", options.bytes);
}

void take(LsOptions& options, std::vector<std::string> operands) {
  take_sources(options.from.sources, std::move(operands), "");
}

int run(const LsOptions& options) {
  Opening opening = opening_of(options);
  opening.patience->for_good = true;
  opening.tells_left_out = true;
  const auto peeling = open_session(opening);
  report_warnings(options.quiet, *peeling);
  const auto catalog = peeling->catalog();
  if (options.json) {
    put(tree_json(*catalog));
  } else {
    Table(*catalog, options.bytes).print();
  }
  finish_output();
  const auto& nodes = catalog->tree().nodes;
  const bool failed = !peeling->complete() ||
                      std::any_of(nodes.begin(), nodes.end(),
                                  [](const auto& item) { return is_failure(*item.second); });
  return failed ? exit_code::kIncomplete : exit_code::kOk;
}

}  // namespace

extern const VerbRow kLsVerb{
    .word = "ls",
    .line = "  peelfs ls SOURCE...                   show what is inside, as a tree\n",
    .help = kHelp,
    .actions = actions_of<LsOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
