// The files that the person named. Images may use these besides the files that lie beside them.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/pinned.h"
#include "peelfs/formats.h"
#include "peelfs/host_file.h"
#include "peelfs/mutex.h"

namespace peelfs {

/// The paths of a place that a person named, as far as they are known without a look at the names
/// in images: as typed, without links in its directory, without any links.
class PersonsPath {
 public:
  explicit PersonsPath(const std::string& typed);
  const std::vector<std::filesystem::path>& forms() const noexcept { return forms_; }
  bool is(const std::filesystem::path& path) const;
  /// Where its directory lies, without links.
  const std::filesystem::path& directory() const noexcept { return directory_; }

 private:
  std::vector<std::filesystem::path> forms_;
  std::filesystem::path directory_;
};

/// The sources of one run and what --allow-reference names. Shared by the references of all images
/// of the run; sources are added while they are opened, before any image is. Thread-safe.
class Consent {
 public:
  /// @param allowed paths of --allow-reference, which are held from now on
  /// @param formats by which what an image names is known to be one; must outlive this
  /// @throws Error(Fault::usage) for one that is not there
  Consent(std::span<const std::string> allowed, const Formats& formats);

  /// @param itself the person named the file, and not only the directory that it lies in
  void add_source(const std::string& path, std::shared_ptr<const HostFile> file, bool itself);

  struct AllowedFile {
    PersonsPath path;
    Pinned pin;
  };
  struct AllowedFolder {
    PersonsPath path;
    Folder folder;
  };
  struct NamedSource {
    PersonsPath path;
    std::shared_ptr<const HostFile> file;
    bool itself = false;
  };

  const Formats& formats() const noexcept { return formats_; }
  std::span<const AllowedFile> files() const noexcept { return files_; }
  std::span<const AllowedFolder> folders() const noexcept { return folders_; }
  /// @return null: none
  const NamedSource* source(const std::filesystem::path& path) const;
  const NamedSource* source(const FileId& id) const;
  bool allows(const FileId& id) const;

  /// Parts that are open for writing. A part is opened once only: the locks of a second open file
  /// description would conflict with those of the first.
  std::shared_ptr<const HostFile> written_part(const FileId& id) const;
  void keep_written_part(const std::shared_ptr<const HostFile>& file) const;

 private:
  const Formats& formats_;
  std::vector<AllowedFile> files_;
  std::vector<AllowedFolder> folders_;
  std::vector<NamedSource> sources_;
  mutable Mutex mutex_;
  mutable std::map<FileId, std::weak_ptr<const HostFile>> written_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace peelfs
