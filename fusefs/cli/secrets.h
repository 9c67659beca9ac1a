// Keys from files, descriptors, environment and the terminal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/groups/keys.h"
#include "peelfs/keys.h"

namespace peelfs::cli {

/// A key that was read, and whose it is (empty: for every locked device).
struct NamedKey {
  std::string whose;
  Credential key;
  bool ends_with_newline = false;  ///< often why a key that looks right does not fit
};

/// "the key in k.txt": where a secret comes from, never the secret.
std::string origin_text(const KeyOrigin& origin);

/// Reads every origin to its end, once each: two --key that name one descriptor or "-" share its
/// bytes. A file is taken byte for byte, a newline at its end too, as cryptsetup takes a
/// --key-file. A variable is wiped and taken out of the environment; a descriptor above 2 is
/// closed.
/// @throws Error that names the origin, never its bytes; at most 8 MiB are read of one. A volume
/// key
///   that can be none is refused, see volume_key_in()
std::vector<NamedKey> read_keys(const std::vector<KeyOrigin>& origins);

/// Moves keys out of the environment before the process forks: into pipes, which are emptied when
/// the keys are read. A child that was forked earlier would keep showing its copy in
/// /proc/PID/environ.
/// @throws Error when there is no such variable
void take_from_environment(std::vector<KeyOrigin>& origins);

/// The terminal of a person who can be asked. Not thread-safe.
class Terminal {
 public:
  /// @return nullopt when standard input is no terminal: then nobody is asked anything
  static std::optional<Terminal> open();
  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;
  ~Terminal();

  /// Asks without echo. A signal that would end or stop the process restores the terminal first.
  /// @return nullopt for an empty line or the end of the input
  std::optional<Secret> ask(const std::string& question);
  void say(const std::string& text);

 private:
  explicit Terminal(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace peelfs::cli
