#include "cli/groups/sources.h"

#include <algorithm>
#include <utility>

#include "cli/values.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"

namespace peelfs::cli {
namespace {

std::pair<std::string, std::string> parse_header(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    throw usage("--header: not NAME=PATH")
        .found("'" + printable(text) + "'")
        .expected("the name of the device, '=', and the file with its LUKS header");
  }
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

/// `NAME=KIND[,OPTION=VALUE...]`. An option without "=" has the value "".
Directive parse_directive(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    throw usage("--as: not NAME=KIND")
        .found("'" + printable(text) + "'")
        .expected("the name of the device, '=', and what it is to be opened as");
  }
  Directive directive{.device = std::string(text.substr(0, equals))};
  text.remove_prefix(equals + 1);
  directive.kind = text.substr(0, text.find(','));
  while (text.find(',') != std::string_view::npos) {
    text.remove_prefix(text.find(',') + 1);
    const std::string_view option = text.substr(0, text.find(','));
    const auto end = option.find('=');
    const std::string_view value =
        end == std::string_view::npos ? std::string_view() : option.substr(end + 1);
    if (!directive.options.emplace(option.substr(0, end), value).second) {
      throw usage("--as " + printable(directive.device) + ": an option is given twice")
          .found("'" + printable(option) + "'");
    }
  }
  standard_formats().check(directive);
  return directive;
}

void add_directive(std::vector<Directive>& directives, std::string_view text) {
  Directive directive = parse_directive(text);
  if (std::ranges::find(directives, directive.device, &Directive::device) != directives.end()) {
    throw usage("--as: two kinds for one device").found("'" + printable(directive.device) + "'");
  }
  directives.push_back(std::move(directive));
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

bool set_option(SourceOptions& options, std::string_view name, std::string_view value) {
  if (set_key_option(options.keys, name, value)) return true;
  if (name == "no-search") {
    refuse_value(name, value);
    options.limits.search_depth = 0;
  } else if (name == "header") {
    auto [device, path] = parse_header(value);
    if (!options.headers.emplace(device, std::move(path)).second) {
      throw usage("--header: two headers for one device").found("'" + printable(device) + "'");
    }
  } else if (name == "as") {
    add_directive(options.directives, value);
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
  } else {
    return false;
  }
  return true;
}

void bind_one(Parser& parser, SourceOptions& options, const char* name) {
  parser.option(std::string("--") + name, [&options, name](const std::string& value) {
    set_source_option(options, name, value);
  });
}

}  // namespace

void bind_sources(Parser& parser, SourceOptions& options) {
  for (const char* name :
       {"key-file", "key", "volume-key", "header", "as", "allow-reference", "depth", "kdf-memory",
        "kdf-iterations", "kdf-seconds", "run-files", "identify-bytes"}) {
    bind_one(parser, options, name);
  }
  // An action, which comes behind every --depth.
  for (const char* const name : {"no-search", "no-prompt"}) {
    parser.action(std::string("--") + name,
                  [&options, name] { set_source_option(options, name, ""); });
  }
}

void bind_as(Parser& parser, std::vector<Directive>& directives) {
  parser.option("--as",
                [&directives](const std::string& value) { add_directive(directives, value); });
}

void bind_allow_reference(Parser& parser, std::vector<std::string>& paths) {
  parser.option("--allow-reference", [&paths](const std::string& value) {
    need_value("allow-reference", value);
    paths.push_back(value);
  });
}

bool set_source_option(SourceOptions& options, std::string_view name, std::string_view value) {
  if (!set_option(options, name, value)) return false;
  options.said.emplace_back(name, value);
  return true;
}

}  // namespace peelfs::cli
