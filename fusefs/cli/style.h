// Colours on standard output, by --color, NO_COLOR (no-color.org) and what the terminal is. They
// only repeat what a word says already.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace peelfs::cli {

/// What a text is about.
enum class Ink : std::uint8_t {
  plain,
  good,     ///< green
  warning,  ///< yellow
  bad,      ///< red
};

enum class ColorWhen : std::uint8_t { automatic, always, never };

/// "auto", "always", "never" @throws Error(Fault::usage)
ColorWhen parse_color(std::string_view text);

/// Whether standard output is coloured. `automatic`: only on a terminal that is not "dumb", and
/// not when NO_COLOR is set and not empty.
bool colors_wanted(ColorWhen when);

/// The text between the escape sequences of its colour, or as it is where there are no colours.
std::string painted(std::string_view text, Ink ink, bool colors);

/// The columns of the terminal that standard output is; 0: it is none, and lines may be as long as
/// they like. COLUMNS counts where the terminal does not know its size.
std::size_t output_width();

}  // namespace peelfs::cli
