#include "fs/references.h"

#include <algorithm>
#include <utility>

#include "peelfs/error.h"

namespace peelfs::fs {

namespace {

/// Of one image. A directory is as long as a disk likes.
constexpr std::size_t kMostSiblings = 65'536;

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

  std::vector<std::string> siblings(std::string_view begin) const override {
    std::vector<std::string> found;
    if (begin.empty() || begin.find('/') != std::string_view::npos) return found;
    const auto reader = filesystem_->reader();
    Filesystem::Allowance allowance;
    const auto damage =
        reader->list(reader->stat(directory_.back()), allowance, [&](const auto& entry) {
          const bool may_be =
              entry.type == Filesystem::Type::regular || entry.type == Filesystem::Type::unknown;
          if (may_be && entry.name.starts_with(begin)) found.emplace_back(entry.name);
          return found.size() < kMostSiblings;
        });
    if (damage) throw Error(*damage);
    if (found.size() == kMostSiblings || allowance.ended()) {
      throw Error(Fault::unsupported, "the directory of the image is too large to be listed")
          .found("more than " + std::to_string(found.size()) + " names that begin like it");
    }
    std::sort(found.begin(), found.end());
    return found;
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
