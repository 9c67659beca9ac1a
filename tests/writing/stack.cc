#include "writing/stack.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "overlay/cover.h"
#include "peelfs/formats.h"
#include "peelfs/host_file.h"
#include "scan/scanner.h"

namespace peelfs::test {

std::vector<Stack> stacks() {
  std::vector<Stack> list;
  add_plain_stacks(list);
  add_qcow2_stacks(list);
  add_deep_stacks(list);
  add_nested_stacks(list);
  return list;
}

struct OpenDisk::Session {
  std::shared_ptr<KeyRing> keys = std::make_shared<KeyRing>();
  std::unique_ptr<Scanner> scanner;
};

namespace {

/// What images name, opened as the images are: an external data file is written, too. That nothing
/// else is, the tests check by digests.
class Beside : public References {
 public:
  Beside(std::filesystem::path directory, HostFile::Access access)
      : directory_(std::move(directory)), access_(access) {}
  Found open(std::string_view name) const override {
    const std::filesystem::path path = directory_ / name;
    return {make_storage_device(HostFile::open(path.string(), access_)),
            std::make_shared<Beside>(path.parent_path(), access_), path.string()};
  }

 private:
  std::filesystem::path directory_;
  HostFile::Access access_;
};

/// As open_sources() does it, but for writing.
Source source_of(const std::string& path, bool writing) {
  const auto access = writing ? HostFile::Access::read_write : HostFile::Access::read_only;
  Source source;
  source.name = std::filesystem::path(path).filename().string();
  source.stem = standard_formats().strip_image_suffix(source.name);
  source.path = path;
  source.file = HostFile::open(path, access);
  source.references = std::make_shared<Beside>(std::filesystem::path(path).parent_path(), access);
  return source;
}

/// The sources of a disk, with their overlays, which are made if there are none.
std::vector<Source> sources_of(const Disk& disk, bool writing) {
  std::vector<Source> sources;
  for (const std::string& path : disk.sources) {
    sources.push_back(source_of(path, writing && disk.overlay.empty()));
  }
  if (!disk.overlay.empty()) {
    using Kind = overlay::Request::Kind;
    overlay::cover(sources, {writing ? Kind::persistent : Kind::view, disk.overlay, disk.copied});
  }
  return sources;
}

/// @return null when there is none. Troubles of what is inside do not matter: the test writes
///   noise.
DevicePtr find_device(const Tree& tree, const std::string& name) {
  for (const auto& [id, node] : tree.nodes) {
    if (!node->hidden && node->name == name) return node->device;
  }
  return nullptr;
}

std::string what_there_is(const Tree& tree) {
  std::string text;
  for (const auto& [id, node] : tree.nodes) {
    text += node->name + (node->trouble ? " (" + node->trouble->reason + ")" : "") + "\n";
  }
  return text;
}

}  // namespace

OpenDisk::OpenDisk(const Disk& disk, bool writing) : session_(std::make_unique<Session>()) {
  if (disk.open) {
    device_ = disk.open();
  } else {
    session_->keys->add_for_all(Secret(as_bytes(disk.passphrase)));
    session_->scanner = std::make_unique<Scanner>(standard_formats(), Limits{}, session_->keys,
                                                  std::vector<Directive>{});
    for (const Source& source : sources_of(disk, writing)) session_->scanner->add(source);
    session_->scanner->settle();
    device_ = find_device(*session_->scanner->tree(), disk.device);
    if (device_ == nullptr) {
      ADD_FAILURE() << "there is no " << disk.device << " among\n"
                    << what_there_is(*session_->scanner->tree());
      return;
    }
  }
  if (!writing || device_->writable()) return;
  ADD_FAILURE() << device_->describe() << " is not writable";
  device_ = nullptr;
}

OpenDisk::~OpenDisk() = default;

}  // namespace peelfs::test
