// One call of a layer's open. The thread that scans prepares it and takes up its outcome; any
// thread may do it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "peelfs/trouble.h"

namespace peelfs {

struct OpenCall {
  const Layer* layer = nullptr;
  std::vector<std::uint64_t> ids;  ///< of the members, in their order
  std::vector<Member> members;
  const KeyRing* keys = nullptr;
  const Directive* directive = nullptr;
  unsigned image_depth = 0;

  Opened opened;                   ///< empty when it failed
  std::optional<Trouble> failure;  ///< what it threw
  bool cancelled = false;          ///< the run was, before it ended: it may have left things out
};

}  // namespace peelfs
