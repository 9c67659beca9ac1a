// What a mount says of itself when it is asked over the control socket.
#pragma once

#include <string>

#include "peel/peeling.h"
#include "peel/writability.h"

namespace peelfs {

/// A JSON document: "pid"; "sources", the paths as the person wrote them, made absolute; "writes",
/// where writes go: "nowhere", "overlay", "overlay-temp" or "sources"; "overlays", the paths of
/// those that stay; and, if wanted, all that tree_document() has. Reads no source. Thread-safe.
std::string status_text(const Peeling& peeling, const WritePolicy& policy, bool with_tree);

}  // namespace peelfs
