// What --version asks for. There is no such verb in the table.
#include "cli/text.h"
#include "cli/verb.h"

namespace peelfs::cli {
namespace {

void bind(Parser& /*parser*/, VerbOptions& /*options*/) {}
// NOLINTNEXTLINE(performance-unnecessary-value-param): as every verb takes them
void take(VerbOptions& /*options*/, std::vector<std::string> /*operands*/) {}

int run(const VerbOptions& /*options*/) {
  put("peelfs " PEELFS_VERSION "\n");
  finish_output();
  return exit_code::kOk;
}

}  // namespace

extern const VerbRow kVersionVerb{
    .word = "version",
    .actions = actions_of<VerbOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
