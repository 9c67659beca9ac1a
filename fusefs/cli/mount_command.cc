// `peelfs mount`, `peelfs umount`, `peelfs unlock`.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/relatives.h"
#include "cli/secrets.h"
#include "cli/session.h"
#include "cli/text.h"
#include "host/source.h"
#include "mount/mount.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

void check_mountpoint(const Command& command) {
  const std::string& path = command.mount.mountpoint;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int problem = errno;
    Error error = Error::system(problem, "cannot mount on " + path);
    if (problem == ENOTCONN) {
      throw std::move(error).advice("a dead mount is left there; end it with: " +
                                    shell_line({"fusermount3", "-u", path}));
    }
    if (problem == ENOENT) {
      throw std::move(error).advice(
          "the last operand is the directory to mount on; make it with: " +
          shell_line({"mkdir", path}));
    }
    throw error;
  }
  if (!S_ISDIR(status.st_mode)) {
    std::vector<std::string> line{"peelfs", "ls"};
    line.insert(line.end(), command.from.sources.begin(), command.from.sources.end());
    line.push_back(path);
    throw Error(Fault::usage, path + " is not a directory, so nothing can be mounted on it")
        .expected("SOURCE... and, last, the directory to mount on")
        .advice("to look inside without mounting: " + shell_line(line));
  }
}

constexpr int kTries = 3;

/// Asks for a passphrase until it fits. @return whether it did
bool ask_and_unlock(Terminal& terminal, const std::string& mountpoint, const std::string& name) {
  for (int attempt = 1; attempt <= kTries; ++attempt) {
    std::optional<Secret> secret = terminal.ask(shown("Passphrase for " + name + ": "));
    if (!secret) return false;
    const auto why_not = request_unlock(mountpoint, name, *std::move(secret));
    if (!why_not) return true;
    terminal.say(shown(*why_not) + "\n");
  }
  return false;
}

std::shared_ptr<Peeling> open_for_mount(const Command& command) {
  std::shared_ptr<Peeling> peeling;
  try {
    peeling = open_session(command);
  } catch (const Error& error) {
    // An overlay of something else is no wrong usage: mount(8)'s code for a failure.
    if (error.error_number() != ESTALE) throw;
    throw Error(Fault::io, error.what()).with_errno(ESTALE);
  }
  const bool overlay = !command.from.overlay.empty() || command.from.overlay_temp;
  if (overlay && !command.read_only && !command.quiet) {
    warn_of_visible_originals(*peeling->catalog());
  }
  return peeling;
}

}  // namespace

int run_mount_verb(const Command& command) {
  for (const std::string& source : command.from.sources) parse_source(source);  // complains early
  check_mountpoint(command);
  if (command.fake) return mount_exit::ok;
  MountOptions options = command.mount;
  if (options.fsname.empty()) options.fsname = source_text(command.from.sources);
  options.debug = options.debug || command.verbose;
  const bool overlay = !command.from.overlay.empty() || command.from.overlay_temp;
  options.read_only = !command.in_place && (!overlay || command.read_only);
  Command inside = command;
  take_from_environment(inside.from.keys);
  return run_mount(options, [&inside] { return open_for_mount(inside); });
}

int run_umount(const Command& command) {
  std::size_t failed = 0;
  for (const std::string& mountpoint : command.mountpoints) {
    try {
      request_unmount(mountpoint, command.unmount);
    } catch (const Error& error) {
      if (command.mountpoints.size() == 1) throw;
      warn(error.what());
      ++failed;
    }
  }
  if (failed == 0) return exit_code::ok;
  return failed == command.mountpoints.size() ? exit_code::nothing : exit_code::incomplete;
}

int run_unlock(const Command& command) {
  std::vector<std::string> names{command.name};
  if (command.name.empty()) {
    names = request_locked(command.mountpoint);
    if (names.empty()) {
      if (!command.quiet) put("nothing is locked in " + shown(command.mountpoint) + "\n");
      finish_output();
      return exit_code::ok;
    }
  }
  const std::vector<NamedKey> keys = read_keys(command.from.keys);
  std::optional<Terminal> terminal = command.from.prompt ? Terminal::open() : std::nullopt;
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
      const auto answer = request_unlock(command.mountpoint, name, key.key.clone());
      open = !answer;
      if (open) break;
      why_not = *answer;
      if (key.ends_with_newline) why_not += " (the key ends with a newline, which is part of it)";
    }
    // A key that was given and does not fit is a mistake to be told, not a reason to ask.
    if (!open && keys.empty()) {
      open = ask_and_unlock(*terminal, command.mountpoint, name);
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
  if (opened == names.size()) return unused ? exit_code::incomplete : exit_code::ok;
  return opened == 0 ? exit_code::nothing : exit_code::incomplete;
}

}  // namespace peelfs::cli
