#include "cli/commit.h"

#include <cstdio>
#include <optional>

#include "cli/interrupt.h"
#include "cli/named_twice.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "host/source.h"

namespace peelfs::cli {
namespace {

/// The files besides the source that a commit writes, and those that it only reads.
void say_what_is_written(const std::vector<overlay::Announcement>& all) {
  for (const overlay::Announcement& one : all) {
    for (const Part& part : one.parts) {
      if (part.file == nullptr) continue;  // it lies in the source itself
      const std::string what = part.file->writable()
                                   ? " will be written, too: it is the " + part.role + " of "
                                   : " is only read: it is a " + part.role + " of ";
      std::fputs((shown(part.name) + what + shown(one.source) + "\n").c_str(), stderr);
    }
  }
}

std::string committed_line(const overlay::Committed& one, const std::string& directory) {
  if (one.overlay.empty()) {
    return shown(one.source) + ": no overlay in " + shown(directory) + ", left as it is\n";
  }
  return shown(one.source) + ": " + human_size(one.data) + " written, " + human_size(one.zeroes) +
         " made zero" + (one.grown == 0 ? "" : ", made " + human_size(one.grown) + " larger") +
         ", verified; " + shown(one.overlay) + " is removed" +
         (one.snapshots == 0 ? ""
                             : " with " + std::to_string(one.snapshots) + " internal snapshot" +
                                   (one.snapshots == 1 ? "" : "s")) +
         (one.resumed ? " (an interrupted commit was finished)" : "") + "\n";
}

}  // namespace

overlay::CommitRequest commit_request(const std::vector<std::string>& sources,
                                      const std::vector<std::string>& allow_references,
                                      const std::vector<Directive>& directives,
                                      const std::string& directory) {
  overlay::CommitRequest request;
  const auto shared = std::make_shared<const std::vector<Directive>>(directives);
  for (const std::string& source : sources) {
    request.sources.push_back(parse_source(source));
    request.sources.back().directives = shared;
  }
  request.allow_references = allow_references;
  request.directory = directory;
  return request;
}

void commit_overlays(overlay::CommitRequest request, bool quiet, bool to_errors) {
  std::optional<Progress> bar;
  std::string stage;
  request.progress = [&](const std::string& what, std::uint64_t done, std::uint64_t total) {
    if (what != stage) {
      bar.reset();
      bar.emplace(shown(what), total, !quiet);
      stage = what;
    }
    bar->update(done);
    Interruptible::check();
  };
  if (!quiet) request.announce = say_what_is_written;
  std::vector<overlay::Committed> committed;
  refuse_twice(request.sources);
  committed = overlay::commit(request);
  bar.reset();
  if (quiet) return;
  for (const overlay::Committed& one : committed) {
    const std::string line = committed_line(one, request.directory);
    if (to_errors) {
      std::fputs(line.c_str(), stderr);
    } else {
      put(line);
    }
  }
}

}  // namespace peelfs::cli
