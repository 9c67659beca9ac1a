// Which directive of a run is for a source, as far as its bytes as a file are concerned.
#pragma once

#include <span>
#include <string_view>

#include "peelfs/formats.h"
#include "peelfs/layer.h"

namespace peelfs {

/// Whether a directive says in what format the bytes of a file are: raw, or an image format.
bool names_format(const Directive& directive, const Formats& formats) noexcept;

/// The directive for a source. One that names its file name or its path is for it. Its stem is also
/// the name of the disk that an image file unpacks to: one that names that is for the file only if
/// it says in what format the bytes of the file are.
/// @return null: none is
const Directive* directive_for_source(std::span<const Directive> directives, const Formats& formats,
                                      std::string_view name, std::string_view stem,
                                      std::string_view path) noexcept;

}  // namespace peelfs
