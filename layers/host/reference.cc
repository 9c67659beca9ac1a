// What an image on the host may name besides itself: design section 6.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "host/image_lock.h"
#include "host/source.h"

namespace peelfs {

namespace {

/// The directory that the source lies in, held open: what its name means later does not matter.
class Root {
 public:
  explicit Root(const std::string& directory) {
    if (directory.empty()) return;
    fd_ = ::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    std::error_code ignored;
    path_ = std::filesystem::canonical(directory, ignored);
  }
  ~Root() {
    if (fd_ >= 0) ::close(fd_);
  }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  bool usable() const { return fd_ >= 0; }
  const std::filesystem::path& path() const { return path_; }

  /// @return a descriptor, or -1 with errno
  int open_beneath(const std::string& relative, bool write) const {
    open_how how{};
    how.flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOATIME;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    long fd = syscall(SYS_openat2, fd_, relative.c_str(), &how, sizeof how);
    if (fd < 0 && errno == EPERM) {
      how.flags &= ~static_cast<std::uint64_t>(O_NOATIME);
      fd = syscall(SYS_openat2, fd_, relative.c_str(), &how, sizeof how);
    }
    return static_cast<int>(fd);
  }

 private:
  int fd_ = -1;
  std::filesystem::path path_;
};

struct Rules {
  Root root;
  std::vector<std::filesystem::path> allowed;  ///< canonical
  bool relied_on = false;
  bool writable = false;  ///< the source is: so are the parts of its images
  explicit Rules(const std::string& directory) : root(directory) {}
};

bool lies_beneath(const std::filesystem::path& path, const std::filesystem::path& directory) {
  const std::filesystem::path relative = path.lexically_relative(directory);
  return !relative.empty() && *relative.begin() != ".." && !relative.is_absolute();
}

class HostReferences : public References {
 public:
  HostReferences(std::shared_ptr<const Rules> rules, std::filesystem::path subdirectory)
      : rules_(std::move(rules)), subdirectory_(std::move(subdirectory)) {}

  Found open(std::string_view name) const override { return open(name, false); }
  Found open_part(std::string_view name) const override { return open(name, rules_->writable); }

 private:
  Found open(std::string_view name, bool write) const {
    if (name.empty() || name.find('\0') != std::string_view::npos) {
      throw Error(Fault::damaged, "the image names a file without a valid name");
    }
    const std::filesystem::path named(name);
    if (auto found = open_allowed(named, write)) return std::move(*found);
    if (!rules_->root.usable()) {
      throw refused(named, "an image on a block device may name no host file");
    }
    std::filesystem::path relative = subdirectory_ / named;
    if (named.is_absolute()) {
      // qemu-img writes absolute names often; they are fine where the relative name would be.
      std::error_code ignored;
      const auto directory = std::filesystem::canonical(named.parent_path(), ignored);
      relative = (directory / named.filename()).lexically_relative(rules_->root.path());
      if (directory.empty() || relative.empty() || *relative.begin() == "..") {
        throw refused(named, "it does not lie beneath the directory of the source, " +
                                 rules_->root.path().string());
      }
    }
    const int fd = rules_->root.open_beneath(relative.string(), write);
    if (fd < 0) {
      const int error_number = errno;
      if (error_number == EXDEV || error_number == ELOOP) {
        throw refused(
            named, "it leads out of the directory of the source, " + rules_->root.path().string());
      }
      throw Error::system(error_number, "cannot open " + (rules_->root.path() / relative).string() +
                                            ", which the image names");
    }
    return accept(fd, rules_->root.path() / relative, relative.parent_path());
  }

  static Error refused(const std::filesystem::path& name, const std::string& why) {
    return Error(Fault::denied,
                 "the image names the file " + name.string() + "; refused, because " + why)
        .advice("if you trust the image, allow it with --allow-reference PATH");
  }

  /// What the person allowed by name: the file itself, or a directory above it.
  std::optional<Found> open_allowed(const std::filesystem::path& named, bool write) const {
    if (rules_->allowed.empty()) return std::nullopt;
    std::error_code failed;
    const auto path = std::filesystem::canonical(
        named.is_absolute() ? named : rules_->root.path() / subdirectory_ / named, failed);
    if (failed) return std::nullopt;
    for (const std::filesystem::path& allowed : rules_->allowed) {
      if (path != allowed && !lies_beneath(path, allowed)) continue;
      const auto file =
          HostFile::open(path, write ? HostFile::Access::read_write : HostFile::Access::read_only);
      lock(*file);
      // Its own references count from where it lies.
      auto rules = std::make_shared<Rules>(path.parent_path().string());
      rules->allowed = rules_->allowed;
      rules->relied_on = rules_->relied_on;
      rules->writable = rules_->writable;
      return Found{make_file_device(file), std::make_shared<HostReferences>(std::move(rules), ""),
                   path.string()};
    }
    return std::nullopt;
  }

  void lock(const HostFile& file) const {
    if (file.writable()) {
      lock_image(file, ImageUse::written);
    } else if (rules_->relied_on) {
      lock_image(file, ImageUse::relied_on);
    }
  }

  Found accept(int fd, const std::filesystem::path& path,
               std::filesystem::path subdirectory) const {
    struct stat status {};
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(fd);
      throw Error(Fault::denied, "the image names " + path.string() + ", which is no regular file")
          .advice("if you trust the image, allow it with --allow-reference PATH");
    }
    const auto file = HostFile::adopt(fd, path.string());
    lock(*file);
    return Found{make_file_device(file),
                 std::make_shared<HostReferences>(rules_, std::move(subdirectory)), path.string()};
  }

  const std::shared_ptr<const Rules> rules_;
  const std::filesystem::path subdirectory_;  ///< below the root: where the naming image lies
};

}  // namespace

std::shared_ptr<const References> make_host_references(const std::string& directory,
                                                       std::span<const std::string> allowed,
                                                       bool relied_on, bool writable) {
  auto rules = std::make_shared<Rules>(directory);
  rules->relied_on = relied_on;
  rules->writable = writable;
  for (const std::string& path : allowed) {
    std::error_code failed;
    const auto canonical = std::filesystem::canonical(path, failed);
    if (failed) {
      throw Error(Fault::usage, "--allow-reference " + path + ": " + failed.message());
    }
    rules->allowed.push_back(canonical);
  }
  return std::make_shared<HostReferences>(std::move(rules), "");
}

}  // namespace peelfs
