// A mount by the real program whose system calls are recorded.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>

#include "mount/mounted.h"
#include "writing/cut/log.h"

namespace peelfs::test {

/// The recorder goes into the next mount's process by the environment.
class RecordedMount {
 public:
  /// @param images the directory whose files are recorded; log a file that is made
  RecordedMount(const std::string& images, const std::string& log, const std::string& arguments) {
    write_file(log, {});
    ::setenv(record_directory, std::filesystem::canonical(images).c_str(), 1);
    ::setenv(record_log, log.c_str(), 1);
    ::setenv("LD_PRELOAD", PEELFS_RECORDER, 1);
    mount_.emplace(arguments);
    for (const char* const name : {record_directory, record_log, "LD_PRELOAD"}) ::unsetenv(name);
  }
  const Mount& operator*() const { return *mount_; }

 private:
  std::optional<Mount> mount_;
};

}  // namespace peelfs::test
