#include "cli/mounted.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "cli/arguments.h"
#include "mount/mountinfo.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

bool same_file(const std::string& one, const std::string& other) {
  struct stat a {};
  struct stat b {};
  if (::stat(one.c_str(), &a) != 0 || ::stat(other.c_str(), &b) != 0) return false;
  if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode)) return a.st_rdev == b.st_rdev;
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool shows(const MountEntry& mount, const std::string& path) {
  for (const std::string& source : split_spec(mount.source)) {
    try {
      if (same_file(parse_source(source).path, path)) return true;
    } catch (const Error&) {
      continue;  // the first column of a mount may be any text (-o fsname)
    }
  }
  return false;
}

}  // namespace

void refuse_mounted(const std::vector<SourceSpec>& sources) {
  for (const MountEntry& mount : peelfs_mounts()) {
    for (const SourceSpec& source : sources) {
      if (!shows(mount, source.path)) continue;
      throw Error(Fault::denied, source.path + " is mounted at " + mount.mountpoint)
          .advice(shell_line({"peelfs", "umount", mount.mountpoint}))
          .with_errno(EBUSY);
    }
  }
}

void refuse_twice(const std::vector<SourceSpec>& sources) {
  for (auto one = sources.begin(); one != sources.end(); ++one) {
    for (auto other = sources.begin(); other != one; ++other) {
      if (!same_file(one->path, other->path)) continue;
      throw Error(Fault::usage, one->path + " is the same file as " + other->path)
          .advice("name it once: what is to be written is opened once");
    }
  }
}

std::vector<std::string> paths_of(const std::vector<SourceSpec>& sources) {
  std::vector<std::string> paths;
  for (const SourceSpec& source : sources) paths.push_back(source.path);
  return paths;
}

void naming_mounts(const std::vector<std::string>& sources, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.error_number() != EBUSY) throw;
    std::string mounts;
    for (const MountEntry& mount : peelfs_mounts()) {
      if (std::none_of(sources.begin(), sources.end(),
                       [&](const std::string& source) { return shows(mount, source); })) {
        continue;
      }
      mounts += (mounts.empty() ? "" : ", ") + mount.mountpoint + " (" + mount.source + ")";
    }
    if (mounts.empty()) throw;
    throw Error(error.fault(), error.what()).found("mounted at " + mounts).with_errno(EBUSY);
  }
}

}  // namespace peelfs::cli
