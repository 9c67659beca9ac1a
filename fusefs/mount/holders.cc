#include "mount/holders.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "host/mountinfo.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHoldersNamed = 5;

/// Where a filesystem is mounted, as far as this process sees it.
struct Places {
  std::vector<std::string> mountpoints;
  std::set<std::uint64_t> other_mounts;  ///< the ids of all mounts of other filesystems
};

Places places_of(dev_t device, const std::string& mountpoint) {
  Places places{{mountpoint}, {}};
  for (const MountEntry& mount : read_mounts()) {
    if (mount.device != device) {
      places.other_mounts.insert(mount.id);
    } else if (mount.is_peelfs()) {
      places.mountpoints.push_back(mount.mountpoint);
    }
  }
  return places;
}

/// What a link of /proc points to is told by its text: asking the file itself would wait for a
/// process that hangs.
bool lies_below(const fs::path& link, const Places& places) {
  std::error_code failure;
  const std::string target = fs::read_symlink(link, failure);
  const auto is_at = [&](const std::string& place) {
    return target.starts_with(place) &&
           (target.size() == place.size() || target[place.size()] == '/');
  };
  const auto& all = places.mountpoints;
  return !failure && std::any_of(all.begin(), all.end(), is_at);
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// What a mount covers has the path of the mount: the process that serves it holds the directory
/// below. @param info of a descriptor, /proc/PID/fdinfo/N
bool is_of_another_mount(const fs::path& info, const Places& places) {
  std::ifstream file(info);
  std::string word;
  while (file >> word) {
    std::uint64_t id = 0;
    if (word == "mnt_id:" && file >> id) return places.other_mounts.contains(id);
  }
  return false;
}

/// proc(5): the state follows the name, which is in parentheses.
bool sleeps_in_the_kernel(const fs::path& process) {
  const std::string line = first_line(process / "stat");
  const std::size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") D") == 0;
}

bool maps_file_on(const fs::path& process, dev_t device) {
  if (sleeps_in_the_kernel(process)) {
    return false;  // its list of mappings may be locked for as long as that lasts
  }
  std::ifstream maps(process / "maps");
  std::array<char, 32> text{};
  // proc(5): the device is written as two hexadecimal numbers, of two digits at least.
  const int length =
      std::snprintf(text.data(), text.size(), " %02x:%02x ", major(device), minor(device));
  const std::string wanted(text.data(), static_cast<std::size_t>(std::max(length, 0)));
  std::string line;
  while (std::getline(maps, line)) {
    if (line.find(wanted) != std::string::npos) return true;
  }
  return false;
}

bool holds(const fs::path& process, dev_t device, const Places& places) {
  for (const char* const link : {"cwd", "root", "exe"}) {
    if (lies_below(process / link, places)) return true;
  }
  std::error_code failure;
  for (fs::directory_iterator at(process / "fd", failure), end; !failure && at != end;
       at.increment(failure)) {
    if (lies_below(at->path(), places) &&
        !is_of_another_mount(process / "fdinfo" / at->path().filename(), places)) {
      return true;
    }
  }
  return maps_file_on(process, device);
}

}  // namespace

std::string describe_holders(dev_t device, const std::string& mountpoint) {
  const Places places = places_of(device, mountpoint);
  std::vector<std::string> found;
  std::error_code failure;
  for (fs::directory_iterator at("/proc", failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string pid = at->path().filename().string();
    if (std::all_of(pid.begin(), pid.end(), [](unsigned char c) { return std::isdigit(c) != 0; }) &&
        holds(at->path(), device, places)) {
      found.push_back("pid " + pid + " (" + printable(first_line(at->path() / "comm")) + ")");
    }
  }
  for (fs::directory_iterator at("/sys/block", failure), end; !failure && at != end;
       at.increment(failure)) {
    if (first_line(at->path() / "loop/backing_file").starts_with(mountpoint + "/")) {
      found.push_back("/dev/" + at->path().filename().string());
    }
  }
  std::string text;
  for (std::size_t i = 0; i < std::min(found.size(), kHoldersNamed); ++i) {
    text += (i == 0 ? "" : ", ") + found[i];
  }
  if (found.size() > kHoldersNamed) {
    text += ", and " + std::to_string(found.size() - kHoldersNamed) + " more";
  }
  return text;
}

}  // namespace peelfs
