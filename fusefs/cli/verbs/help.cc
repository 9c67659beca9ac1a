// `peelfs help`, `peelfs help VERB`.
#include "cli/verbs/help.h"

#include "cli/text.h"
#include "cli/values.h"
#include "cli/verb_table.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

void bind(Parser& /*parser*/, HelpOptions& /*options*/) {}

void take(HelpOptions& options, std::vector<std::string> operands) {
  if (operands.empty()) return;
  options.topic = find_verb(operands[0]);
  if (options.topic == nullptr) {
    throw usage("there is no verb '" + printable(operands[0]) + "'").advice("see 'peelfs --help'");
  }
}

int run(const HelpOptions& options) {
  put(options.topic == nullptr ? program_help() : help_text(*options.topic));
  finish_output();
  return exit_code::kOk;
}

}  // namespace

extern const VerbRow kHelpVerb{
    .word = "help",
    .actions = actions_of<HelpOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
