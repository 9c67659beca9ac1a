// The command line as a whole. Which verb is meant and what the operands are is decided here and
// not by CLI11, because a verb may be left out and a source may be named like one.
#include "cli/arguments.h"

#include "cli/combinations.h"
#include "cli/operands.h"
#include "cli/options.h"
#include "cli/parser.h"
#include "cli/values.h"
#include "cli/verbs.h"

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

Command parse_arguments(const std::vector<std::string>& arguments) {
  Command command;
  command.verb = verb_of(arguments);
  const auto at = verb_position(arguments);
  std::vector<std::string> rest = arguments;
  if (at) rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(*at));
  if (command.verb == Verb::try_) split_command_line(command, rest);

  Asked asked;
  Parser parser{std::string(verb_name(command.verb))};
  bind_options(parser, command, asked);
  std::vector<std::string> operands = parser.run(rest);
  if (asked.version) {
    command.verb = Verb::version;
    return command;
  }
  if (asked.help) {
    command.help_for = at ? command.verb : Verb::help;
    command.verb = Verb::help;
    return command;
  }
  if (arguments.empty()) throw usage("nothing to do").advice("'peelfs --help' shows how to begin");
  take_operands(command, std::move(operands));
  if (command.verb == Verb::mount) check_misspelt_verb(arguments, command);
  check_combinations(command);
  return command;
}

Command parse_helper_arguments(const std::vector<std::string>& arguments) {
  Command command;
  command.verb = Verb::mount;
  bool sloppy = false;
  bool no_mtab = false;
  Parser parser("mount.fuse.peelfs");
  parser.flag("-s", sloppy);
  parser.flag("-f", command.fake);
  parser.flag("-n", no_mtab);
  parser.flag("-v", command.verbose);
  parser.option("-N", [](const std::string&) {
    throw usage("-N: mounting in another namespace is not possible").advice("use nsenter(1)");
  });
  parser.option("-t", [](const std::string&) {});
  parser.option("-o",
                [&command](const std::string& text) { set_mount_options(command, text, true); });
  std::vector<std::string> operands = parser.run(arguments);
  if (operands.size() != 2) {
    throw usage("wrong number of operands").expected("the sources as one word, and a directory");
  }
  // What fstab calls it is what `mount` must show: `mount -a` would mount it again otherwise.
  if (command.mount.fsname.empty()) command.mount.fsname = operands[0];
  command.mount.mountpoint = operands[1];
  take_sources(command, split_spec(operands[0]), "");
  check_combinations(command);
  return command;
}

}  // namespace peelfs::cli
