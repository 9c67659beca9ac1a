#include "cli/groups/timeout.h"

#include <algorithm>
#include <cstdint>

#include "cli/values.h"

namespace peelfs::cli {

void bind_timeout(Parser& parser, std::chrono::seconds& timeout) {
  parser.option("--timeout", [&timeout](const std::string& text) {
    constexpr std::uint64_t kDay = 86400;
    timeout = std::chrono::seconds(std::min(parse_size(text, "--timeout"), 365 * kDay));
  });
}

}  // namespace peelfs::cli
