#include "cli/kept_overlays.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "host/image_lock.h"
#include "overlay/cover.h"
#include "overlay/overlay.h"
#include "overlay/own_file.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "peelfs/storage.h"

namespace peelfs::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBlock = 512;  // of st_blocks

/// As jobs::make_folder() calls those of `try` and of `fsck --repair`.
bool is_kept_folder(const std::string& name) {
  constexpr std::size_t kRandom = 6;
  return std::ranges::any_of(std::array<std::string_view, 2>{"peelfs-try-", "peelfs-repair-"},
                             [&](std::string_view begin) {
                               return name.starts_with(begin) &&
                                      name.size() == begin.size() + kRandom;
                             });
}

std::vector<std::string> usual_places() {
  std::vector<std::string> places;
  const char* const place = std::getenv("TMPDIR");
  if (place != nullptr && *place != '\0') places.emplace_back(place);
  places.emplace_back("/var/tmp");
  places.emplace_back("/tmp");
  places.emplace_back("/var/lib/peelfs");  // of the service
  return places;
}

KeptOverlay look_into(const std::string& path) {
  KeptOverlay one;
  one.path = path;
  one.bytes = allocated_bytes(path);
  try {
    one.holds_changes = overlay::holds_changes(path);
    const auto file = overlay::open_overlay_file(path);
    one.holder = image_holder(*file);
    one.source = overlay::source_of(*make_storage_device(file));
  } catch (const Error& error) {
    one.why_not = error.what();
  }
  return one;
}

/// @return nullopt: there is nothing kept in it
std::optional<KeptFolder> look_at(const fs::path& folder) {
  struct stat status {};
  if (::lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return std::nullopt;
  KeptFolder kept;
  kept.path = folder.string();
  time_t newest = status.st_mtime;
  const bool own = status.st_uid == ::geteuid() || ::geteuid() == 0;
  if (!own) {
    kept.why_not = "it belongs to another user";
  } else {
    try {
      for (const std::string& path : overlay::overlays_in(kept.path)) {
        if (::lstat(path.c_str(), &status) == 0) newest = std::max(newest, status.st_mtime);
        kept.overlays.push_back(look_into(path));
      }
    } catch (const Error& error) {
      kept.why_not = error.what();
    }
    if (kept.why_not.empty() && kept.overlays.empty()) return std::nullopt;
  }
  kept.age = std::chrono::seconds(std::max<time_t>(::time(nullptr) - newest, 0));
  return kept;
}

}  // namespace

std::uint64_t KeptFolder::bytes() const {
  std::uint64_t sum = 0;
  for (const KeptOverlay& one : overlays) sum += one.bytes;
  return sum;
}

bool KeptFolder::is_droppable() const {
  return why_not.empty() &&
         std::ranges::all_of(overlays, &std::string::empty, &KeptOverlay::holder);
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.st_blocks) * kBlock;
}

std::vector<KeptFolder> kept_overlays(std::vector<std::string> places) {
  if (places.empty()) places = usual_places();
  std::vector<KeptFolder> found;
  std::set<std::pair<dev_t, ino_t>> seen;  // $TMPDIR may be /tmp
  for (const std::string& place : places) {
    struct stat status {};
    if (::stat(place.c_str(), &status) != 0) continue;
    if (!seen.emplace(status.st_dev, status.st_ino).second) continue;
    std::error_code failure;
    for (fs::directory_iterator at(place, failure), end; !failure && at != end;
         at.increment(failure)) {
      if (!is_kept_folder(at->path().filename().string())) continue;
      if (auto kept = look_at(at->path())) found.push_back(std::move(*kept));
    }
  }
  std::ranges::stable_sort(found, std::ranges::greater(), &KeptFolder::age);
  return found;
}

}  // namespace peelfs::cli
