#include "cli/verbs/unlock.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "cli/operands.h"
#include "cli/secrets.h"
#include "cli/text.h"
#include "cli/values.h"
#include "mount/mount.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr int kTries = 3;

/// Asks for a passphrase until it fits. @return whether it did
bool ask_and_unlock(Terminal& terminal, const std::string& mountpoint, const std::string& name) {
  for (int attempt = 1; attempt <= kTries; ++attempt) {
    std::optional<Secret> secret = terminal.ask(shown("Passphrase for " + name + ": "));
    if (!secret) return false;
    const auto why_not = request_unlock(mountpoint, name, Credential(*std::move(secret)));
    if (!why_not) return true;
    terminal.say(shown(*why_not) + "\n");
  }
  return false;
}

constexpr const char* kText = R"(peelfs unlock [--key-file PATH | --key ...] MOUNTPOINT [NAME]

Opens an encrypted device of a mount; what is inside appears there. NAME is its name,
UUID=..., LABEL=...; without it, each device that is locked. Asks for the passphrase
unless a key is given.

  --key-file PATH         the key is this file's bytes ("-": standard input)
  --key [NAME=]file:PATH  the same; also fd:NUMBER and env:VARIABLE
  --volume-key [NAME=]file:PATH  the key of the data itself, see 'peelfs ls --help'
  --no-prompt             never ask
  -q, --quiet             say nothing when nothing is locked

Exit status: 0 all open; 1 some; 2 none, or NAME is not locked.

Examples:
  peelfs unlock /mnt/p volssd10-kvmos
  pass show kvmos | head -c -1 | peelfs unlock --key-file - /mnt/p volssd10-kvmos
)";
constexpr std::array<const char*, 1> kHelp{kText};

void bind(Parser& parser, UnlockOptions& options) {
  bind_keys(parser, options.keys);
}

void take(UnlockOptions& options, std::vector<std::string> operands) {
  if (operands.empty() || operands.size() > 2) {
    throw usage("wrong number of operands").expected("MOUNTPOINT, and the NAME of a locked device");
  }
  if (operands.size() == 2) options.name = take_last(operands, "NAME");
  options.mountpoint = take_last(operands, "MOUNTPOINT");
}

int run(const UnlockOptions& options) {
  std::vector<std::string> names{options.name};
  if (options.name.empty()) {
    names = request_locked(options.mountpoint);
    if (names.empty()) {
      if (!options.quiet) put("nothing is locked in " + shown(options.mountpoint) + "\n");
      finish_output();
      return exit_code::kOk;
    }
  }
  const std::vector<NamedKey> keys = read_keys(options.keys.origins);
  std::optional<Terminal> terminal = options.keys.prompt ? Terminal::open() : std::nullopt;
  if (keys.empty() && !terminal) {
    throw Error(Fault::usage, "there is no key, and no terminal to ask for one on")
        .advice(
            "give one with --key-file PATH, --key-file - (standard input), or --key env:VARIABLE");
  }
  std::size_t opened = 0;
  for (const std::string& name : names) {
    bool open = false;
    std::string why_not;
    for (const NamedKey& key : keys) {
      if (!key.whose.empty() && key.whose != name) continue;
      const auto answer = request_unlock(options.mountpoint, name, key.key);
      open = !answer;
      if (open) break;
      why_not = *answer;
      if (key.ends_with_newline) why_not += " (the key ends with a newline, which is part of it)";
    }
    // A key that was given and does not fit is a mistake to be told, not a reason to ask.
    if (!open && keys.empty()) {
      open = ask_and_unlock(*terminal, options.mountpoint, name);
      if (!open) why_not = "no passphrase was accepted";
    }
    if (!open) warn(name + " stays locked: " + (why_not.empty() ? "no key is for it" : why_not));
    opened += open ? 1 : 0;
  }
  bool unused = false;
  for (const NamedKey& key : keys) {
    if (key.whose.empty() || std::find(names.begin(), names.end(), key.whose) != names.end()) {
      continue;
    }
    std::string there;
    for (const std::string& name : names) there += (there.empty() ? "" : ", ") + name;
    warn("a key was given for '" + printable(key.whose) +
         "', which is not to be opened; these are: " + there);
    unused = true;
  }
  if (opened == names.size()) return unused ? exit_code::kIncomplete : exit_code::kOk;
  return opened == 0 ? exit_code::kNothing : exit_code::kIncomplete;
}

}  // namespace

extern const VerbRow kUnlockVerb{
    .word = "unlock",
    .line = "  peelfs unlock MOUNTPOINT [NAME]       open an encrypted device of a mount\n",
    .help = kHelp,
    .actions = actions_of<UnlockOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
