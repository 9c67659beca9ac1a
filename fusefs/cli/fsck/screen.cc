#include "cli/fsck/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cli/fsck/result.h"
#include "cli/text.h"

namespace peelfs::cli {
namespace {

/// As many as leave room on the smallest terminal.
constexpr std::size_t kMostLines = 12;

winsize terminal_size() {
  constexpr unsigned short kRows = 24;
  constexpr unsigned short kColumns = 80;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    size.ws_row = kRows;
    size.ws_col = kColumns;
  }
  return size;
}

/// Takes the last character away, whole.
void shorten(std::string& text) {
  constexpr unsigned char kContinues = 0x80;
  constexpr unsigned char kMask = 0xC0;
  while (text.size() > 1 && (static_cast<unsigned char>(text.back()) & kMask) == kContinues) {
    text.pop_back();
  }
  text.pop_back();
}

std::string clock_text(double seconds) {
  constexpr int kMinute = 60;
  const int whole = static_cast<int>(seconds);
  std::string text = std::to_string(whole % kMinute);
  if (text.size() < 2) text.insert(0, "0");
  return std::to_string(whole / kMinute) + ":" + text;
}

bool can_draw() {
  const char* const terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

}  // namespace

FsckScreen::FsckScreen(const check::Plan& plan, bool wanted)
    : plan_(plan), active_(wanted && can_draw()) {
  for (const check::Unit& unit : plan.units) all_ += unit.targets.size();
}

FsckScreen::~FsckScreen() {
  clear();
}

void FsckScreen::begin(std::string_view what, std::size_t targets) {
  what_ = what;
  done_ = 0;
  all_ = targets;
}

void FsckScreen::started(std::size_t target) {
  lines_.try_emplace(target, Line{Clock::now(), 0});
}

void FsckScreen::progressed(std::size_t target, unsigned percent) {
  const auto at = lines_.find(target);
  if (at != lines_.end()) at->second.percent = percent;
}

void FsckScreen::finished(std::size_t target) {
  lines_.erase(target);
  ++done_;
}

std::string FsckScreen::text_of(std::size_t target, const Line& line, Clock::time_point now) const {
  constexpr std::string_view kSpinner = "|/-\\";
  constexpr double kWhole = 100;
  const double seconds = std::chrono::duration<double>(now - line.began).count();
  const check::Target& one = plan_.targets[target];
  std::string text{kSpinner[turn_ % kSpinner.size()]};
  text += " " + shown(one.device) + " (" + shown(source_of(one)) + ", " + shown(one.fstype) + ") ";
  if (line.percent > 0) text += std::to_string(line.percent) + "% ";
  text += clock_text(seconds);
  // What a program says of the first few per cent foretells nothing.
  constexpr unsigned kTells = 5;
  if (line.percent >= kTells && line.percent < 100) {
    text += ", " + clock_text(seconds * (kWhole - line.percent) / line.percent) + " left";
  }
  return text;
}

void FsckScreen::tick() {
  if (!active_) return;
  const Clock::time_point now = Clock::now();
  // What is done at once is not worth a line.
  const bool any = std::ranges::any_of(lines_, [&](const auto& one) {
    return now - one.second.began > std::chrono::milliseconds(300);
  });
  if (!any && drawn_ == 0) return;
  ++turn_;
  const winsize size = terminal_size();
  const std::size_t most = std::min<std::size_t>(kMostLines, std::max(2, size.ws_row - 3));
  std::vector<std::string> texts;
  for (const auto& [target, line] : lines_) {
    if (texts.size() == most) break;
    texts.push_back(text_of(target, line, now));
  }
  texts.push_back(std::to_string(done_) + " of " + std::to_string(all_) + " " + what_);
  clear();
  std::string out;
  for (std::string& text : texts) {
    while (!text.empty() && display_width(text) >= size.ws_col) shorten(text);
    out += text + "\n";
  }
  drawn_ = texts.size();
  std::fputs(out.c_str(), stderr);
  std::fflush(stderr);
}

void FsckScreen::clear() {
  if (drawn_ == 0) return;
  std::fprintf(stderr, "\x1b[%zuA\x1b[J", drawn_);
  std::fflush(stderr);
  drawn_ = 0;
}

}  // namespace peelfs::cli
