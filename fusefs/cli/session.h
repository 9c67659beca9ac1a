// What every verb with sources does first: open them, with keys, and ask for what is still locked.
#pragma once

#include <memory>
#include <string>

#include "cli/command.h"
#include "peel/peeling.h"

namespace peelfs::cli {

/// While it lives, a source that does not answer ends the program, with a word: what opens and
/// peels cannot go on without it, and cannot be interrupted. ls, cat and map are ended for good,
/// also behind it; what copies or changes something may then take as long as a failing disk needs.
class OpeningClock {
 public:
  explicit OpeningClock(const Command& command);
  ~OpeningClock();
  OpeningClock(const OpeningClock&) = delete;
  OpeningClock& operator=(const OpeningClock&) = delete;

 private:
  const bool for_good_;
};

/// Reads the keys, opens and peels the sources, and asks on the terminal, if there is one and it is
/// allowed, for the passphrase of every locked device: three times each, an empty line leaves one
/// locked. What opened one device is tried on all others before anything else is asked.
/// @throws Error when no source could be opened
std::shared_ptr<Peeling> open_session(const Command& command);

/// What the command line says of the sources, without keys.
PeelRequest peel_request(const Command& command);

/// The sources as fstab would name them: `|` between them.
std::string source_text(const std::vector<std::string>& sources);

/// Says on standard error what the Peeling has to say, unless it is to be quiet.
void report_warnings(const Command& command, const Peeling& peeling);

/// The device that the person means.
/// @throws Error(Fault::missing) that says what there is, and where it might be hidden
Catalog::Entry find_device(const Peeling& peeling, const Catalog& catalog, const std::string& what);

}  // namespace peelfs::cli
