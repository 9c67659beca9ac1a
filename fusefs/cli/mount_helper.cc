// The command line of mount(8), which calls this program as `mount.fuse.peelfs`.
#include <memory>
#include <utility>

#include "cli/operands.h"
#include "cli/values.h"
#include "cli/verb_table.h"
#include "cli/verbs/mount.h"
#include "peelfs/error.h"

namespace peelfs::cli {

std::vector<std::string> split_spec(std::string_view spec) {
  std::vector<std::string> sources(1);
  for (std::size_t i = 0; i < spec.size(); ++i) {
    if (spec[i] != '|') {
      sources.back() += spec[i];
    } else if (i + 1 < spec.size() && spec[i + 1] == '|') {
      sources.back() += spec[++i];
    } else {
      sources.emplace_back();
    }
  }
  std::erase(sources, "");
  return sources;
}

Call parse_helper_arguments(const std::vector<std::string>& arguments) {
  auto made = std::make_unique<MountVerbOptions>();
  MountVerbOptions& options = *made;
  bool sloppy = false;
  bool no_mtab = false;
  Parser parser("mount.fuse.peelfs");
  parser.flag("-s", sloppy);
  parser.flag("-f", options.fake);
  parser.flag("-n", no_mtab);
  parser.flag("-v", options.verbose);
  parser.option("-N", [](const std::string&) {
    throw usage("-N: mounting in another namespace is not possible").advice("use nsenter(1)");
  });
  parser.option("-t", [](const std::string&) {});
  parser.option("-o",
                [&options](const std::string& text) { set_mount_options(options, text, true); });
  std::vector<std::string> operands = parser.run(arguments);
  if (operands.size() != 2) {
    throw usage("wrong number of operands").expected("the sources as one word, and a directory");
  }
  // What fstab calls it is what `mount` must show: `mount -a` would mount it again otherwise.
  if (options.mount.fsname.empty()) options.mount.fsname = operands[0];
  options.mount.mountpoint = operands[1];
  take_sources(options.from.sources, split_spec(operands[0]), "");
  const VerbRow& verb = default_verb();
  verb.actions.check(options);
  return {&verb, std::move(made)};
}

}  // namespace peelfs::cli
