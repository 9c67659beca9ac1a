#include "host/lock_holder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "peelfs/error.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t named_at_most = 3;

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// Opened by this path, the device's own number counts, otherwise file system and inode.
bool is_the_file(const HostFile& file, const fs::path& descriptor) {
  struct stat status {};
  if (::stat(descriptor.c_str(), &status) != 0) return false;
  if (file.is_block_device()) {
    return S_ISBLK(status.st_mode) && status.st_rdev == file.device_number();
  }
  return status.st_dev == file.device_number() && status.st_ino == file.inode();
}

/// Lines like "lock:\t1: OFDLCK  ADVISORY  READ -1 00:2a:1234 101 101" (proc(5)).
bool holds_byte(const fs::path& information, off_t byte) {
  std::ifstream lines(information);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with("lock:")) continue;
    std::istringstream words(line);
    std::string word, kind, end;
    off_t first = 0;
    words >> word >> word >> kind >> word >> word >> word >> word >> first >> end;
    if (!words || kind != "OFDLCK" || byte < first) continue;
    if (end == "EOF" || (is_number(end) && byte <= std::stoll(end))) return true;
  }
  return false;
}

bool process_holds(const fs::path& process, const HostFile& file, off_t byte) {
  const fs::path own = "/proc/" + std::to_string(::getpid());
  std::error_code failure;
  for (fs::directory_iterator at(process / "fd", failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string number = at->path().filename().string();
    if (process == own && number == std::to_string(file.descriptor())) continue;
    if (is_the_file(file, at->path()) && holds_byte(process / "fdinfo" / number, byte)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> lock_holders(const HostFile& file, off_t byte) {
  std::vector<std::string> found;
  std::error_code failure;
  for (fs::directory_iterator at("/proc", failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string pid = at->path().filename().string();
    if (!is_number(pid) || !process_holds(at->path(), file, byte)) continue;
    std::ifstream comm(at->path() / "comm");
    std::string name;
    std::getline(comm, name);
    found.push_back(printable(name) + " (pid " + pid + ")");
  }
  return found;
}

std::string lock_holder(const HostFile& file, off_t byte) {
  const std::vector<std::string> found = lock_holders(file, byte);
  if (found.empty()) return "a process that this user may not look into";
  std::string text;
  for (std::size_t i = 0; i < std::min(found.size(), named_at_most); ++i) {
    text += (i == 0 ? "" : ", ") + found[i];
  }
  if (found.size() > named_at_most) {
    text += ", and " + std::to_string(found.size() - named_at_most) + " more";
  }
  return text;
}

}  // namespace peelfs
