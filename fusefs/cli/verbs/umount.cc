#include "cli/verbs/umount.h"

#include <array>
#include <utility>

#include "cli/groups/timeout.h"
#include "cli/text.h"
#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr const char* kText = R"(peelfs umount [-l] [--timeout SECONDS] MOUNTPOINT...

Ends a mount, and returns only when its process has released every source.

  -l, --lazy              detach it at once, though files in it are in use or its process
                          hangs; it ends with the last of them
  --timeout SECONDS       how long to wait until all is flushed and released (60)

Exit status: 0 all ended; 1 some; 2 none.
)";
constexpr std::array<const char*, 1> kHelp{kText};

void bind(Parser& parser, UmountOptions& options) {
  parser.flag("-l,--lazy", options.unmount.lazy);
  bind_timeout(parser, options.unmount.timeout);
}

void take(UmountOptions& options, std::vector<std::string> operands) {
  if (operands.empty()) throw usage("no MOUNTPOINT is named");
  options.mountpoints = std::move(operands);
}

int run(const UmountOptions& options) {
  std::size_t failed = 0;
  for (const std::string& mountpoint : options.mountpoints) {
    try {
      request_unmount(mountpoint, options.unmount);
    } catch (const Error& error) {
      if (options.mountpoints.size() == 1) throw;
      warn(error.what());
      ++failed;
    }
  }
  if (failed == 0) return exit_code::kOk;
  return failed == options.mountpoints.size() ? exit_code::kNothing : exit_code::kIncomplete;
}

}  // namespace

extern const VerbRow kUmountVerb{
    .word = "umount",
    .line = "  peelfs umount MOUNTPOINT              end that, once everything is released\n",
    .help = kHelp,
    .actions = actions_of<UmountOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
