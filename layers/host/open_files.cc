#include "host/open_files.h"

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "host/below.h"
#include "host/in_use.h"
#include "host/shown_file.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

struct OpenFiles {
  Mutex mutex;
  std::unordered_set<const HostFile*> files PEELFS_GUARDED_BY(mutex);
};

OpenFiles& open_files() {
  static auto* const here = new OpenFiles;  // files may be closed while the process ends
  return *here;
}

}  // namespace

void for_each_open_file(const std::function<void(const HostFile&)>& act) {
  OpenFiles& open = open_files();
  const MutexLock lock(open.mutex);
  for (const HostFile* const file : open.files) act(*file);
}

void note_opened(const HostFile& file) {
  hold_below(file);
  OpenFiles& open = open_files();
  const MutexLock lock(open.mutex);
  open.files.insert(&file);
  // Under the same lock as for_each_open_file(): a file is marked here, or there.
  mark_as_shown(file);
}

void note_closing(const HostFile& file) noexcept {
  release_below(file);
  OpenFiles& open = open_files();
  const MutexLock lock(open.mutex);
  open.files.erase(&file);
}

void forget_open_files() {
  OpenFiles& open = open_files();
  const MutexLock lock(open.mutex);
  open.files.clear();
}

void refuse_writing_what_is_in_use() {
  std::vector<std::pair<FileId, std::string>> written;
  for_each_open_file([&](const HostFile& file) {
    if (file.writable()) written.emplace_back(file.id(), file.path());
  });
  for (const auto& [file, path] : written) refuse_in_use(file, path);
}

}  // namespace peelfs
