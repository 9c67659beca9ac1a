// What every verb with sources does first: open them, with keys, and ask for what is still locked.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "cli/groups/look.h"
#include "overlay/cover.h"
#include "peel/peeling.h"

namespace peelfs::cli {

/// How long a source may leave one question unanswered, and how the program ends then.
struct Patience {
  std::chrono::seconds limit{60};
  /// Also behind the opening. What copies or changes something may take as long as a failing disk
  /// needs then.
  bool for_good = false;
  int code = exit_code::kNothing;
};

/// While it lives, a source that does not answer ends the program, with a word: what opens and
/// peels cannot go on without it, and cannot be interrupted.
class OpeningClock {
 public:
  /// @param patience nullopt: as long as it takes
  explicit OpeningClock(const std::optional<Patience>& patience);
  ~OpeningClock();
  OpeningClock(const OpeningClock&) = delete;
  OpeningClock& operator=(const OpeningClock&) = delete;

 private:
  const bool for_good_;
};

/// What a verb wants opened, and how.
struct Opening {
  const SourceOptions& from;
  overlay::Request overlay{};
  bool writable = false;  ///< the sources in place
  std::optional<Patience> patience{};
  std::string wanted{};  ///< the one device that matters, as a person names it; empty: all of them
  bool verbose = false;
  bool quiet = false;
  /// Says all that lies in directories that were named and is no source, not only the links there.
  bool tells_left_out = false;
};

/// The same for the verbs that only look. @param options must outlive what is returned
Opening opening_of(const LookOptions& options);

/// Reads the keys, opens and peels the sources, and asks on the terminal, if there is one and it is
/// allowed, for the passphrase of every locked device: three times each, an empty line leaves one
/// locked. What opened one device is tried on all others before anything else is asked.
/// @throws Error when no source could be opened
std::shared_ptr<Peeling> open_session(const Opening& opening);

/// What is to be opened, without keys.
PeelRequest peel_request(const Opening& opening);

/// The sources as fstab would name them: `|` between them.
std::string source_text(const std::vector<std::string>& sources);

/// Says on standard error what the Peeling has to say, unless it is to be quiet.
void report_warnings(bool quiet, const Peeling& peeling);

/// The device that the person means.
/// @throws Error(Fault::missing) that says what there is, and where it might be hidden
Catalog::Entry find_device(const Peeling& peeling, const Catalog& catalog, const std::string& what);

}  // namespace peelfs::cli
