#include "cli/groups/timeout.h"

#include <algorithm>
#include <cstdint>

#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {

void bind_timeout(Parser& parser, std::chrono::seconds& timeout) {
  parser.option("--timeout", [&timeout](const std::string& text) {
    constexpr std::uint64_t kDay = 86400;
    const auto seconds = parse_number(text);
    if (!seconds) {
      throw usage("--timeout: how many seconds to wait")
          .found("'" + printable(text) + "'")
          .expected("a whole number of seconds, as in 60");
    }
    timeout = std::chrono::seconds(std::min(*seconds, 365 * kDay));
  });
}

}  // namespace peelfs::cli
