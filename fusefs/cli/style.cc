#include "cli/style.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

std::string_view environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

std::string_view sequence(Ink ink) {
  switch (ink) {
    case Ink::good:
      return "\x1b[32m";
    case Ink::warning:
      return "\x1b[33m";
    case Ink::bad:
      return "\x1b[31m";
    default:
      return "";
  }
}

}  // namespace

ColorWhen parse_color(std::string_view text) {
  if (text == "auto") return ColorWhen::automatic;
  if (text == "always") return ColorWhen::always;
  if (text == "never") return ColorWhen::never;
  throw usage("--color: when output is coloured")
      .found("'" + printable(text) + "'")
      .expected("auto, always or never");
}

bool colors_wanted(ColorWhen when) {
  if (when != ColorWhen::automatic) return when == ColorWhen::always;
  const std::string_view terminal = environment("TERM");
  return environment("NO_COLOR").empty() && !terminal.empty() && terminal != "dumb" &&
         ::isatty(STDOUT_FILENO) != 0;
}

std::string painted(std::string_view text, Ink ink, bool colors) {
  const std::string_view begin = colors && !text.empty() ? sequence(ink) : std::string_view();
  if (begin.empty()) return std::string(text);
  return std::string(begin).append(text).append("\x1b[0m");
}

std::size_t output_width() {
  constexpr std::size_t kUsual = 80;
  if (::isatty(STDOUT_FILENO) == 0) return 0;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const auto columns = parse_number(environment("COLUMNS"));
  return columns && *columns > 0 ? *columns : kUsual;
}

}  // namespace peelfs::cli
