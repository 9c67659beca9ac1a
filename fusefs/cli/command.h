// What a command line says, taken apart, and the functions that do it: one verb each.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mount/mount.h"
#include "peel/copy.h"
#include "peelfs/layer.h"

namespace peelfs::cli {

enum class Verb {
  mount,
  ls,
  cat,
  export_,
  map,
  umount,
  unlock,
  diff,
  commit,
  drop,
  checkpoint,
  revert,
  try_,
  help,
  version
};

/// The word for a verb on the command line: "mount", "ls", ...
std::string_view verb_name(Verb verb) noexcept;

/// Exit codes of every verb except mount, which has those of mount(8), and try, which passes that
/// of its command on and has 125 to 127 of its own, as env(1).
namespace exit_code {
inline constexpr int ok = 0;          ///< everything asked for was done
inline constexpr int incomplete = 1;  ///< done, but something in it is missing or damaged
inline constexpr int nothing = 2;     ///< nothing done: wrong usage, no source, no such device
}  // namespace exit_code
namespace try_exit {
inline constexpr int failed = 125;        ///< try itself failed, before or behind the command
inline constexpr int not_runnable = 126;  ///< the command is there and cannot be run
inline constexpr int not_found = 127;     ///< there is no such command
}  // namespace try_exit

/// One --key or --key-file: where a secret is to be read. Never the secret.
struct KeyOrigin {
  enum class Kind { file, descriptor, environment };
  std::string whose;  ///< name or UUID of a device; empty: tried on every locked device
  Kind kind = Kind::file;
  std::string place;   ///< path ("-": standard input), or name of the variable
  int descriptor = 0;  ///< of Kind::descriptor
};

/// What to open and how: the options that mount, ls, cat, export and map share.
struct SourceOptions {
  std::vector<std::string> sources;  ///< as parse_source() takes them
  std::vector<KeyOrigin> keys;       ///< in the order given
  std::map<std::string, std::string> headers;
  std::vector<std::string> allow_references;
  Limits limits;
  bool prompt = true;
  std::string overlay;          ///< --overlay DIR; empty: none
  bool overlay_temp = false;    ///< --overlay-temp
  bool accept_source = false;   ///< --accept-source
  bool accept_shared = false;   ///< --accept-shared
  bool half_committed = false;  ///< --half-committed, of drop
  bool accept_part = false;     ///< --accept-part, of commit, drop and revert
  bool drop_snapshots = false;  ///< --drop-snapshots, of commit
  bool grow = false;            ///< --grow, of commit
};

/// What becomes of the overlay when `try` has run its command.
enum class Outcome { ask, commit, drop, keep };

/// One --hexdump OFFSET[,LENGTH].
struct DumpRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  ///< 0: none
};

struct Command {
  Verb verb = Verb::help;
  Verb help_for = Verb::help;  ///< of Verb::help: the verb that --help was given to
  bool verbose = false;
  bool quiet = false;
  SourceOptions from;

  MountOptions mount;  ///< of Verb::mount
  bool fake = false;   ///< of Verb::mount, from mount(8)'s -f: look at everything, mount nothing

  std::vector<std::string> mountpoints;  ///< of Verb::umount
  UnmountOptions unmount;

  std::string mountpoint;  ///< of Verb::unlock

  std::string name;  ///< of cat, export, map, unlock; empty for unlock: every locked device
  bool json = false;
  /// Of ls, cat and map: how long a source may leave one question unanswered.
  std::chrono::seconds patience{60};
  bool bytes = false;  ///< of ls: sizes in bytes
  bool force = false;
  std::uint64_t offset = 0;           ///< of cat
  std::uint64_t length = UINT64_MAX;  ///< of cat
  std::string output;                 ///< of export; "-": standard output
  std::string map_file;               ///< of export
  bool resume = false;                ///< of export
  bool stop_on_error = false;         ///< of export
  Sparse sparse = Sparse::automatic;  ///< of export

  bool in_place = false;                  ///< of mount: --rw
  bool read_only = false;                 ///< of mount: -o ro was said
  DumpRange dump;                         ///< of diff
  bool list = false;                      ///< of checkpoint
  std::string checkpoint;                 ///< of checkpoint and revert: its name
  Outcome outcome = Outcome::ask;         ///< of try
  std::string keep;                       ///< of try: --keep DIR
  std::set<int> good_codes;               ///< of try: --ok CODES
  std::vector<std::string> command_line;  ///< of try: what stands behind --
};

/// @return an exit code. Failures that end the verb leave as Error.
int run_mount_verb(const Command& command);
int run_ls(const Command& command);
int run_cat(const Command& command);
int run_export(const Command& command);
int run_map(const Command& command);
int run_umount(const Command& command);
int run_unlock(const Command& command);
int run_diff(const Command& command);
int run_commit(const Command& command);
int run_drop(const Command& command);
int run_checkpoint(const Command& command);
int run_revert(const Command& command);
int run_try(const Command& command);

}  // namespace peelfs::cli
