#include "overlay/cover.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "overlay/disks.h"
#include "overlay/own_file.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::overlay {

namespace {

namespace fs = std::filesystem;

/// A directory of our own that is empty again when this goes.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    const char* const place = std::getenv("TMPDIR");
    // Not /tmp, which often is memory: an overlay may grow as large as its source.
    path_ = std::string(place != nullptr && *place != '\0' ? place : "/var/tmp") +
            "/peelfs-overlay-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) {
      throw Error::system(errno, "cannot make a directory for the temporary overlay: " + path_)
          .advice("set TMPDIR to a directory with room, or name one with --overlay DIR");
    }
  }
  ~ScratchDirectory() { ::rmdir(path_.c_str()); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void require_directory(const Request& request) {
  const std::string& path = request.directory;
  if (request.kind == Request::Kind::persistent && ::mkdir(path.c_str(), 0700) != 0 &&
      errno != EEXIST) {
    const int problem = errno;
    Error error = Error::system(problem, "cannot make the directory for overlays, " + path);
    if (problem != ENOENT) throw error;
    throw std::move(error).advice("what it lies in must be there; make both with: " +
                                  shell_line({"mkdir", "-p", path}));
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error::system(errno, "there is no directory of overlays " + path)
        .advice("a mount with --overlay " + shell_line({path}) + " makes it");
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(Fault::usage, path + " is no directory, and overlays lie in one")
        .with_errno(ENOTDIR);
  }
}

void put_over(Source& source, const OpenedOverlay& overlay, std::vector<std::string>& remarks) {
  source.overlay = overlay.device;
  source.overlay_unpacked = overlay.base.unpacked();
  source.covered = overlay.base.disk;
  if (!overlay.remark.empty()) remarks.push_back(overlay.remark);
}

/// Takes back what was made if not everything could be.
class Made {
 public:
  ~Made() {
    for (const std::string& path : paths_) ::unlink(path.c_str());
  }
  void add(const std::string& path) { paths_.push_back(path); }
  void keep() { paths_.clear(); }

 private:
  std::vector<std::string> paths_;
};

/// Tells the person that overlays which belong to these are left out: a volume group or a
/// filesystem would be seen only in part.
void remark_left_out(const std::string& directory, const std::vector<std::string>& paths,
                     std::vector<std::string>& remarks) {
  std::vector<LeftOut> others = left_out(directory, paths);
  std::erase_if(others, [](const LeftOut& one) { return !one.changed; });
  if (others.empty()) return;
  remarks.push_back("only a part of what was written together is here: " + describe(others) +
                    " left out; name all sources");
}

void cover_for_writing(std::vector<Source>& sources, const std::string& directory,
                       const Request& request, std::vector<std::string>& remarks,
                       std::vector<OpenedOverlay>& opened) {
  const std::vector<std::string> paths = overlay_paths(sources, directory);
  require_own(directory, paths, request.accept_shared);
  refuse_common_bytes(sources,
                      "name only the one that is to be written; to look at both, mount them "
                      "read-only, without an overlay");
  Made made;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    Base base = open_base(sources[i]);
    if (!overlay_exists(paths[i])) {
      create_overlay(paths[i], sources[i], base);
      made.add(paths[i]);
    }
    opened.push_back(
        open_overlay(paths[i], sources[i], std::move(base), Mode::write, request.accept_source));
    put_over(sources[i], opened.back(), remarks);
  }
  // The descriptors of a temporary overlay keep it until they close, however that comes.
  if (request.kind != Request::Kind::persistent) return;
  remark_left_out(directory, paths, remarks);
  made.keep();
}

void cover_for_reading(std::vector<Source>& sources, const Request& request,
                       std::vector<std::string>& remarks) {
  const std::vector<std::string> paths = overlay_paths(sources, request.directory);
  require_own(request.directory, paths, request.accept_shared);
  std::vector<std::string> found;
  std::vector<std::string> bare;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (!overlay_exists(paths[i])) {
      bare.push_back(sources[i].path);
      continue;
    }
    found.push_back(paths[i]);
    put_over(sources[i],
             open_overlay(paths[i], sources[i], open_base(sources[i]), Mode::read,
                          request.accept_source),
             remarks);
  }
  if (found.empty()) {
    throw Error(Fault::missing, "no overlay of these sources is in " + request.directory)
        .expected(paths.front())
        .advice("name the sources as they were named when it was made");
  }
  for (const std::string& path : bare) {
    remarks.push_back(path + " has no overlay in " + request.directory + ": it is taken as it is");
  }
  remark_left_out(request.directory, found, remarks);
}

}  // namespace

std::vector<std::string> overlay_paths(const std::vector<Source>& sources,
                                       const std::string& directory) {
  std::vector<std::string> paths;
  std::map<std::string, const Source*> taken;
  for (const Source& source : sources) {
    paths.push_back(overlay_path(directory, source));
    const auto [other, first] = taken.emplace(paths.back(), &source);
    if (!first) {
      throw Error(Fault::usage, "two sources would have the same overlay, " + paths.back())
          .found(other->second->path + " and " + source.path)
          .advice("give one another name: NAME=PATH");
    }
  }
  return paths;
}

std::vector<std::string> cover(std::vector<Source>& sources, const Request& request,
                               std::vector<OpenedOverlay>* opened) {
  std::vector<std::string> remarks;
  std::vector<OpenedOverlay> written;
  switch (request.kind) {
    case Request::Kind::none:
      break;
    case Request::Kind::persistent:
      require_directory(request);
      cover_for_writing(sources, request.directory, request, remarks, written);
      break;
    case Request::Kind::temporary: {
      const ScratchDirectory scratch;
      cover_for_writing(sources, scratch.path(), request, remarks, written);
      break;
    }
    case Request::Kind::view:
      require_directory(request);
      cover_for_reading(sources, request, remarks);
      break;
  }
  if (opened != nullptr) *opened = std::move(written);
  return remarks;
}

std::vector<std::string> overlays_in(const std::string& directory) {
  std::error_code failed;
  std::vector<std::string> found;
  for (fs::directory_iterator at(directory, failed), end; !failed && at != end;
       at.increment(failed)) {
    const std::string path = at->path().string();
    std::error_code unknown;
    if (path.ends_with(".qcow2") && at->is_regular_file(unknown) && !at->is_symlink(unknown) &&
        is_overlay(path)) {
      found.push_back(path);
    }
  }
  if (failed) throw Error::system(failed.value(), "cannot look into " + directory);
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace peelfs::overlay
