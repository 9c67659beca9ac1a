#include "cli/session.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "cli/asking.h"
#include "cli/left_out.h"
#include "cli/looking.h"
#include "cli/named_twice.h"
#include "cli/secrets.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "cli/values.h"
#include "host/host_call.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// A key that does not fit because of the newline at its end looks right.
void explain_newline(const Opening& opening, const Peeling& peeling, bool newline_key) {
  if (opening.quiet || !newline_key || peeling.locked().empty()) return;
  warn(
      "a key that was given ends with a newline, which is part of it as for cryptsetup's "
      "--key-file; "
      "if no key fits, write the file with printf instead of echo");
}

/// What lies in directories that were named, and is no source.
void explain_left_out(const Opening& opening, const Peeling& peeling) {
  if (opening.quiet) return;
  // A link may well be meant; the rest is of interest to who looks at what there is.
  std::vector<LeftOutEntry> left_out = peeling.left_out();
  if (!opening.tells_left_out && !opening.verbose) {
    std::erase_if(left_out,
                  [](const LeftOutEntry& one) { return one.why != LeftOutEntry::Why::link; });
  }
  for (const std::string& line : left_out_lines(left_out, opening.verbose)) warn(line);
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

std::vector<std::string> names_of(const Catalog& catalog) {
  std::vector<std::string> names;
  for (const Catalog::Entry& entry : catalog.devices()) names.push_back(entry.name);
  return names;
}

}  // namespace

OpeningClock::OpeningClock(const std::optional<Patience>& patience)
    : for_good_(patience && patience->for_good) {
  if (!patience) return;
  watch_host_calls(patience->limit, [one = *patience](const std::string& path) {
    const std::string line = std::string("peelfs: ") + no_answer(path, one.limit).what() + "\n";
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
    ::_exit(one.code);
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
    if (i != 0 && text.size() + escaped.size() > kLongest) return text + "|...";
    text += (i != 0 ? "|" : "") + escaped;
  }
  return text;
}

Opening opening_of(const LookOptions& options) {
  return {.from = options.from,
          .overlay = look_through(options.cover),
          .patience = Patience{.limit = options.patience},
          .verbose = options.verbose,
          .quiet = options.quiet};
}

PeelRequest peel_request(const Opening& opening) {
  PeelRequest request;
  for (const std::string& source : opening.from.sources) {
    request.sources.push_back(parse_source(source));
    if (opening.patience) request.sources.back().patience = opening.patience->limit;
  }
  request.allow_references = opening.from.allow_references;
  request.headers = opening.from.headers;
  request.directives = opening.from.directives;
  request.limits = opening.from.limits;
  request.writable = opening.writable;
  request.overlay = opening.overlay;
  if (request.writable || request.overlay.kind != overlay::Request::Kind::none) {
    refuse_twice(request.sources);
  }
  return request;
}

std::shared_ptr<Peeling> open_session(const Opening& opening) {
  const OpeningClock clock(opening.patience);
  PeelRequest request = peel_request(opening);
  auto ring = std::make_shared<KeyRing>();
  bool newline = false;
  for (NamedKey& key : read_keys(opening.from.keys.origins)) {
    newline = newline || key.ends_with_newline;
    if (key.whose.empty()) {
      ring->add_for_all(std::move(key.key));
    } else {
      ring->add_for(std::move(key.whose), std::move(key.key));
    }
  }
  auto peeling = [&] {
    Looking looking(!opening.quiet);
    request.found = looking.observer();
    return std::make_shared<Peeling>(request, std::move(ring));
  }();
  explain_left_out(opening, *peeling);
  if (opening.from.keys.prompt) ask_for_locked(*peeling, opening.wanted);
  find_unmet_keys(opening.from.keys.origins, *peeling);
  explain_newline(opening, *peeling, newline);
  return peeling;
}

void report_warnings(bool quiet, const Peeling& peeling) {
  if (quiet) return;
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
