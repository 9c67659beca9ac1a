// The tree as a document in the shape of `lsblk -J`: what `peelfs ls --json` and status.json of a
// mount print, and from which `peelfs ls` makes its table, so that neither knows less than the
// other. The manual names the keys.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "peel/catalog.h"
#include "peel/writability.h"

namespace peelfs {

/// {"blockdevices": [...]}, with "children" within. Text is raw, as on the disks.
/// @param policy of a mount: which of the devices can be written
nlohmann::ordered_json tree_document(const Catalog& catalog, const WritePolicy& policy = {});

/// The document for programs: indented, valid UTF-8, and a newline at the end.
std::string document_text(const nlohmann::ordered_json& document);

}  // namespace peelfs
