#include "mount/status.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "peel/document.h"

namespace peelfs {
namespace {

/// As the kernel knows it: the person's own path may be relative to another directory. The file is
/// not asked for anything: its host may hang.
std::string absolute_path(const HostFile& file) {
  std::error_code failure;
  const auto path =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file.descriptor()), failure);
  return failure ? file.path() : path.string();
}

const char* where_writes_go(const Peeling& peeling, const WritePolicy& policy) {
  if (!policy.writable) return "nowhere";
  if (!peeling.overlay_files().empty()) return "overlay";
  for (const Source& source : peeling.sources()) {
    if (source.overlay != nullptr) return "overlay-temp";
  }
  return "sources";
}

}  // namespace

std::string status_text(const Peeling& peeling, const WritePolicy& policy, bool with_tree) {
  nlohmann::ordered_json document = nlohmann::ordered_json::object();
  if (with_tree) document = tree_document(*peeling.catalog(), policy);
  document["pid"] = ::getpid();
  document["sources"] = nlohmann::ordered_json::array();
  for (const Source& source : peeling.sources()) {
    document["sources"].push_back(absolute_path(*source.file));
  }
  document["writes"] = where_writes_go(peeling, policy);
  document["overlays"] = nlohmann::ordered_json::array();
  for (const auto& file : peeling.overlay_files()) {
    document["overlays"].push_back(absolute_path(*file));
  }
  return document_text(document);
}

}  // namespace peelfs
