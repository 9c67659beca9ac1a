// The one translation unit that compiles CLI11. It parses options; which verb is meant and what the
// operands are is decided here, because a verb may be left out and a source may be named like one.
#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

Error usage(std::string what) {
  return Error(Fault::usage, std::move(what));
}

struct VerbWord {
  std::string_view word;
  Verb verb;
};
constexpr std::array kVerbs{VerbWord{"mount", Verb::mount},
                            VerbWord{"ls", Verb::ls},
                            VerbWord{"cat", Verb::cat},
                            VerbWord{"export", Verb::export_},
                            VerbWord{"map", Verb::map},
                            VerbWord{"umount", Verb::umount},
                            VerbWord{"unlock", Verb::unlock},
                            VerbWord{"diff", Verb::diff},
                            VerbWord{"commit", Verb::commit},
                            VerbWord{"drop", Verb::drop},
                            VerbWord{"checkpoint", Verb::checkpoint},
                            VerbWord{"revert", Verb::revert},
                            VerbWord{"try", Verb::try_},
                            VerbWord{"help", Verb::help}};

std::optional<Verb> find_verb(std::string_view word) {
  const auto* found = std::find_if(kVerbs.begin(), kVerbs.end(),
                                   [&](const VerbWord& entry) { return entry.word == word; });
  if (found == kVerbs.end()) return std::nullopt;
  return found->verb;
}

/// Whether the argument behind this one is its value, whichever verb it belongs to.
bool takes_next(std::string_view option) {
  constexpr std::array<std::string_view, 16> kWithValue{
      "--key-file", "--key",        "--header",         "--allow-reference",
      "--depth",    "--kdf-memory", "--kdf-iterations", "--options",
      "--offset",   "--length",     "--map-file",       "--sparse",
      "--timeout",  "--overlay",    "--hexdump",        "--keep"};
  if (!option.starts_with("--")) return option.find('o') == option.size() - 1;  // -o, -fo
  return std::find(kWithValue.begin(), kWithValue.end(), option) != kWithValue.end();
}

/// Where the verb stands: it is the first argument that is no option. nullopt: that one is no verb,
/// or stands behind `--`, so mount is meant.
std::optional<std::size_t> verb_position(const std::vector<std::string>& arguments) {
  std::size_t at = 0;
  while (at < arguments.size() && arguments[at].size() > 1 && arguments[at][0] == '-') {
    if (arguments[at] == "--") return std::nullopt;
    at += takes_next(arguments[at]) ? 2 : 1;
  }
  if (at >= arguments.size() || !find_verb(arguments[at])) return std::nullopt;
  return at;
}

/// CLI11 takes apart what looks like "[a,b]", and stops at "++". Such arguments are never options
/// here, so they travel through it behind a mark that no argument begins with otherwise.
constexpr char kMark = '\x01';

std::string shielded(const std::string& argument) {
  const bool special = !argument.empty() && (argument.front() == '[' || argument.front() == kMark);
  return special || argument == "++" ? kMark + argument : argument;
}

std::string unshielded(const std::string& argument) {
  return !argument.empty() && argument.front() == kMark ? argument.substr(1) : argument;
}

/// One run of CLI11: options are bound first, then run() gives back the operands.
class Parser {
 public:
  explicit Parser(std::string_view verb) : app_("", std::string(verb)) {
    app_.set_help_flag();
    app_.allow_extras(false);
    operands_ = app_.add_option("operands", unused_);
  }

  void flag(const std::string& names, bool& target) {
    names_.push_back(names);
    app_.add_flag(names, target);
  }

  /// A flag that something is done for.
  void action(const std::string& names, std::function<void()> act) {
    names_.push_back(names);
    actions_.emplace_back(app_.add_flag(names), std::move(act));
  }

  /// An option with a value that may be given again and again; `take` is called for each, in order.
  void option(const std::string& names, std::function<void(const std::string&)> take) {
    names_.push_back(names);
    CLI::Option* added = app_.add_option(names, unused_);
    added->allow_extra_args(false);
    takers_.emplace_back(added, std::move(take));
  }

  std::vector<std::string> run(const std::vector<std::string>& arguments) {
    std::vector<std::string> reversed;
    bool operands_only = false;
    for (const std::string& argument : arguments) {
      operands_only = operands_only || argument == "--";
      if (!operands_only && argument.starts_with("--") && argument.ends_with('=')) {
        throw usage("option '" + printable(argument.substr(0, argument.size() - 1)) +
                    "' needs a value");
      }
      reversed.push_back(shielded(argument));
    }
    std::reverse(reversed.begin(), reversed.end());  // CLI11 pops them off the end
    try {
      app_.parse(std::move(reversed));
    } catch (const CLI::ExtrasError&) {
      throw unknown(app_.remaining());
    } catch (const CLI::ParseError& error) {
      throw usage(printable(error.what()));
    }
    for (const auto& [added, take] : takers_) {
      for (const std::string& value : added->results()) take(unshielded(value));
    }
    for (const auto& [added, act] : actions_) {
      if (added->count() != 0) act();
    }
    std::vector<std::string> operands;
    for (const std::string& operand : operands_->results()) operands.push_back(unshielded(operand));
    return operands;
  }

 private:
  Error unknown(const std::vector<std::string>& extras) const {
    const std::string word = extras.empty() ? "" : unshielded(extras.front());
    std::vector<std::string> known;
    for (const std::string& names : names_) {
      for (const std::string& name : CLI::detail::split(names, ',')) known.push_back(name);
    }
    const std::vector<std::string_view> views(known.begin(), known.end());
    const std::string bare = word.substr(0, word.find('='));
    const std::string_view meant = bare.starts_with("--") ? closest(bare, views) : "";
    auto error = usage("unknown option '" + printable(bare) + "'");
    if (meant.empty()) {
      return std::move(error).advice(
          "for a file of that name, write ./ before it, or put it behind --");
    }
    return std::move(error).advice("did you mean '" + std::string(meant) + "'?");
  }

  CLI::App app_;
  CLI::Option* operands_ = nullptr;
  std::vector<std::string> unused_;
  std::vector<std::string> names_;
  std::vector<std::pair<CLI::Option*, std::function<void(const std::string&)>>> takers_;
  std::vector<std::pair<CLI::Option*, std::function<void()>>> actions_;
};

void bind_source_options(Parser& parser, Command& command, bool& no_search, bool& no_prompt) {
  for (const char* name : {"header", "allow-reference", "depth", "kdf-memory", "kdf-iterations"}) {
    parser.option(std::string("--") + name, [&command, name](const std::string& value) {
      set_source_option(command.from, name, value);
    });
  }
  parser.flag("--no-search", no_search);
  parser.flag("--no-prompt", no_prompt);
}

/// Whether an overlay can be named with the verb.
bool has_overlay(Verb verb) {
  return verb != Verb::umount && verb != Verb::unlock && verb != Verb::help;
}

void bind_overlay(Parser& parser, Command& command) {
  parser.option("--overlay", [&command](const std::string& value) {
    set_source_option(command.from, "overlay", value);
  });
  parser.flag("--accept-source", command.from.accept_source);
}

void bind_keys(Parser& parser, Command& command) {
  for (const char* name : {"key-file", "key"}) {
    parser.option(std::string("--") + name, [&command, name](const std::string& value) {
      set_source_option(command.from, name, value);
    });
  }
}

/// The last operand, taken away. @param what it is, for the message
std::string take_last(std::vector<std::string>& operands, std::string_view what) {
  if (operands.empty()) throw usage(std::string(what) + " is missing");
  std::string last = std::move(operands.back());
  operands.pop_back();
  if (last.empty()) throw usage(std::string(what) + " is empty");
  return last;
}

void take_sources(Command& command, std::vector<std::string> operands, std::string_view before) {
  if (operands.empty()) {
    throw usage("no SOURCE is named" +
                (before.empty() ? std::string() : " before " + std::string(before)))
        .expected("at least one disk image, block device, or directory of images");
  }
  command.from.sources = std::move(operands);
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
}

void bind_verb(Parser& parser, Command& command) {
  switch (command.verb) {
    case Verb::mount:
      parser.flag("-f,--foreground", command.mount.foreground);
      parser.flag("--rw", command.in_place);
      parser.flag("--overlay-temp", command.from.overlay_temp);
      parser.option("-o,--options", [&command](const std::string& text) {
        set_mount_options(command, text, false);
      });
      break;
    case Verb::ls:
      parser.flag("--json,-J", command.json);
      parser.flag("--bytes,-b", command.bytes);
      break;
    case Verb::map:
      parser.flag("--json,-J", command.json);
      break;
    case Verb::cat:
      parser.flag("--force", command.force);
      parser.option("--offset", [&command](const std::string& text) {
        command.offset = parse_size(text, "--offset");
      });
      parser.option("--length", [&command](const std::string& text) {
        command.length = parse_size(text, "--length");
      });
      break;
    case Verb::export_:
      parser.flag("--force", command.force);
      parser.flag("--resume", command.resume);
      parser.flag("--stop-on-error", command.stop_on_error);
      parser.option("--map-file", [&command](const std::string& text) { command.map_file = text; });
      parser.option("--sparse", [&command](const std::string& text) {
        if (text == "auto") {
          command.sparse = Sparse::automatic;
        } else if (text == "always") {
          command.sparse = Sparse::always;
        } else if (text == "never") {
          command.sparse = Sparse::never;
        } else {
          throw usage("--sparse: which zeroes become holes")
              .found("'" + printable(text) + "'")
              .expected("auto, always or never");
        }
      });
      break;
    case Verb::diff:
      parser.flag("--json,-J", command.json);
      parser.option("--hexdump",
                    [&command](const std::string& text) { command.dump = parse_dump(text); });
      break;
    case Verb::checkpoint:
      parser.flag("--list", command.list);
      break;
    case Verb::try_:
      bind_try(parser, command);
      break;
    case Verb::umount:
      parser.flag("-l,--lazy", command.unmount.lazy);
      parser.option("--timeout", [&command](const std::string& text) {
        constexpr std::uint64_t kDay = 86400;
        command.unmount.timeout =
            std::chrono::seconds(std::min(parse_size(text, "--timeout"), 365 * kDay));
      });
      break;
    default:
      break;
  }
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

/// What stands behind `--` is the command's own.
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

void take_operands(Command& command, std::vector<std::string> operands) {
  switch (command.verb) {
    case Verb::mount:
      if (operands.size() == 1) {
        throw usage("only one operand, '" + printable(operands[0]) + "'")
            .expected("SOURCE... and, last, the directory to mount on")
            .advice("to look inside without mounting: peelfs ls " + printable(operands[0]));
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
    default:
      break;
  }
}

/// `peelfs help`, `peelfs help VERB`.
Command parse_help(const std::vector<std::string>& operands) {
  Command command;
  if (operands.empty()) return command;
  const auto verb = find_verb(operands[0]);
  if (!verb) {
    throw usage("there is no verb '" + printable(operands[0]) + "'").advice("see 'peelfs --help'");
  }
  command.help_for = *verb;
  return command;
}

/// What fits no mount but looks like a verb with a slip of the finger.
void check_misspelt_verb(const std::vector<std::string>& arguments, const Command& command) {
  if (command.from.sources.empty() || arguments.empty()) return;
  const std::string& first = command.from.sources.front();
  if (first != arguments.front() || first.find_first_of("./=:") != std::string::npos) return;
  std::vector<std::string_view> verbs;
  for (const VerbWord& entry : kVerbs) verbs.push_back(entry.word);
  const std::string_view meant = closest(first, verbs);
  if (!meant.empty() && ::access(first.c_str(), F_OK) != 0) {
    throw usage("'" + printable(first) + "' is neither a verb nor a file here")
        .advice("did you mean 'peelfs " + std::string(meant) + "'?");
  }
}

/// Everything behind the first `--` of `try`.
void split_command_line(Command& command, std::vector<std::string>& rest) {
  const auto marker = std::find(rest.begin(), rest.end(), "--");
  if (marker == rest.end()) return;
  command.command_line.assign(marker + 1, rest.end());
  rest.erase(marker, rest.end());
}

/// Two ways of writing at once, or writing and not writing, are a mistake to be told before
/// anything is opened.
void check_writing(const Command& command) {
  const bool overlay = !command.from.overlay.empty() || command.from.overlay_temp;
  if (command.in_place && overlay) {
    throw usage("'rw' and an overlay exclude each other")
        .advice("'rw' writes into the sources, an overlay keeps them as they are");
  }
  if (command.from.overlay_temp && !command.from.overlay.empty()) {
    throw usage("--overlay DIR and --overlay-temp exclude each other")
        .advice("the one stays, the other is thrown away at unmount");
  }
  if (command.read_only && (command.in_place || command.from.overlay_temp)) {
    throw usage("'ro' and writing exclude each other")
        .found(command.in_place ? "ro and rw" : "ro and overlay-temp");
  }
}

}  // namespace

std::vector<std::string> split_spec(std::string_view spec) {
  std::vector<std::string> sources(1);
  for (std::size_t i = 0; i < spec.size(); ++i) {
    if (spec[i] != '|') {
      sources.back() += spec[i];
    } else if (i + 1 < spec.size() && spec[i + 1] == '|') {
      sources.back() += spec[++i];
    } else {
      sources.emplace_back();
    }
  }
  std::erase(sources, "");
  return sources;
}

std::string_view verb_name(Verb verb) noexcept {
  for (const VerbWord& entry : kVerbs) {
    if (entry.verb == verb) return entry.word;
  }
  return "version";
}

Verb verb_of(const std::vector<std::string>& arguments) {
  const auto at = verb_position(arguments);
  return at ? *find_verb(arguments[*at]) : Verb::mount;
}

Command parse_arguments(const std::vector<std::string>& arguments) {
  Command command;
  command.verb = verb_of(arguments);
  std::vector<std::string> rest = arguments;
  if (const auto at = verb_position(arguments)) {
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(*at));
  }

  if (command.verb == Verb::try_) split_command_line(command, rest);

  bool help = false;
  bool version = false;
  bool no_search = false;
  bool no_prompt = false;
  Parser parser(verb_name(command.verb));
  parser.flag("-h,--help", help);
  parser.flag("-V,--version", version);
  parser.flag("-v,--verbose", command.verbose);
  parser.flag("-q,--quiet", command.quiet);
  const bool with_keys = command.verb != Verb::umount && command.verb != Verb::help;
  if (with_keys) bind_keys(parser, command);
  if (with_keys && command.verb != Verb::unlock) {
    bind_source_options(parser, command, no_search, no_prompt);
  } else if (command.verb == Verb::unlock) {
    parser.flag("--no-prompt", no_prompt);
  }
  if (has_overlay(command.verb) && command.verb != Verb::try_) bind_overlay(parser, command);
  bind_verb(parser, command);
  std::vector<std::string> operands = parser.run(rest);
  if (no_search) set_source_option(command.from, "no-search", "");
  if (no_prompt) set_source_option(command.from, "no-prompt", "");

  if (version) {
    command.verb = Verb::version;
    return command;
  }
  if (help) {
    command.help_for = verb_position(arguments) ? command.verb : Verb::help;
    command.verb = Verb::help;
    return command;
  }
  if (command.verb == Verb::help) return parse_help(operands);
  if (arguments.empty()) throw usage("nothing to do").advice("'peelfs --help' shows how to begin");
  take_operands(command, std::move(operands));
  if (command.verb == Verb::mount) check_misspelt_verb(arguments, command);
  check_writing(command);
  if (command.verb == Verb::export_ && command.resume && command.map_file.empty()) {
    throw usage("--resume needs --map-file, the record of what is there already");
  }
  return command;
}

Command parse_helper_arguments(const std::vector<std::string>& arguments) {
  Command command;
  command.verb = Verb::mount;
  bool sloppy = false;
  bool no_mtab = false;
  Parser parser("mount.fuse.peelfs");
  parser.flag("-s", sloppy);
  parser.flag("-f", command.fake);
  parser.flag("-n", no_mtab);
  parser.flag("-v", command.verbose);
  parser.option("-N", [](const std::string&) {
    throw usage("-N: mounting in another namespace is not possible").advice("use nsenter(1)");
  });
  parser.option("-t", [](const std::string&) {});
  parser.option("-o",
                [&command](const std::string& text) { set_mount_options(command, text, true); });
  std::vector<std::string> operands = parser.run(arguments);
  if (operands.size() != 2) {
    throw usage("wrong number of operands").expected("the sources as one word, and a directory");
  }
  // What fstab calls it is what `mount` must show: `mount -a` would mount it again otherwise.
  if (command.mount.fsname.empty()) command.mount.fsname = operands[0];
  command.mount.mountpoint = operands[1];
  take_sources(command, split_spec(operands[0]), "");
  check_writing(command);
  return command;
}

}  // namespace peelfs::cli
