#include "mount/holders.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <vector>

#include "peelfs/error.h"

namespace peelfs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t holders_named = 5;

/// AT_STATX_DONT_SYNC: what the kernel knows, without a question to a daemon that may hang.
bool lies_on(const fs::path& path, dev_t device) {
  struct statx status {};
  return ::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, 0, &status) == 0 &&
         makedev(status.stx_dev_major, status.stx_dev_minor) == device;
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool maps_file_on(const fs::path& process, dev_t device) {
  std::ifstream maps(process / "maps");
  std::array<char, 32> text{};
  // proc(5): the device is written as two hexadecimal numbers, of two digits at least.
  const int length =
      std::snprintf(text.data(), text.size(), " %02x:%02x ", major(device), minor(device));
  const std::string wanted(text.data(), static_cast<std::size_t>(std::max(length, 0)));
  std::string line;
  while (std::getline(maps, line)) {
    if (line.find(wanted) != std::string::npos) {
      return true;
    }
  }
  return false;
}

bool holds(const fs::path& process, dev_t device) {
  for (const char* const link : {"cwd", "root", "exe"}) {
    if (lies_on(process / link, device)) {
      return true;
    }
  }
  std::error_code failure;
  for (fs::directory_iterator at(process / "fd", failure), end; !failure && at != end;
       at.increment(failure)) {
    if (lies_on(at->path(), device)) {
      return true;
    }
  }
  return maps_file_on(process, device);
}

}  // namespace

std::string describe_holders(dev_t device, const std::string& mountpoint) {
  std::vector<std::string> found;
  std::error_code failure;
  for (fs::directory_iterator at("/proc", failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string pid = at->path().filename().string();
    if (std::all_of(pid.begin(), pid.end(), [](unsigned char c) { return std::isdigit(c) != 0; }) &&
        holds(at->path(), device)) {
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
  for (std::size_t i = 0; i < std::min(found.size(), holders_named); ++i) {
    text += (i == 0 ? "" : ", ") + found[i];
  }
  if (found.size() > holders_named) {
    text += ", and " + std::to_string(found.size() - holders_named) + " more";
  }
  return text;
}

}  // namespace peelfs
