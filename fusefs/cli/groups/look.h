// What all verbs share that open sources, look through overlays, and wait only so long for either.
#pragma once

#include <chrono>

#include "cli/groups/overlay.h"
#include "cli/groups/sources.h"
#include "cli/verb.h"

namespace peelfs::cli {

struct LookOptions : VerbOptions {
  SourceOptions from;
  CoverOptions cover;
  /// How long a source may leave one question unanswered.
  std::chrono::seconds patience{60};
};

void bind_look(Parser& parser, LookOptions& options);

}  // namespace peelfs::cli
