#include "host/directed.h"

#include <algorithm>

namespace peelfs {

bool names_format(const Directive& directive, const Formats& formats) noexcept {
  if (directive.kind == kAsRaw) return true;
  const Layer* const row = formats.by_kind(directive.kind);
  return row != nullptr && row->traits.image;
}

const Directive* directive_for_source(std::span<const Directive> directives, const Formats& formats,
                                      std::string_view name, std::string_view stem,
                                      std::string_view path) noexcept {
  const auto found = std::ranges::find_if(directives, [&](const Directive& one) {
    if (one.device == stem) return names_format(one, formats);
    return one.device == name || one.device == path;
  });
  return found == directives.end() ? nullptr : &*found;
}

}  // namespace peelfs
