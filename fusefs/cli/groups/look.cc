#include "cli/groups/look.h"

#include "cli/groups/timeout.h"

namespace peelfs::cli {

void bind_look(Parser& parser, LookOptions& options) {
  bind_sources(parser, options.from);
  bind_cover(parser, options.cover);
  bind_timeout(parser, options.patience);
}

}  // namespace peelfs::cli
