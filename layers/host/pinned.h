// Files of the host that are found without being opened: no FIFO's writer, no driver and no
// automount notices, and the file that is opened later is the one that was looked at.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "peelfs/host_file.h"

namespace peelfs {

/// An O_PATH descriptor and what it stands for. Thread-safe once made.
class Pinned {
 public:
  /// Follows links: for what a person named. @throws Error
  static Pinned named(const std::string& path);
  /// @param fd is taken over
  Pinned(int fd, const struct stat& status) : fd_(fd), status_(status) {}
  ~Pinned();
  Pinned(Pinned&& other) noexcept : fd_(std::exchange(other.fd_, -1)), status_(other.status_) {}
  Pinned& operator=(Pinned&&) = delete;
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  int descriptor() const noexcept { return fd_; }
  bool is_file() const noexcept { return S_ISREG(status_.st_mode); }
  bool is_block_device() const noexcept { return S_ISBLK(status_.st_mode); }
  bool is_directory() const noexcept { return S_ISDIR(status_.st_mode); }
  FileId id() const noexcept {
    return is_block_device() ? FileId{true, status_.st_rdev, 0}
                             : FileId{false, status_.st_dev, status_.st_ino};
  }
  /// "a FIFO", "a directory", "a file", ...
  std::string what_it_is() const;

 private:
  int fd_;
  struct stat status_;
};

/// Why something beneath a folder was not reached.
struct Obstacle {
  int error_number = 0;  ///< of the host; 0: it is a rule that stands in the way
  std::string why;       ///< that rule, a whole clause
  bool is_link = false;
};

/// A directory of the host, held: what its name means later does not matter. Thread-safe.
class Folder {
 public:
  /// @param path links in it are followed: a person named it @throws Error
  explicit Folder(const std::string& path);
  /// One that was found already; takes it over.
  explicit Folder(Pinned pin);

  /// Where it lies, without links.
  const std::filesystem::path& path() const noexcept { return path_; }
  int descriptor() const noexcept { return pin_.descriptor(); }

  /// Goes down from here, one component after the other, and touches nothing else: no link is
  /// followed, no mount is entered, no automount is triggered.
  /// @param relative normal, not empty, without ".."
  /// @return nullopt: see `obstacle`
  std::optional<Pinned> find(const std::filesystem::path& relative, Obstacle& obstacle) const;

 private:
  Pinned pin_;
  std::filesystem::path path_;
};

}  // namespace peelfs
