#include "cli/options.h"

#include <algorithm>
#include <string>

#include "cli/arguments.h"
#include "cli/exit_codes.h"
#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

void bind_no_prompt(Parser& parser, Command& command) {
  parser.action("--no-prompt", [&command] { set_source_option(command.from, "no-prompt", ""); });
}

void bind_source_option(Parser& parser, Command& command, const char* name) {
  parser.option(std::string("--") + name, [&command, name](const std::string& value) {
    set_source_option(command.from, name, value);
  });
}

void bind_source_options(Parser& parser, Command& command) {
  for (const char* name : {"header", "allow-reference", "depth", "kdf-memory", "kdf-iterations",
                           "kdf-seconds", "run-files", "identify-bytes"}) {
    bind_source_option(parser, command, name);
  }
  // An action, which comes behind every --depth.
  parser.action("--no-search", [&command] { set_source_option(command.from, "no-search", ""); });
}

/// What a verb is about, which says which of the common options it takes.
enum class Subject { sources, overlays, mounts, nothing };
Subject subject_of(Verb verb) {
  switch (verb) {
    case Verb::drop:
    case Verb::checkpoint:
    case Verb::revert:
      return Subject::overlays;
    case Verb::umount:
    case Verb::unlock:
      return Subject::mounts;
    case Verb::help:
    case Verb::version:
      return Subject::nothing;
    default:
      return Subject::sources;
  }
}

void bind_overlay(Parser& parser, Command& command) {
  parser.option("--overlay", [&command](const std::string& value) {
    set_source_option(command.from, "overlay", value);
  });
}

void bind_keys(Parser& parser, Command& command) {
  for (const char* name : {"key-file", "key"}) {
    parser.option(std::string("--") + name, [&command, name](const std::string& value) {
      set_source_option(command.from, name, value);
    });
  }
}

/// "1M,512" or "4096"
DumpRange parse_dump(const std::string& text) {
  constexpr std::uint64_t kUsual = 512;
  constexpr std::uint64_t kMost = 16U << 20U;
  const std::size_t comma = text.find(',');
  DumpRange range{parse_size(text.substr(0, comma), "--hexdump"), kUsual};
  if (comma != std::string::npos) range.length = parse_size(text.substr(comma + 1), "--hexdump");
  if (range.length == 0 || range.length > kMost) {
    throw usage("--hexdump: how much to show")
        .found(std::to_string(range.length) + " bytes")
        .expected("OFFSET or OFFSET,LENGTH, with a length from 1 to 16M");
  }
  return range;
}

Sparse parse_sparse(const std::string& text) {
  if (text == "auto") return Sparse::automatic;
  if (text == "always") return Sparse::always;
  if (text == "never") return Sparse::never;
  throw usage("--sparse: which zeroes become holes")
      .found("'" + printable(text) + "'")
      .expected("auto, always or never");
}

void set_outcome(Command& command, Outcome outcome) {
  if (command.outcome != Outcome::ask && command.outcome != outcome) {
    throw usage("--commit, --drop and --keep exclude one another");
  }
  command.outcome = outcome;
}

void bind_try(Parser& parser, Command& command) {
  parser.action("--commit", [&command] { set_outcome(command, Outcome::commit); });
  parser.action("--drop", [&command] { set_outcome(command, Outcome::drop); });
  parser.option("--keep", [&command](const std::string& directory) {
    set_outcome(command, Outcome::keep);
    command.keep = directory;
  });
  parser.option("--ok", [&command](const std::string& codes) {
    command.good_codes.merge(parse_codes(codes));
  });
}

void bind_timeout(Parser& parser, std::chrono::seconds& timeout) {
  parser.option("--timeout", [&timeout](const std::string& text) {
    constexpr std::uint64_t kDay = 86400;
    timeout = std::chrono::seconds(std::min(parse_size(text, "--timeout"), 365 * kDay));
  });
}

void bind_verb(Parser& parser, Command& command) {
  switch (command.verb) {
    case Verb::mount:
      bind_timeout(parser, command.patience);
      parser.flag("-f,--foreground", command.mount.foreground);
      parser.flag("--rw", command.in_place);
      parser.flag("--overlay-temp", command.from.overlay_temp);
      parser.option("-o,--options", [&command](const std::string& text) {
        set_mount_options(command, text, false);
      });
      break;
    case Verb::ls:
      bind_timeout(parser, command.patience);
      parser.flag("--json,-J", command.json);
      parser.flag("--bytes,-b", command.bytes);
      break;
    case Verb::map:
      bind_timeout(parser, command.patience);
      parser.flag("--json,-J", command.json);
      break;
    case Verb::cat:
      bind_timeout(parser, command.patience);
      parser.flag("--force", command.force);
      parser.option("--offset", [&command](const std::string& text) {
        command.offset = parse_size(text, "--offset");
      });
      parser.option("--length", [&command](const std::string& text) {
        command.length = parse_size(text, "--length");
      });
      break;
    case Verb::export_:
      bind_timeout(parser, command.patience);
      parser.flag("--force", command.force);
      parser.flag("--resume", command.resume);
      parser.flag("--stop-on-error", command.stop_on_error);
      parser.option("--map-file", [&command](const std::string& text) { command.map_file = text; });
      parser.option("--sparse",
                    [&command](const std::string& text) { command.sparse = parse_sparse(text); });
      break;
    case Verb::diff:
      bind_timeout(parser, command.patience);
      parser.flag("--json,-J", command.json);
      parser.option("--hexdump",
                    [&command](const std::string& text) { command.dump = parse_dump(text); });
      break;
    case Verb::commit:
      parser.flag("--accept-part", command.from.accept_part);
      parser.flag("--drop-snapshots", command.from.drop_snapshots);
      parser.flag("--grow", command.from.grow);
      break;
    case Verb::drop:
      parser.flag("--half-committed", command.from.half_committed);
      [[fallthrough]];
    case Verb::revert:
      parser.flag("--accept-part", command.from.accept_part);
      break;
    case Verb::checkpoint:
      parser.flag("--list", command.list);
      break;
    case Verb::umount:
      parser.flag("-l,--lazy", command.unmount.lazy);
      bind_timeout(parser, command.unmount.timeout);
      break;
    default:
      break;
  }
}

}  // namespace

void bind_options(Parser& parser, Command& command, Asked& asked) {
  const Verb verb = command.verb;
  parser.flag("-h,--help", asked.help);
  parser.flag("-V,--version", asked.version);
  parser.flag("-v,--verbose", command.verbose);
  parser.flag("-q,--quiet", command.quiet);
  const Subject subject = subject_of(verb);
  // A commit brings the overlay's bytes into the source as they are: it opens nothing.
  if ((subject == Subject::sources && verb != Verb::commit) || verb == Verb::unlock) {
    bind_keys(parser, command);
    bind_no_prompt(parser, command);
  }
  if (verb == Verb::commit) {
    bind_source_option(parser, command, "allow-reference");
  } else if (subject == Subject::sources) {
    bind_source_options(parser, command);
  }
  if (subject == Subject::sources || subject == Subject::overlays) {
    parser.flag("--accept-shared", command.from.accept_shared);
  }
  if (verb == Verb::try_) return bind_try(parser, command);  // its overlay is new, and its own
  if (subject == Subject::sources) parser.flag("--accept-source", command.from.accept_source);
  if (subject == Subject::sources || subject == Subject::overlays) bind_overlay(parser, command);
  bind_verb(parser, command);
}

std::vector<Parser::Name> options_of(Verb verb) {
  Command command;
  command.verb = verb;
  Asked asked;
  Parser parser("");
  bind_options(parser, command, asked);
  return parser.names();
}

}  // namespace peelfs::cli
