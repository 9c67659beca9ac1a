#include "cli/groups/keys.h"

#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

struct OriginWord {
  std::string_view word;
  KeyOrigin::Kind kind;
};
constexpr std::array kOrigins{OriginWord{"file:", KeyOrigin::Kind::file},
                              OriginWord{"fd:", KeyOrigin::Kind::descriptor},
                              OriginWord{"env:", KeyOrigin::Kind::environment}};

/// "file:PATH", "fd:N" or "env:VARIABLE". @param option "--key", for messages
std::optional<KeyOrigin> parse_origin(std::string_view text, const std::string& option) {
  for (const auto& [word, kind] : kOrigins) {
    if (!text.starts_with(word)) continue;
    KeyOrigin origin;
    origin.kind = kind;
    if (kind == KeyOrigin::Kind::environment) origin.is = KeyKind::passphrase;
    origin.place = text.substr(word.size());
    if (origin.place.empty()) {
      throw usage(option + ": nothing follows '" + std::string(word) + "'");
    }
    if (kind == KeyOrigin::Kind::descriptor) {
      const auto number = parse_number(origin.place);
      if (!number || *number > static_cast<unsigned>(std::numeric_limits<int>::max())) {
        throw usage(option + ": no number of a file descriptor")
            .found("'" + printable(origin.place) + "'")
            .expected("fd: and a number, as in fd:3");
      }
      origin.descriptor = static_cast<int>(*number);
    }
    return origin;
  }
  return std::nullopt;
}

/// `[NAME-or-UUID=]file:PATH|fd:N|env:VARIABLE`. The text is never repeated in a message: somebody
/// who writes the passphrase itself here must not find it in a log.
KeyOrigin parse_key(std::string_view text, const std::string& option) {
  if (auto origin = parse_origin(text, option)) return *std::move(origin);
  for (auto equals = text.find('='); equals != std::string_view::npos;
       equals = text.find('=', equals + 1)) {
    auto origin = parse_origin(text.substr(equals + 1), option);
    if (!origin) continue;
    if (equals == 0) throw usage(option + ": the name of the device before '=' is empty");
    origin->whose = text.substr(0, equals);
    return *std::move(origin);
  }
  throw usage(option + ": it does not say where the key is")
      .expected("NAME=file:PATH, NAME=fd:NUMBER or NAME=env:VARIABLE")
      .advice(
          "a key itself never belongs on a command line, where every user of the machine can read "
          "it");
}

}  // namespace

void bind_keys(Parser& parser, KeyOptions& options) {
  for (const char* name : {"key-file", "key", "volume-key"}) {
    parser.option(std::string("--") + name, [&options, name](const std::string& value) {
      set_key_option(options, name, value);
    });
  }
  parser.action("--no-prompt", [&options] { options.prompt = false; });
}

bool set_key_option(KeyOptions& options, std::string_view name, std::string_view value) {
  if (name == "key-file") {
    need_value(name, value);
    options.origins.push_back(
        {"", KeyOrigin::Kind::file, std::string(value), 0, KeyKind::key_file});
  } else if (name == "key") {
    need_value(name, value);
    options.origins.push_back(parse_key(value, "--key"));
  } else if (name == "volume-key") {
    need_value(name, value);
    options.origins.push_back(parse_key(value, "--volume-key"));
    options.origins.back().is = KeyKind::volume_key;
  } else if (name == "no-prompt") {
    refuse_value(name, value);
    options.prompt = false;
  } else {
    return false;
  }
  return true;
}

}  // namespace peelfs::cli
