#include "cli/operands.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "cli/values.h"
#include "cli/verbs.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

/// The last operand, taken away. @param what it is, for the message
std::string take_last(std::vector<std::string>& operands, std::string_view what) {
  if (operands.empty()) throw usage(std::string(what) + " is missing");
  std::string last = std::move(operands.back());
  operands.pop_back();
  if (last.empty()) throw usage(std::string(what) + " is empty");
  return last;
}

void require_overlay(const Command& command) {
  if (!command.from.overlay.empty()) return;
  throw usage("no overlay is named").expected("--overlay DIR, the directory that it lies in");
}

void take_checkpoint(Command& command, std::vector<std::string> operands) {
  require_overlay(command);
  if (command.list) {
    if (!operands.empty()) {
      throw usage("--list takes no name").found("'" + printable(operands.front()) + "'");
    }
    return;
  }
  command.checkpoint = take_last(operands, "NAME, what the checkpoint is called,");
  if (!operands.empty()) {
    throw usage("too many operands")
        .found("'" + printable(operands.front()) + "'")
        .expected("the checkpoint's NAME alone: it is of all overlays in DIR");
  }
}

void take_try(Command& command, std::vector<std::string> operands) {
  if (command.command_line.empty()) {
    throw usage("no COMMAND is named")
        .expected("SOURCE... NAME -- COMMAND {}")
        .advice("behind '--' comes the command; {} stands for the device's path");
  }
  const auto& words = command.command_line;
  if (std::none_of(words.begin(), words.end(),
                   [](const std::string& word) { return word.find("{}") != std::string::npos; })) {
    throw usage("COMMAND has no {}, where the path of the device is put")
        .found("'" + printable(words.front()) + "'")
        .expected("{} in one of its words")
        .advice("peelfs try SOURCE... NAME -- fsck.ext4 -f {}");
  }
  command.name = take_last(operands, "NAME, the device to run COMMAND on,");
  take_sources(command, std::move(operands), "NAME");
}

/// `peelfs help`, `peelfs help VERB`.
void take_help(Command& command, const std::vector<std::string>& operands) {
  if (operands.empty()) return;
  const auto verb = find_verb(operands[0]);
  if (!verb) {
    throw usage("there is no verb '" + printable(operands[0]) + "'").advice("see 'peelfs --help'");
  }
  command.help_for = *verb;
}

}  // namespace

void take_sources(Command& command, std::vector<std::string> operands, const std::string& before) {
  if (operands.empty()) {
    throw usage("no SOURCE is named" + (before.empty() ? "" : " before " + before))
        .expected("at least one disk image, block device, or directory of images");
  }
  command.from.sources = std::move(operands);
}

void take_operands(Command& command, std::vector<std::string> operands) {
  switch (command.verb) {
    case Verb::mount:
      if (operands.size() == 1) {
        throw usage("only one operand, '" + printable(operands[0]) + "'")
            .expected("SOURCE... and, last, the directory to mount on")
            .advice("to look inside without mounting: " +
                    shell_line({"peelfs", "ls", operands[0]}));
      }
      command.mount.mountpoint = take_last(operands, "the directory to mount on");
      take_sources(command, std::move(operands), "the directory to mount on");
      break;
    case Verb::ls:
      take_sources(command, std::move(operands), "");
      break;
    case Verb::export_:
      command.output = take_last(operands, "FILE, what to export to,");
      [[fallthrough]];
    case Verb::cat:
    case Verb::map:
      command.name = take_last(operands, "NAME, the device to read,");
      take_sources(command, std::move(operands), "NAME");
      break;
    case Verb::diff:
    case Verb::commit:
      require_overlay(command);
      take_sources(command, std::move(operands), "");
      break;
    case Verb::drop:
      require_overlay(command);
      command.from.sources = std::move(operands);  // none: all overlays in DIR
      break;
    case Verb::checkpoint:
    case Verb::revert:
      take_checkpoint(command, std::move(operands));
      break;
    case Verb::try_:
      take_try(command, std::move(operands));
      break;
    case Verb::umount:
      if (operands.empty()) throw usage("no MOUNTPOINT is named");
      command.mountpoints = std::move(operands);
      break;
    case Verb::unlock:
      if (operands.empty() || operands.size() > 2) {
        throw usage("wrong number of operands")
            .expected("MOUNTPOINT, and the NAME of a locked device");
      }
      if (operands.size() == 2) command.name = take_last(operands, "NAME");
      command.mountpoint = take_last(operands, "MOUNTPOINT");
      break;
    case Verb::help:
      take_help(command, operands);
      break;
    default:
      break;
  }
}

void split_command_line(Command& command, std::vector<std::string>& words) {
  const auto marker = std::find(words.begin(), words.end(), "--");
  if (marker == words.end()) return;
  command.command_line.assign(marker + 1, words.end());
  words.erase(marker, words.end());
}

}  // namespace peelfs::cli
