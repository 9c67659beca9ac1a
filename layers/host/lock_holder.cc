#include "host/lock_holder.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "peelfs/error.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNamedAtMost = 3;

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// A file as the kernel's lists of locks and of descriptors write it. Nothing here asks another
/// process's file itself: that could wait for a network disk for ever.
struct Described {
  std::string inode;  ///< "00:2a:1234", of a block device those of its node
  std::string path;   ///< as /proc shows it; filesystems with several numbers differ in the other
};

std::string link_text(const fs::path& link) {
  std::error_code failure;
  const fs::path target = fs::read_symlink(link, failure);
  return failure ? "" : target.string();
}

Described describe(const HostFile& file) {
  Described result;
  struct stat status {};
  if (::fstat(file.descriptor(), &status) == 0) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%02x:%02x:%ju", major(status.st_dev),
                  minor(status.st_dev), static_cast<std::uintmax_t>(status.st_ino));
    result.inode = text.data();
  }
  result.path = link_text("/proc/self/fd/" + std::to_string(file.descriptor()));
  return result;
}

/// Lines like "lock:\t1: OFDLCK  ADVISORY  READ -1 00:2a:1234 101 101" (proc(5)).
bool holds_byte(const fs::path& process, const std::string& descriptor, const Described& file,
                off_t byte) {
  std::ifstream lines(process / "fdinfo" / descriptor);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with("lock:")) continue;
    std::istringstream words(line);
    std::string word, kind, inode, end;
    off_t first = 0;
    words >> word >> word >> kind >> word >> word >> word >> inode >> first >> end;
    if (!words || kind != "OFDLCK" || byte < first) continue;
    if (end != "EOF" && (!is_number(end) || byte > std::stoll(end))) continue;
    if (inode == file.inode || link_text(process / "fd" / descriptor) == file.path) return true;
  }
  return false;
}

bool process_holds(const fs::path& process, const HostFile& file, const Described& described,
                   off_t byte) {
  const fs::path own = "/proc/" + std::to_string(::getpid());
  std::error_code failure;
  for (fs::directory_iterator at(process / "fdinfo", failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string number = at->path().filename().string();
    if (process == own && number == std::to_string(file.descriptor())) continue;
    if (holds_byte(process, number, described, byte)) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> lock_holders(const HostFile& file, off_t byte) {
  const Described described = describe(file);
  std::vector<std::string> found;
  std::error_code failure;
  for (fs::directory_iterator at("/proc", failure), end; !failure && at != end;
       at.increment(failure)) {
    const std::string pid = at->path().filename().string();
    if (!is_number(pid) || !process_holds(at->path(), file, described, byte)) continue;
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
  for (std::size_t i = 0; i < std::min(found.size(), kNamedAtMost); ++i) {
    text += (i == 0 ? "" : ", ") + found[i];
  }
  if (found.size() > kNamedAtMost) {
    text += ", and " + std::to_string(found.size() - kNamedAtMost) + " more";
  }
  return text;
}

}  // namespace peelfs
