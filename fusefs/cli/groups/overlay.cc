#include "cli/groups/overlay.h"

#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

void set_directory(OverlayOptions& options, std::string_view value) {
  need_value("overlay", value);
  if (!options.directory.empty()) {
    throw usage("--overlay: two directories").found("'" + printable(value) + "'");
  }
  options.directory = value;
}

void bind_directory(Parser& parser, OverlayOptions& options) {
  parser.option("--overlay",
                [&options](const std::string& value) { set_directory(options, value); });
}

}  // namespace

void bind_accept_shared(Parser& parser, bool& accept_shared) {
  parser.flag("--accept-shared", accept_shared);
}

void bind_overlay(Parser& parser, OverlayOptions& options) {
  bind_accept_shared(parser, options.accept_shared);
  bind_directory(parser, options);
}

void bind_cover(Parser& parser, CoverOptions& options) {
  bind_accept_shared(parser, options.accept_shared);
  parser.flag("--accept-source", options.accept_source);
  bind_directory(parser, options);
}

bool set_cover_option(CoverOptions& options, std::string_view name, std::string_view value) {
  if (name == "overlay") {
    set_directory(options, value);
  } else if (name == "accept-source" && value.empty()) {
    options.accept_source = true;
  } else if (name == "accept-shared" && value.empty()) {
    options.accept_shared = true;
  } else {
    return false;
  }
  return true;
}

void require_overlay(const OverlayOptions& options) {
  if (!options.directory.empty()) return;
  throw usage("no overlay is named").expected("--overlay DIR, the directory that it lies in");
}

overlay::Request look_through(const CoverOptions& options) {
  overlay::Request request;
  if (!options.directory.empty()) request.kind = overlay::Request::Kind::view;
  request.directory = options.directory;
  request.accept_source = options.accept_source;
  request.accept_shared = options.accept_shared;
  return request;
}

}  // namespace peelfs::cli
