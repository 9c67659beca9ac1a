#include "cli/out_of_reach.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/text.h"
#include "host/source.h"
#include "mount/process.h"

namespace peelfs::cli {

world::HostFiles protect_originals(const TryOptions& options, world::Plan& plan) {
  world::HostFiles opened = world::opened_host_files();
  world::add_what_mounts_show(opened);
  plan.mounted_from_originals = world::filesystems_on(opened);
  plan.originals = opened.files;
  for (const world::Original& original : plan.originals) {
    if (!original.linked || options.quiet) continue;
    warn(shown(original.path) +
         " has other names (hard links), so the command can write no file on its filesystem");
  }
  return opened;
}

void withhold(const TryOptions& options, const std::set<int>& found) {
  std::vector<std::string> said;
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : found) {
    std::error_code ignored;
    const std::string path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored);
    said.push_back("the command gets /dev/null as its descriptor " + std::to_string(fd) + ", not " +
                   shown(path) + ", through which a source could be written");
    // A source may be named as /dev/stdin, and is opened again.
    if (fd != STDIN_FILENO && null) ::dup2(null.get(), fd);
  }
  for (const std::string& text : said) {
    if (!options.quiet) warn(text);
  }
}

world::HostFiles named_files(const TryOptions& options) {
  world::HostFiles named;
  for (const std::string& source : options.from.sources) {
    const std::string path = parse_source(source).path;
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode)) {
      named.devices.insert(status.st_rdev);
    }
    for (world::Original& file : world::original_at(path)) named.files.push_back(std::move(file));
  }
  return named;
}

std::set<int> key_descriptors(const TryOptions& options) {
  std::set<int> found;
  for (const KeyOrigin& origin : options.from.keys.origins) {
    struct stat key {};
    const bool file = origin.kind == KeyOrigin::Kind::file;
    const bool known = file && ::stat(origin.place.c_str(), &key) == 0;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
      struct stat status {};
      if (::isatty(fd) != 0 || ::fstat(fd, &status) != 0) continue;
      const bool same = known && key.st_dev == status.st_dev && key.st_ino == status.st_ino;
      const bool named = file ? origin.place == "-" && fd == STDIN_FILENO : origin.descriptor == fd;
      if (same || named) found.insert(fd);
    }
  }
  return found;
}

}  // namespace peelfs::cli
