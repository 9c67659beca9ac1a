#include "host/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

#include "host/host_call.h"
#include "peelfs/error.h"

namespace peelfs {

std::vector<std::string> names_in(const std::string& directory, const std::string& shown) {
  const std::string& name_of_it = shown.empty() ? directory : shown;
  const HostCall call(name_of_it);
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  int fd = ::open(directory.c_str(), kFlags | O_NOATIME);
  if (fd < 0 && errno == EPERM) fd = ::open(directory.c_str(), kFlags);
  if (fd < 0) throw Error::system(errno, "cannot list " + name_of_it);
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::fdopendir(fd), ::closedir);
  if (!open) {
    const int problem = errno;
    ::close(fd);
    throw Error::system(problem, "cannot list " + name_of_it);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(open.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw Error::system(errno, "cannot list " + name_of_it);
  std::sort(names.begin(), names.end());
  return names;
}

void flush_names_around(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const int fd = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw Error::system(errno, "cannot open the directory of " + path);
  const int result = ::fsync(fd);
  const int problem = errno;
  ::close(fd);
  // Some filesystems (FUSE, 9p) know no fsync of directories; there is nothing more to be had
  // there.
  if (result != 0 && problem != EINVAL && problem != ENOSYS) {
    throw Error::system(problem, "cannot make the name of " + path + " durable");
  }
}

void rename_to_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno != EINVAL) throw Error::system(errno, "cannot name a file " + to);
    // A filesystem that cannot do both at once: link() refuses a name in use, too.
    if (::link(from.c_str(), to.c_str()) != 0) {
      throw Error::system(errno, "cannot name a file " + to);
    }
    ::unlink(from.c_str());
  }
  flush_names_around(to);
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return;
    throw Error::system(errno, "cannot remove " + path);
  }
  flush_names_around(path);
}

}  // namespace peelfs
