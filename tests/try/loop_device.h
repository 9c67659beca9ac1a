// Images as block devices of the host, for tests that need root.
#pragma once

#include <unistd.h>

#include <string>

#include "support/support.h"

namespace peelfs::test {

/// A loop device on an image, which every user may write while the test runs.
class LoopDevice {
 public:
  /// @param options of losetup
  explicit LoopDevice(const std::string& image, const std::string& options = "") {
    if (::geteuid() != 0) return;
    const CommandResult made =
        run("PATH=$PATH:/sbin:/usr/sbin losetup --show " + options + " -f " + image);
    if (made.exit_code != 0) return;
    path_ = made.output.substr(0, made.output.find('\n'));
    run("chmod 666 " + path_);
  }
  ~LoopDevice() {
    if (path_.empty()) return;
    run("chmod 600 " + path_ + "; PATH=$PATH:/sbin:/usr/sbin losetup -d " + path_);
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  /// "/dev/loop3"; empty: there is none here
  const std::string& path() const { return path_; }
  explicit operator bool() const { return !path_.empty(); }

 private:
  std::string path_;
};

}  // namespace peelfs::test
