#include "cli/looking.h"

#include <unistd.h>

#include <cstdio>

namespace peelfs::cli {

Looking::Looking(bool wanted) : active_(wanted && ::isatty(STDERR_FILENO) != 0) {}

Looking::~Looking() {
  if (!visible_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

Scanner::Observer Looking::observer() {
  if (!active_) return nullptr;
  return [this](const std::shared_ptr<const Tree>& tree) { draw(*tree); };
}

void Looking::draw(const Tree& tree) {
  if (Clock::now() - began_ < std::chrono::seconds(1)) return;
  const std::size_t devices = tree.nodes.size();
  std::fprintf(stderr, "\rlooking into the sources: %zu %s so far\x1b[K", devices,
               devices == 1 ? "device" : "devices");
  std::fflush(stderr);
  visible_ = true;
}

}  // namespace peelfs::cli
