#include "ext/references.h"

#include "ext/directory.h"
#include "ext/file_device.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

class FilesystemReferences : public References {
 public:
  FilesystemReferences(std::shared_ptr<const Volume> volume, std::vector<std::uint32_t> directory)
      : volume_(std::move(volume)), directory_(std::move(directory)) {}

  Found open(std::string_view name) const override {
    Library library(volume_);  // handles serve one thread at a time, so each call has its own
    Located located = find(library, name);
    Found result;
    result.name = located.name;
    result.device = make_file(library, located.inode, "file " + located.name);
    result.references = make_references(volume_, std::move(located.directory));
    return result;
  }

 private:
  Located find(Library& library, std::string_view name) const {
    const std::string& mounted = volume_->super().last_mounted;
    if (mounted.size() > 1 && name.starts_with(mounted) &&
        name.substr(mounted.size()).starts_with('/')) {
      try {
        return locate(library, directory_, name.substr(mounted.size()));
      } catch (const Error& error) {
        if (error.fault() != Fault::missing) throw;
      }
    }
    return locate(library, directory_, name);
  }

  const std::shared_ptr<const Volume> volume_;
  const std::vector<std::uint32_t> directory_;
};

}  // namespace

std::shared_ptr<const References> make_references(std::shared_ptr<const Volume> volume,
                                                  std::vector<std::uint32_t> directory) {
  return std::make_shared<FilesystemReferences>(std::move(volume), std::move(directory));
}

}  // namespace peelfs::ext
