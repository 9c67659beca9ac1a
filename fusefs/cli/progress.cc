#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/text.h"

namespace peelfs::cli {
namespace {

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

/// "0:07", "12:34", "3:25:45"
std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 359999.0));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%d:%02d:%02d", static_cast<int>(whole / 3600),
                  static_cast<int>(whole / 60 % 60), static_cast<int>(whole % 60));
  } else {
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(whole / 60),
                  static_cast<int>(whole % 60));
  }
  return text;
}

}  // namespace

Progress::Progress(std::string label, std::uint64_t total, bool wanted)
    : label_(std::move(label)),
      total_(total),
      active_(wanted && total > 0 && ::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  clear();
}

void Progress::update(std::uint64_t done) {
  if (!active_) return;
  const auto now = Clock::now();
  if (now - drawn_ < std::chrono::milliseconds(200)) return;
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - began_).count();
  const std::string text = "\r" + line(done, seconds, terminal_columns()) + "\x1b[K";
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  visible_ = true;
}

void Progress::clear() {
  if (!visible_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  visible_ = false;
}

std::string Progress::line(std::uint64_t done, double seconds, std::size_t columns) const {
  const double share = static_cast<double>(done) / static_cast<double>(total_);
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  std::string numbers = human_size(done) + "/" + human_size(total_);
  if (seconds > 0.5 && rate >= 1) {
    const double left = static_cast<double>(total_ - done) / rate;
    numbers += "  " + human_size(static_cast<std::uint64_t>(rate)) + "/s  ETA " + clock_text(left);
  }
  char percent[8];
  std::snprintf(percent, sizeof percent, "%3d%%", static_cast<int>(share * 100));
  const std::string head = label_ + "  " + percent + " ";
  const std::size_t taken = display_width(head) + display_width(numbers) + 5;
  if (columns < taken + 10) return head + numbers;
  const std::size_t width = std::min<std::size_t>(columns - taken, 40);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
  return head + "[" + std::string(filled, '#') + std::string(width - filled, '.') + "]  " + numbers;
}

}  // namespace peelfs::cli
