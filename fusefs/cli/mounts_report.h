// What `peelfs ls` says without a source: the mounts of peelfs on this host, and what was kept of
// changes that were tried.
#pragma once

#include <chrono>
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "host/mountinfo.h"

namespace peelfs::cli {

/// {"mounts": [...], "kept": [...]}; the manual names the keys. No mount is touched: each process
/// is asked over its control socket, all at once, so that one that hangs costs `patience`, and no
/// more. Of a mount of another user there is what the kernel tells.
/// @param places see kept_overlays()
nlohmann::ordered_json mounts_document(std::chrono::seconds patience,
                                       std::vector<std::string> places = {});

/// The document for people.
/// @param width of the terminal; 0: any
/// @param bytes sizes in bytes
std::string mounts_text(const nlohmann::ordered_json& document, std::size_t width, bool bytes,
                        bool colors);

}  // namespace peelfs::cli
