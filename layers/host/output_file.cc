#include "host/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <vector>

#include "host/file_identity.h"
#include "host/in_use.h"
#include "host/open_files.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

struct Inputs {
  Mutex mutex;
  std::set<FileId> noted PEELFS_GUARDED_BY(mutex);
};

Inputs& inputs() {
  static auto* const here = new Inputs;  // files may be noted while the process ends
  return *here;
}

/// Adds what the block devices in `found` lie on: their disks, members and backing files.
void add_what_is_below(std::set<FileId>& found) {
  const bool any =
      std::any_of(found.begin(), found.end(), [](const FileId& file) { return file.block_device; });
  if (!any) return;
  const HostView view;
  const std::vector<BlockNode> nodes = view.blocks();
  const auto known = [&](const std::string& name) {
    return std::any_of(nodes.begin(), nodes.end(), [&](const BlockNode& node) {
      return node.name == name && found.contains({true, node.device, 0});
    });
  };
  std::size_t before = 0;
  do {
    before = found.size();
    for (const BlockNode& node : nodes) {
      const bool used = found.contains({true, node.device, 0});
      if (used && !node.backing_file.empty()) {
        if (const auto file = view.backing(node)) found.insert(*file);
      }
      // A partition is read from its disk.
      const bool is_disk = std::any_of(nodes.begin(), nodes.end(), [&](const BlockNode& part) {
        return part.disk == node.name && found.contains({true, part.device, 0});
      });
      if (is_disk || std::any_of(node.holders.begin(), node.holders.end(), known)) {
        found.insert({true, node.device, 0});
      }
    }
  } while (found.size() != before);
}

/// Takes a file away again unless it is kept.
class Fresh {
 public:
  explicit Fresh(std::string path) : path_(std::move(path)) {}
  ~Fresh() {
    if (fd >= 0) ::close(fd);
    if (made) ::unlink(path_.c_str());
  }
  Fresh(const Fresh&) = delete;
  Fresh& operator=(const Fresh&) = delete;
  int fd = -1;
  bool made = false;

 private:
  const std::string path_;
};

}  // namespace

void note_input(const FileId& file) {
  Inputs& all = inputs();
  const MutexLock lock(all.mutex);
  all.noted.insert(file);
}

void note_input(const std::string& path) {
  if (const auto file = identity_of(path)) note_input(*file);
}

bool is_input(const FileId& file) {
  std::set<FileId> found;
  {
    Inputs& all = inputs();
    const MutexLock lock(all.mutex);
    found = all.noted;
  }
  for_each_open_file([&](const HostFile& open) { found.insert(open.id()); });
  if (!found.contains(file)) add_what_is_below(found);
  return found.contains(file);
}

namespace {

void refuse_input(const FileId& file, const std::string& path) {
  if (is_input(file)) {
    throw Error(Fault::usage, path + " is a file that is read from here")
        .found("a source, a part of one, an overlay or a key")
        .advice("nothing was changed; name another file to write to");
  }
  refuse_in_use(file, path);
}

}  // namespace

void refuse_as_output(int descriptor, const std::string& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw Error::system(errno, "cannot examine " + path);
  if (!S_ISREG(status.st_mode)) return;
  if (const auto file = identity_of(descriptor)) refuse_input(*file, path);
}

void refuse_replacing(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    throw Error::system(errno, "cannot examine " + path);
  }
  if (const auto file = identity_of(path)) refuse_input(*file, path);
  if (S_ISREG(status.st_mode)) return;
  throw Error(Fault::usage, path + " is no regular file, so it is not replaced by one")
      .found(S_ISLNK(status.st_mode)    ? "a symbolic link"
             : S_ISDIR(status.st_mode)  ? "a directory"
             : S_ISFIFO(status.st_mode) ? "a FIFO"
                                        : "a device or a socket")
      .advice("name another file");
}

void replace_file(const std::string& path, std::string_view text) {
  constexpr int kMostTries = 1000;
  for (int i = 0;; ++i) {
    const std::string name =
        path + ".new-" + std::to_string(::getpid()) + (i == 0 ? "" : "-" + std::to_string(i));
    Fresh fresh(name);
    fresh.fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fresh.fd < 0 && errno == EEXIST && i < kMostTries) continue;
    const auto check = [&](bool good, const char* step) {
      if (!good) throw Error::system(errno, std::string("cannot ") + step + " " + name);
    };
    check(fresh.fd >= 0, "create");
    fresh.made = true;
    while (!text.empty()) {
      const ssize_t put = ::write(fresh.fd, text.data(), text.size());
      if (put < 0 && errno == EINTR) continue;
      check(put >= 0, "write");
      text.remove_prefix(static_cast<std::size_t>(put));
    }
    check(::fsync(fresh.fd) == 0, "flush");
    const int fd = fresh.fd;
    fresh.fd = -1;
    check(::close(fd) == 0, "close");
    check(::rename(name.c_str(), path.c_str()) == 0, "rename");
    fresh.made = false;
    return;
  }
}

}  // namespace peelfs
