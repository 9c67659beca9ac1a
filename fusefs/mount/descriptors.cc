#include "mount/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

namespace peelfs {
namespace {

std::set<int>& inherited() {
  static auto* const set = new std::set<int>;  // needed while the process ends
  return *set;
}

}  // namespace

void note_inherited_descriptors() {
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) {
    ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    return;
  }
  while (const dirent* const entry = ::readdir(folder)) {
    const int descriptor = std::atoi(entry->d_name);
    if (descriptor > STDERR_FILENO && descriptor != ::dirfd(folder)) {
      inherited().insert(descriptor);
      ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    }
  }
  ::closedir(folder);
}

bool is_inherited(int descriptor) noexcept {
  return inherited().contains(descriptor);
}

void close_inherited(int descriptor) noexcept {
  if (descriptor <= STDERR_FILENO) return;
  inherited().erase(descriptor);
  ::close(descriptor);
}

void close_all_inherited() noexcept {
  for (const int descriptor : inherited()) ::close(descriptor);
  inherited().clear();
}

}  // namespace peelfs
