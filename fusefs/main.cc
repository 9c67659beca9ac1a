// peelfs: every layer of a disk image as a flat file.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/text.h"
#include "mount/descriptors.h"
#include "peelfs/error.h"

#ifdef __SANITIZE_ADDRESS__
// libfuse frees the name of a mount point only with the mount, and a mount that another process has
// detached is left alone.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:fuse_session_mount\n";
}
extern "C" const char* __lsan_default_options();
extern "C" const char* __lsan_default_options() {
  return "print_suppressions=0";
}
#endif

namespace {

using peelfs::cli::Command;
using peelfs::cli::Verb;

/// Keys lie in this process's memory: no core file shows them, and no other process of the same
/// user may look into it.
void keep_memory_private() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__)  // LeakSanitizer looks into the process as a debugger does
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

int perform(const Command& command) {
  using namespace peelfs::cli;
  switch (command.verb) {
    case Verb::mount:
      return run_mount_verb(command);
    case Verb::ls:
      return run_ls(command);
    case Verb::cat:
      return run_cat(command);
    case Verb::export_:
      return run_export(command);
    case Verb::map:
      return run_map(command);
    case Verb::umount:
      return run_umount(command);
    case Verb::unlock:
      return run_unlock(command);
    case Verb::diff:
      return run_diff(command);
    case Verb::commit:
      return run_commit(command);
    case Verb::drop:
      return run_drop(command);
    case Verb::checkpoint:
      return run_checkpoint(command);
    case Verb::revert:
      return run_revert(command);
    case Verb::try_:
      return run_try(command);
    case Verb::version:
      put("peelfs " PEELFS_VERSION "\n");
      break;
    case Verb::help:
      put(help_text(command.help_for));
      break;
  }
  finish_output();
  return exit_code::ok;
}

/// mount(8)'s exit codes for mounting, ours for the rest.
int failure_code(Verb verb, const peelfs::Error* error) {
  if (verb == Verb::try_) return peelfs::cli::try_exit::failed;
  if (verb != Verb::mount) return peelfs::cli::exit_code::nothing;
  if (error == nullptr) return peelfs::mount_exit::system;
  const bool usage =
      error->fault() == peelfs::Fault::usage || error->fault() == peelfs::Fault::unsupported;
  return usage ? peelfs::mount_exit::usage : peelfs::mount_exit::failed;
}

void complain(const std::string& message) {
  std::fflush(stdout);
  std::fputs(("peelfs: " + peelfs::cli::shown(message) + "\n").c_str(), stderr);
}

/// mount(8) runs `mount.fuse.peelfs`, a link to this program.
bool called_as_helper(const char* program) {
  const std::string path = program == nullptr ? "" : program;
  return path.substr(path.rfind('/') + 1).starts_with("mount.");
}

}  // namespace

int main(int argc, char** argv) {
  peelfs::note_inherited_descriptors();
  keep_memory_private();
  // A write beyond the limit of a file's size (ulimit -f) fails, and is said to have failed.
  std::signal(SIGXFSZ, SIG_IGN);
  // Only how characters look: numbers are written the same everywhere.
  std::setlocale(LC_CTYPE, "");
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  const bool helper = called_as_helper(argc > 0 ? argv[0] : nullptr);
  const Verb verb = helper ? Verb::mount : peelfs::cli::verb_of(arguments);
  try {
    return perform(helper ? peelfs::cli::parse_helper_arguments(arguments)
                          : peelfs::cli::parse_arguments(arguments));
  } catch (const peelfs::Error& error) {
    complain(error.what());
    return failure_code(verb, &error);
  } catch (const std::bad_alloc&) {
    complain("out of memory");
    return failure_code(verb, nullptr);
  } catch (const std::exception& error) {
    complain(std::string("an error inside of peelfs: ") + error.what());
    return failure_code(verb, nullptr);
  }
}
