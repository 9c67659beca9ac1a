// The options that all verbs with sources share: keys, headers, limits, overlays.
#include <array>
#include <limits>
#include <utility>

#include "cli/arguments.h"
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

/// "file:PATH", "fd:N" or "env:VARIABLE".
std::optional<KeyOrigin> parse_origin(std::string_view text) {
  for (const auto& [word, kind] : kOrigins) {
    if (!text.starts_with(word)) continue;
    KeyOrigin origin;
    origin.kind = kind;
    origin.place = text.substr(word.size());
    if (origin.place.empty()) {
      throw usage("--key: nothing follows '" + std::string(word) + "'");
    }
    if (kind == KeyOrigin::Kind::descriptor) {
      const auto number = parse_number(origin.place);
      if (!number || *number > static_cast<unsigned>(std::numeric_limits<int>::max())) {
        throw usage("--key: no number of a file descriptor")
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
KeyOrigin parse_key(std::string_view text) {
  if (auto origin = parse_origin(text)) return *std::move(origin);
  for (auto equals = text.find('='); equals != std::string_view::npos;
       equals = text.find('=', equals + 1)) {
    auto origin = parse_origin(text.substr(equals + 1));
    if (!origin) continue;
    if (equals == 0) throw usage("--key: the name of the device before '=' is empty");
    origin->whose = text.substr(0, equals);
    return *std::move(origin);
  }
  throw usage("--key: it does not say where the key is")
      .expected("NAME=file:PATH, NAME=fd:NUMBER or NAME=env:VARIABLE")
      .advice(
          "a passphrase itself never belongs on a command line, where every user of the machine "
          "can "
          "read it");
}

std::pair<std::string, std::string> parse_header(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    throw usage("--header: not NAME=PATH")
        .found("'" + printable(text) + "'")
        .expected("the name of the device, '=', and the file with its LUKS header");
  }
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::uint64_t parse_amount(std::string_view value, const char* option, const char* unit) {
  const auto amount = parse_number(value);
  if (!amount || *amount == 0) {
    throw usage(std::string(option) + ": how many " + unit + " one run may spend")
        .found("'" + printable(value) + "'")
        .expected("a number from 1 on");
  }
  return *amount;
}

void need_value(std::string_view name, std::string_view value) {
  if (value.empty()) throw usage("option '" + std::string(name) + "' needs a value");
}

}  // namespace

bool set_source_option(SourceOptions& options, std::string_view name, std::string_view value) {
  if (name == "no-search" || name == "no-prompt") {
    if (!value.empty()) throw usage("option '" + std::string(name) + "' takes no value");
    if (name == "no-search") options.limits.search_depth = 0;
    if (name == "no-prompt") options.prompt = false;
    return true;
  }
  if (name == "key-file") {
    need_value(name, value);
    options.keys.push_back({"", KeyOrigin::Kind::file, std::string(value), 0});
  } else if (name == "key") {
    need_value(name, value);
    options.keys.push_back(parse_key(value));
  } else if (name == "header") {
    auto [device, path] = parse_header(value);
    if (!options.headers.emplace(device, std::move(path)).second) {
      throw usage("--header: two headers for one device").found("'" + printable(device) + "'");
    }
  } else if (name == "allow-reference") {
    need_value(name, value);
    options.allow_references.emplace_back(value);
  } else if (name == "depth") {
    const auto depth = parse_number(value);
    if (!depth || *depth > 1000) {
      throw usage("--depth: how many image files may lie within one another")
          .found("'" + printable(value) + "'")
          .expected("a number from 0 (do not search) to 1000");
    }
    options.limits.search_depth = static_cast<unsigned>(*depth);
  } else if (name == "kdf-memory") {
    options.limits.kdf_memory = parse_size(value, "--kdf-memory");
  } else if (name == "kdf-iterations") {
    const auto iterations = parse_number(value);
    if (!iterations || *iterations == 0 || *iterations > 0xffffffff) {
      throw usage("--kdf-iterations: how many iterations a LUKS header may ask for")
          .found("'" + printable(value) + "'")
          .expected("a number from 1 to 4294967295");
    }
    options.limits.kdf_iterations = static_cast<std::uint32_t>(*iterations);
  } else if (name == "kdf-seconds") {
    options.limits.run_kdf_seconds = parse_amount(value, "--kdf-seconds", "seconds");
  } else if (name == "run-files") {
    options.limits.run_files = parse_amount(value, "--run-files", "files");
  } else if (name == "identify-bytes") {
    options.limits.run_identify_bytes = parse_size(value, "--identify-bytes");
  } else if (name == "overlay") {
    need_value(name, value);
    if (!options.overlay.empty()) {
      throw usage("--overlay: two directories").found("'" + printable(value) + "'");
    }
    options.overlay = value;
  } else if (name == "overlay-temp" && value.empty()) {
    options.overlay_temp = true;
  } else if (name == "accept-source" && value.empty()) {
    options.accept_source = true;
  } else if (name == "accept-shared" && value.empty()) {
    options.accept_shared = true;
  } else {
    return false;
  }
  return true;
}

}  // namespace peelfs::cli
