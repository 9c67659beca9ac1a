#include "fs/references.h"

#include <utility>

#include "peelfs/error.h"

namespace peelfs::fs {

namespace {

class FilesystemReferences : public References {
 public:
  FilesystemReferences(std::shared_ptr<const Filesystem> filesystem,
                       std::vector<Filesystem::Id> directory)
      : filesystem_(std::move(filesystem)), directory_(std::move(directory)) {}

  Found open(std::string_view name) const override {
    const auto reader = filesystem_->reader();  // it serves one thread, so each call has its own
    Located located = find(*reader, name);
    Found result;
    result.name = located.name;
    result.device = reader->file(located.file, "file " + located.name);
    result.references = make_references(filesystem_, std::move(located.directory));
    return result;
  }

 private:
  Located find(Filesystem::Reader& reader, std::string_view name) const {
    const std::string mounted = filesystem_->last_mounted();
    if (mounted.size() > 1 && name.starts_with(mounted) &&
        name.substr(mounted.size()).starts_with('/')) {
      try {
        return locate(reader, directory_, name.substr(mounted.size()));
      } catch (const Error& error) {
        if (error.fault() != Fault::missing) throw;
      }
    }
    return locate(reader, directory_, name);
  }

  const std::shared_ptr<const Filesystem> filesystem_;
  const std::vector<Filesystem::Id> directory_;
};

}  // namespace

std::shared_ptr<const References> make_references(std::shared_ptr<const Filesystem> filesystem,
                                                  std::vector<Filesystem::Id> directory) {
  return std::make_shared<FilesystemReferences>(std::move(filesystem), std::move(directory));
}

}  // namespace peelfs::fs
