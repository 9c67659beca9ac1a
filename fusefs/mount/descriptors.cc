#include "mount/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

namespace peelfs {
namespace {

std::set<int>& inherited() {
  static auto* const set = new std::set<int>;  // needed while the process ends
  return *set;
}

}  // namespace

std::vector<int> open_descriptors() {
  std::vector<int> found;
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return found;
  while (const dirent* const entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    if (descriptor > STDERR_FILENO && descriptor != ::dirfd(folder)) found.push_back(descriptor);
  }
  ::closedir(folder);
  return found;
}

std::vector<std::string> opened_paths() {
  std::vector<std::string> found;
  for (const int descriptor : open_descriptors()) {
    std::error_code error;
    std::string path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error);
    if (path.starts_with('/') && !path.ends_with(" (deleted)")) found.push_back(std::move(path));
  }
  return found;
}

void note_inherited_descriptors() {
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  for (const int descriptor : open_descriptors()) {
    inherited().insert(descriptor);
    ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);  // for kernels before 5.11
  }
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
