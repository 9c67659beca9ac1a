#include "cli/combinations.h"

#include <unistd.h>

#include <string_view>

#include "cli/values.h"
#include "cli/verbs.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// Two ways of writing at once, or writing and not writing, are a mistake to be told before
/// anything is opened.
void check_writing(const Command& command) {
  const bool overlay = !command.from.overlay.empty() || command.from.overlay_temp;
  if (command.in_place && overlay) {
    throw usage("'rw' and an overlay exclude each other")
        .advice("'rw' writes into the sources, an overlay keeps them as they are");
  }
  if (command.from.overlay_temp && !command.from.overlay.empty()) {
    throw usage("--overlay DIR and --overlay-temp exclude each other")
        .advice("the one stays, the other is thrown away at unmount");
  }
  if (command.read_only && (command.in_place || command.from.overlay_temp)) {
    throw usage("'ro' and writing exclude each other")
        .found(command.in_place ? "ro and rw" : "ro and overlay-temp");
  }
}

}  // namespace

void check_combinations(const Command& command) {
  check_writing(command);
  if (command.verb == Verb::export_ && command.resume && command.map_file.empty()) {
    throw usage("--resume needs --map-file, the record of what is there already");
  }
}

void check_misspelt_verb(const std::vector<std::string>& arguments, const Command& command) {
  if (command.from.sources.empty() || arguments.empty()) return;
  const std::string& first = command.from.sources.front();
  if (first != arguments.front() || first.find_first_of("./=:") != std::string::npos) return;
  const std::string_view meant = closest(first, verb_words());
  if (!meant.empty() && ::access(first.c_str(), F_OK) != 0) {
    throw usage("'" + printable(first) + "' is neither a verb nor a file here")
        .advice("did you mean 'peelfs " + std::string(meant) + "'?");
  }
}

}  // namespace peelfs::cli
