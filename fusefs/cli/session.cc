#include "cli/session.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "cli/asking.h"
#include "cli/left_out.h"
#include "cli/named_twice.h"
#include "cli/secrets.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/host_call.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

/// Without anybody to ask, what is locked stays so; a mount says how to open it later.
void explain_locked(const Command& command, const Peeling& peeling, bool newline_key) {
  const auto locked = peeling.locked();
  if (locked.empty() || command.quiet) return;
  if (newline_key) {
    warn(
        "a key that was given ends with a newline, which is part of it as for cryptsetup's "
        "--key-file; "
        "if no key fits, write the file with printf instead of echo");
  }
  if (command.verb != Verb::mount) return;
  for (const Catalog::Entry& entry : locked) {
    warn(entry.name + " is locked; to open it: " +
         shell_line({"peelfs", "unlock", command.mount.mountpoint, entry.name}));
  }
}

/// What lies in directories that were named, and is no source.
void explain_left_out(const Command& command, const Peeling& peeling) {
  if (command.quiet) return;
  // A link may well be meant; the rest is of interest to who looks at what there is.
  std::vector<LeftOutEntry> left_out = peeling.left_out();
  if (command.verb != Verb::ls && !command.verbose) {
    std::erase_if(left_out,
                  [](const LeftOutEntry& one) { return one.why != LeftOutEntry::Why::link; });
  }
  for (const std::string& line : left_out_lines(left_out, command.verbose)) warn(line);
}

/// Where in a mount that can be written it ends that things can be: what lies in there is silently
/// read-only otherwise, however deep.
void explain_read_only(const Command& command, const Peeling& peeling) {
  const bool overlay = !command.from.overlay.empty() || command.from.overlay_temp;
  const bool written = command.in_place || (overlay && !command.read_only);
  if (command.verb != Verb::mount || !written || command.quiet) return;
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

/// Those that carry a tag (UUID=..., or a UUID alone) that names none because several do.
std::string carriers(const Catalog& catalog, std::string_view what) {
  const auto carries = [&](std::string_view tag, const std::string& value) {
    return !value.empty() && what.starts_with(tag) && what.substr(tag.size()) == value;
  };
  std::string names;
  std::size_t found = 0;
  for (const Catalog::Entry& entry : catalog.devices()) {
    const Node& node = *entry.node;
    if (!carries("UUID=", node.identity.uuid) && !carries("", node.identity.uuid) &&
        !carries("LABEL=", node.identity.label) && !carries("PARTUUID=", node.partuuid) &&
        !carries("", node.partuuid) && !carries("PARTLABEL=", node.partlabel)) {
      continue;
    }
    names += (found++ == 0 ? "" : ", ") + entry.name;
  }
  return found > 1 ? names : "";
}

/// The one device that a verb is about; empty: all of them.
std::string wanted_device(const Command& command) {
  const bool one =
      command.verb == Verb::cat || command.verb == Verb::export_ || command.verb == Verb::map;
  return one ? command.name : "";
}

bool has_clock(Verb verb) {
  switch (verb) {
    case Verb::mount:
    case Verb::ls:
    case Verb::cat:
    case Verb::map:
    case Verb::export_:
    case Verb::diff:
      return true;
    default:
      return false;
  }
}

std::vector<std::string> names_of(const Catalog& catalog) {
  std::vector<std::string> names;
  for (const Catalog::Entry& entry : catalog.devices()) names.push_back(entry.name);
  return names;
}

/// Only a mount writes into an overlay, and makes one; everybody else looks through it.
overlay::Request overlay_request(const Command& command) {
  using Kind = overlay::Request::Kind;
  const bool mounts = command.verb == Verb::mount && !command.read_only;
  overlay::Request request;
  request.directory = command.from.overlay;
  request.accept_source = command.from.accept_source;
  request.accept_shared = command.from.accept_shared;
  if (!request.directory.empty()) request.kind = mounts ? Kind::persistent : Kind::view;
  if (command.from.overlay_temp) request.kind = Kind::temporary;
  return request;
}

}  // namespace

OpeningClock::OpeningClock(const Command& command)
    : for_good_(command.verb == Verb::ls || command.verb == Verb::cat ||
                command.verb == Verb::map) {
  if (!has_clock(command.verb)) return;
  const int code = command.verb == Verb::mount ? mount_exit::failed : exit_code::nothing;
  watch_host_calls(command.patience, [patience = command.patience, code](const std::string& path) {
    const std::string line = std::string("peelfs: ") + no_answer(path, patience).what() + "\n";
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
    ::_exit(code);
  });
}

OpeningClock::~OpeningClock() {
  if (!for_good_) watch_host_calls_no_more();
}

std::string source_text(const std::vector<std::string>& sources) {
  constexpr std::size_t kLongest = 1000;  // the kernel takes one page of options in all
  std::string text;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    std::string escaped;
    for (const char c : sources[i]) {
      escaped += c;
      if (c == '|') escaped += c;
    }
    if (i != 0 && text.size() + escaped.size() > kLongest) {
      return text + "|...";
    }
    text += (i != 0 ? "|" : "") + escaped;
  }
  return text;
}

PeelRequest peel_request(const Command& command) {
  PeelRequest request;
  for (const std::string& source : command.from.sources) {
    request.sources.push_back(parse_source(source));
    if (has_clock(command.verb)) request.sources.back().patience = command.patience;
  }
  request.allow_references = command.from.allow_references;
  request.headers = command.from.headers;
  request.limits = command.from.limits;
  request.writable = command.verb == Verb::mount && command.in_place;
  request.overlay = overlay_request(command);
  if (request.writable || request.overlay.kind != overlay::Request::Kind::none) {
    refuse_twice(request.sources);
  }
  return request;
}

std::shared_ptr<Peeling> open_session(const Command& command) {
  const OpeningClock clock(command);
  const PeelRequest request = peel_request(command);
  auto ring = std::make_shared<KeyRing>();
  bool newline = false;
  for (NamedKey& key : read_keys(command.from.keys)) {
    newline = newline || key.ends_with_newline;
    if (key.whose.empty()) {
      ring->add_for_all(std::move(key.key));
    } else {
      ring->add_for(std::move(key.whose), std::move(key.key));
    }
  }
  auto peeling = std::make_shared<Peeling>(request, std::move(ring));
  explain_left_out(command, *peeling);
  if (command.from.prompt) ask_for_locked(*peeling, wanted_device(command));
  find_unmet(command, *peeling);
  explain_locked(command, *peeling, newline);
  explain_read_only(command, *peeling);
  return peeling;
}

void report_warnings(const Command& command, const Peeling& peeling) {
  if (command.quiet) return;
  for (const std::string& warning : peeling.warnings()) warn(warning);
}

Catalog::Entry find_device(const Peeling& peeling, const Catalog& catalog,
                           const std::string& what) {
  if (const Catalog::Entry* found = catalog.find(what)) return *found;
  if (const std::string several = carriers(catalog, what); !several.empty()) {
    throw Error(Fault::missing, "more than one device is '" + what + "'")
        .found(several)
        .advice("take one of these names");
  }
  const std::vector<std::string> names = names_of(catalog);
  const std::vector<std::string_view> views(names.begin(), names.end());
  std::string advice;
  if (const std::string_view meant = closest(what, views); !meant.empty()) {
    advice = "did you mean '" + std::string(meant) + "'?";
  } else if (const auto locked = peeling.locked(); !locked.empty()) {
    advice = "it may lie within " + locked.front().name +
             ", which is locked: give its key with --key-file or --key";
  } else {
    advice = "'peelfs ls' shows them as a tree";
  }
  throw Error(Fault::missing, "there is no device '" + what + "'")
      .found(Peeling::names_text(catalog))
      .advice(std::move(advice));
}

}  // namespace peelfs::cli
