#include "support/fixtures.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/paths.h"
#include "support/support.h"

namespace peelfs::test {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string own_folder() {
  return source_folder() + "/tests/images";
}

bool is_set(const fs::path& folder) {
  return fs::exists(folder / "manifest.json");
}

const json& own_manifest() {
  static const json document = [] {
    std::ifstream in(own_folder() + "/manifest.json");
    return json::parse(in);
  }();
  return document;
}

/// @return the path of the packed image; empty when no folder has it
std::string packed_image(const std::string& name, std::string* folder) {
  for (const std::string& candidate : fixture_folders()) {
    const std::string path = candidate + "/images/" + name + ".raw.zst";
    if (!fs::exists(path)) continue;
    *folder = candidate;
    return path;
  }
  return "";
}

std::string cache_folder() {
  const char* base = std::getenv("TMPDIR");
  const std::string cache =
      std::string(base != nullptr ? base : "/tmp") + "/peelfs-fixtures-" + std::to_string(getuid());
  fs::create_directories(cache);
  return cache;
}

/// Unpacks into the cache unless that was done. Test programs run side by side: each unpacks under
/// a name of its own, then renames.
std::string unpack(const std::string& packed, const std::string& name, const std::string& options) {
  const std::string unpacked = cache_folder() + "/" + name;
  if (fs::exists(unpacked) && fs::last_write_time(unpacked) >= fs::last_write_time(packed)) {
    return unpacked;
  }
  const std::string mine = unpacked + "." + std::to_string(getpid());
  must_run("zstd -q -d -f --long=27 --sparse " + options + "'" + packed + "' -o '" + mine +
           "' && touch '" + mine + "'");
  fs::rename(mine, unpacked);
  return unpacked;
}

}  // namespace

const std::vector<std::string>& fixture_folders() {
  static const std::vector<std::string> folders = [] {
    std::vector<std::string> found{own_folder()};
    const char* named = std::getenv("PEELFS_FIXTURES");
    std::istringstream list(named != nullptr ? named : "");
    for (std::string item; std::getline(list, item, ':');) {
      if (item.empty()) continue;
      const fs::path folder = fs::absolute(item);
      if (is_set(folder)) {
        found.push_back(folder);
        continue;
      }
      std::vector<std::string> inside;
      for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.is_directory() && is_set(entry.path())) inside.push_back(entry.path());
      }
      if (inside.empty()) throw std::runtime_error("PEELFS_FIXTURES: no manifest.json in " + item);
      std::sort(inside.begin(), inside.end());
      found.insert(found.end(), inside.begin(), inside.end());
    }
    return found;
  }();
  return folders;
}

const json& fixture_manifest() {
  return own_manifest().at("fixtures");
}

const std::vector<std::string>& left_out_images() {
  static const auto names = own_manifest().at("left_out").get<std::vector<std::string>>();
  return names;
}

std::string fixture_image(const std::string& name) {
  std::string folder;
  const std::string packed = packed_image(name, &folder);
  if (folder != own_folder()) {
    const auto& names = left_out_images();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      ADD_FAILURE() << "a bare clone has no image " << name
                    << ": put it into tests/images, or list it as left_out in its manifest";
    }
  }
  if (packed.empty()) return "";
  const std::string dictionary = folder + "/common.zst";
  if (!fs::exists(dictionary)) return unpack(packed, name + ".raw", "");
  // Another checkout, which may have another dictionary, may share the cache.
  const std::string common =
      unpack(dictionary, "common-" + std::to_string(fs::file_size(dictionary)), "");
  return unpack(packed, name + ".raw", "-D '" + common + "' ");
}

std::string fixture_key(const std::string& name) {
  for (const std::string& folder : fixture_folders()) {
    if (fs::exists(folder + "/" + name)) return folder + "/" + name;
  }
  ADD_FAILURE() << "no fixture has the key file " << name;
  return "";
}

}  // namespace peelfs::test
