// peelfs: every layer of a disk image as a flat file.
#include <malloc.h>
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
#include "cli/text.h"
#include "cli/verb_table.h"
#include "cli/verbs/fsck.h"
#include "cli/verbs/mount.h"
#include "jobs/runner.h"
#include "mount/descriptors.h"
#include "mount/mount.h"
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

using peelfs::cli::FailureCodes;
using peelfs::cli::VerbRow;

/// Keys lie in this process's memory: no core file shows them, and no other process of the same
/// user may look into it.
void keep_memory_private() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__)  // LeakSanitizer looks into the process as a debugger does
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

/// Looking into devices takes buffers and frees them, over and over: the process keeps that memory
/// for the next ones, and does not ask the kernel for it each time. A mount gives back what is left
/// when it begins to serve.
void keep_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 8 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

/// mount(8)'s exit codes for mounting, env(1)'s for try, fsck(8)'s for fsck, ours for the rest.
int failure_code(const VerbRow& verb, const peelfs::Error* error) {
  switch (verb.failures) {
    case FailureCodes::of_try:
      return peelfs::jobs::run_exit::kFailed;
    case FailureCodes::of_fsck:
      return error != nullptr && error->fault() == peelfs::Fault::usage
                 ? peelfs::cli::fsck_exit::kUsage
                 : peelfs::cli::fsck_exit::kOperational;
    case FailureCodes::usual:
      return peelfs::cli::exit_code::kNothing;
    case FailureCodes::of_mount:
      break;
  }
  if (error == nullptr) return peelfs::mount_exit::kSystem;
  const bool usage =
      error->fault() == peelfs::Fault::usage || error->fault() == peelfs::Fault::unsupported;
  return usage ? peelfs::mount_exit::kUsage : peelfs::mount_exit::kFailed;
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
  keep_freed_memory();
  // A write beyond the limit of a file's size (ulimit -f) fails, and is said to have failed.
  std::signal(SIGXFSZ, SIG_IGN);
  // Only how characters look: numbers are written the same everywhere.
  std::setlocale(LC_CTYPE, "");
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  const bool helper = called_as_helper(argc > 0 ? argv[0] : nullptr);
  const VerbRow& verb = helper ? peelfs::cli::default_verb() : peelfs::cli::verb_of(arguments);
  try {
    return (helper ? peelfs::cli::parse_helper_arguments(arguments)
                   : peelfs::cli::parse_arguments(arguments))
        .run();
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
