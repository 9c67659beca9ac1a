#include "cli/mount_notes.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/text.h"
#include "cli/unmet.h"
#include "jobs/relatives.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

/// Adds to what is unmet: names in -o writable= that no device has, or that change nothing.
void find_unmet_names(const MountVerbOptions& options, Peeling& peeling) {
  const auto catalog = peeling.catalog();
  for (const std::string& name : options.mount.writable_containers) {
    if (catalog->find(name) != nullptr) {
      if (!options.in_place && !options.has_overlay()) {
        peeling.add_unmet(
            "-o writable=" + printable(name) +
            " does nothing: this mount is read-only; --overlay DIR makes it writable");
      }
      continue;
    }
    peeling.add_unmet("no device is called '" + printable(name) +
                      "', which -o writable= names; there are " + Peeling::names_text(*catalog) +
                      locked_hint(peeling));
  }
}

/// What is locked stays so; later it can be opened in the mount.
void explain_locked(const MountVerbOptions& options, const Peeling& peeling) {
  if (options.quiet) return;
  for (const Catalog::Entry& entry : peeling.locked()) {
    warn(entry.name + " is locked; to open it: " +
         shell_line({"peelfs", "unlock", options.mount.mountpoint, entry.name}));
  }
}

/// Where in a mount that can be written it ends that things can be: what lies in there is silently
/// read-only otherwise, however deep.
void explain_read_only(const MountVerbOptions& options, const Peeling& peeling) {
  if (!options.writes() || options.quiet) return;
  const auto catalog = peeling.catalog();
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> refused;
  for (const Catalog::Entry& entry : catalog->devices()) {
    const Node& node = *entry.node;
    if (node.device->writable() || node.component || node.kind == "snapshot") continue;
    const std::string reason = node.device->read_only_reason();
    if (reason.empty() || node.parents.empty()) continue;
    const Node& below = catalog->tree().at(node.parents.front());
    if (!below.device->writable()) continue;  // said there
    refused[{catalog->name_of(below.id), reason}].push_back(entry.name);
  }
  for (const auto& [why, names] : refused) {
    const std::string more =
        names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "";
    warn(names.front() + more + (why.first.empty() ? "" : ", on " + why.first + ",") +
         " and what lies in there can only be read: " + why.second);
  }
}

}  // namespace

void note_for_mount(const MountVerbOptions& options, Peeling& peeling) {
  find_unmet_names(options, peeling);
  explain_locked(options, peeling);
  explain_read_only(options, peeling);
  if (options.has_overlay() && !options.read_only && !options.quiet) {
    const std::string visible = jobs::visible_originals(*peeling.catalog());
    if (!visible.empty()) warn(visible);
  }
}

}  // namespace peelfs::cli
