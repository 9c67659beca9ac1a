// What an image on the host may name besides itself: design section 6.
//
// A name is taken apart before anything is touched. What lies beneath the folder of the source, on
// the same filesystem and without links on the way, is found without being opened; only a regular
// file that looks like an image is opened then. Everything else needs a person who named it.
#include <filesystem>

#include "host/consent.h"
#include "host/folder.h"
#include "host/image_lock.h"
#include "host/pinned.h"
#include "host/reference_name.h"
#include "host/source.h"
#include "peelfs/devices.h"
#include "peelfs/shell.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

/// The rules for a source and all images of its chain.
struct Rules {
  std::optional<Folder> root;  ///< the folder of the source; none for a block device
  fs::path root_typed;         ///< the same as a person named it; may be empty
  std::shared_ptr<const Consent> consent;
  bool relied_on = false;
};

/// A file that was found, not opened.
struct Target {
  std::optional<Pinned> pin;  ///< none: it is `held`, which is open elsewhere
  int held = -1;
  fs::path path;       ///< absolute
  fs::path directory;  ///< where its own references count from: absolute, without links
  FileId id;
  const Consent::NamedSource* source = nullptr;  ///< it is one
  bool allowed = false;                          ///< by --allow-reference

  int descriptor() const { return pin ? pin->descriptor() : held; }
};

class HostReferences : public References {
 public:
  HostReferences(std::shared_ptr<const Rules> rules, fs::path directory)
      : rules_(std::move(rules)), directory_(std::move(directory)) {}

  Found open(std::string_view name) const override {
    const Target target = locate(name);
    auto file = open_read_only(target);
    if (rules_->relied_on) lock_image(*file, ImageUse::relied_on);
    return found(target, std::move(file));
  }

  Found open_part(std::string_view name, bool writing) const override {
    const Target target = locate(name);
    if (writing && !consented(target)) return open_unnamed(target);
    if (writing) return found(target, open_writable(target));
    auto file = open_read_only(target);
    // If this process has it open for writing, that open file already holds the stronger lock.
    const bool ours = (target.source != nullptr && target.source->file->writable()) ||
                      rules_->consent->written_part(target.id) != nullptr;
    if (rules_->relied_on && !ours) lock_image(*file, ImageUse::relied_on);
    return found(target, std::move(file));
  }

  std::vector<std::string> siblings(std::string_view begin) const override {
    std::vector<std::string> found;
    if (begin.empty() || begin.find('/') != std::string_view::npos) return found;
    const auto list = [&](int folder) {
      // Through the descriptor: what is listed is what is beneath the folder of the source.
      const std::string path = "/proc/self/fd/" + std::to_string(folder);
      for (std::string& name : names_in(path, directory_.string())) {
        if (name.starts_with(begin)) found.push_back(std::move(name));
      }
    };
    const auto list_beneath = [&](const Folder& folder) {
      if (folder.path() == directory_) {
        list(folder.descriptor());
        return true;
      }
      const fs::path relative = path_beneath(directory_, folder.path());
      Obstacle ignored;
      const auto pin = relative.empty() ? std::nullopt : folder.find(relative, ignored);
      if (!pin || !pin->is_directory()) return false;
      list(pin->descriptor());
      return true;
    };
    if (rules_->root && list_beneath(*rules_->root)) return found;
    for (const Consent::AllowedFolder& one : rules_->consent->folders()) {
      if (list_beneath(one.folder)) break;
    }
    return found;
  }

  std::optional<FileId> named_part(std::string_view name) const override {
    const Target target = locate(name);
    if (!consented(target)) return std::nullopt;
    return target.id;
  }

 private:
  Error refused(const fs::path& path, const std::string& why) const {
    return Error(Fault::denied,
                 "the image names the file " + path.string() + "; refused, because " + why)
        .advice("if you trust the image, allow it: " +
                shell_line({"--allow-reference", path.string()}));
  }

  Target locate(std::string_view name) const {
    const ReferenceName named = parse_reference(name, directory_);
    check_detours(named);
    Obstacle obstacle;
    std::optional<Target> target = find_named(named.path, obstacle);
    if (!target) target.emplace(find_beside(named.path, obstacle));
    target->source = rules_->consent->source(target->id);
    target->allowed = target->allowed || rules_->consent->allows(target->id);
    return *std::move(target);
  }

  /// "link/../x" is not x.
  void check_detours(const ReferenceName& named) const {
    for (const fs::path& detour : named.detours) {
      if (!is_plain_directory(detour)) {
        throw refused(named.path, "its name goes through " + detour.string() +
                                      " and back, which cannot be followed safely");
      }
    }
  }

  bool is_plain_directory(const fs::path& path) const {
    // The path without links holds no link.
    if (path == directory_ || !path_beneath(directory_, path).empty()) return true;
    const auto beneath = [&](const Folder& folder) {
      const fs::path relative = path_beneath(path, folder.path());
      Obstacle ignored;
      const auto found = relative.empty() ? std::nullopt : folder.find(relative, ignored);
      return found && found->is_directory();
    };
    if (rules_->root && beneath(*rules_->root)) return true;
    const auto folders = rules_->consent->folders();
    return std::any_of(folders.begin(), folders.end(),
                       [&](const Consent::AllowedFolder& one) { return beneath(one.folder); });
  }

  /// What a person named: by --allow-reference, or as a source.
  std::optional<Target> find_named(const fs::path& path, Obstacle& obstacle) const {
    for (const Consent::AllowedFile& file : rules_->consent->files()) {
      if (!file.path.is(path)) continue;
      if (!file.pin.is_file() && !file.pin.is_block_device()) {
        throw refused_kind(path, file.pin);
      }
      Target target;
      target.held = file.pin.descriptor();
      target.path = path;
      target.directory = file.path.directory();
      target.id = file.pin.id();
      target.allowed = true;
      return target;
    }
    for (const Consent::AllowedFolder& folder : rules_->consent->folders()) {
      for (const fs::path& form : folder.path.forms()) {
        const fs::path relative = path_beneath(path, form);
        if (relative.empty()) continue;
        auto target = find_beneath(folder.folder, relative, obstacle);
        if (!target) continue;
        target->allowed = true;
        return target;
      }
    }
    if (const Consent::NamedSource* source = rules_->consent->source(path)) {
      Target target;
      target.held = source->file->descriptor();
      target.path = path;
      target.directory = source->path.directory();
      target.id = source->file->id();
      return target;
    }
    return std::nullopt;
  }

  std::optional<Target> find_beneath(const Folder& folder, const fs::path& relative,
                                     Obstacle& obstacle) const {
    auto pin = folder.find(relative, obstacle);
    if (!pin) return std::nullopt;
    const fs::path path = folder.path() / relative;
    if (!pin->is_file()) throw refused_kind(path, *pin);
    Target target;
    target.path = path;
    target.directory = path.parent_path();
    target.id = pin->id();
    target.pin.emplace(*std::move(pin));
    return target;
  }

  Error refused_kind(const fs::path& path, const Pinned& pin) const {
    return Error(Fault::denied,
                 "the image names " + path.string() + ", which is " + pin.what_it_is())
        .expected("a regular file")
        .advice(pin.is_block_device() ? "if you trust the image, allow it: " +
                                            shell_line({"--allow-reference", path.string()})
                                      : "an image that names such a thing is not to be trusted");
  }

  /// What lies beneath the folder of the source, and looks like an image.
  /// @param obstacle what was in the way beneath a folder that a person named
  Target find_beside(const fs::path& path, Obstacle obstacle) const {
    fs::path relative = rules_->root ? path_beneath(path, rules_->root->path()) : fs::path();
    // qemu-img writes absolute names often; they are fine where the relative name would be.
    if (relative.empty()) relative = path_beneath(path, rules_->root_typed);
    if (relative.empty() && obstacle.error_number == 0) {
      if (!obstacle.why.empty()) throw refused(path, obstacle.why);
      throw refused(path, rules_->root ? "it does not lie beneath the directory of the source, " +
                                             rules_->root->path().string()
                                       : "an image on a block device may name no host file");
    }
    std::optional<Target> target =
        relative.empty() ? std::nullopt : find_beneath(*rules_->root, relative, obstacle);
    if (!target) {
      if (obstacle.error_number == 0) throw refused(path, obstacle.why);
      throw Error::system(obstacle.error_number,
                          "cannot open " + path.string() + ", which the image names");
    }
    const bool known =
        rules_->consent->source(target->id) != nullptr || rules_->consent->allows(target->id);
    if (!known && !looks_like_image(*target)) {
      throw refused(path,
                    "it does not look like a disk image, neither by its suffix nor by what "
                    "is in it");
    }
    return *std::move(target);
  }

  bool looks_like_image(const Target& target) const {
    const Formats& formats = rules_->consent->formats();
    if (formats.has_image_suffix(target.path.filename().string())) return true;
    const auto file = HostFile::open_pinned(target.descriptor(), target.path.string());
    return !formats.image_format(*make_storage_device(file)).empty();
  }

  /// Whether a person named the file itself, so that it may be written as a part of the image. A
  /// source that is an image of its own does not count: the person did not name it as a part of
  /// another one.
  bool consented(const Target& target) const {
    if (target.allowed) return true;
    return target.source != nullptr && target.source->itself &&
           rules_->consent->formats()
               .wrapped_format(*make_storage_device(target.source->file))
               .empty();
  }

  static std::shared_ptr<const HostFile> open_read_only(const Target& target) {
    return HostFile::open_pinned(target.descriptor(), target.path.string());
  }

  std::shared_ptr<const HostFile> open_writable(const Target& target) const {
    // All images that write the part share one open file description: its locks would conflict with
    // any other.
    if (target.source != nullptr && target.source->file->writable()) return target.source->file;
    if (auto written = rules_->consent->written_part(target.id)) return written;
    auto file = HostFile::open_pinned(target.descriptor(), target.path.string(),
                                      HostFile::Access::read_write);
    lock_image(*file, ImageUse::written);
    rules_->consent->keep_written_part(file);
    return file;
  }

  /// A part of an image that is written. No person named the part, so it is only read.
  Found open_unnamed(const Target& target) const {
    const std::string path = target.path.string();
    if (target.source != nullptr && target.source->file->writable()) {
      throw refused(target.path, "it is a source of its own, and is written as such");
    }
    auto file = open_read_only(target);
    if (rules_->relied_on) lock_image(*file, ImageUse::relied_on);
    Found result = found(target, std::move(file));
    result.device = make_read_only(
        std::move(result.device),
        "the image would have " + printable(path) +
            " written, which you did not name; if you trust the image, name that file as a source, "
            "too, or allow it: " +
            shell_line({"--allow-reference", path}));
    return result;
  }

  Found found(const Target& target, std::shared_ptr<const HostFile> file) const {
    Found result;
    result.device = make_storage_device(file);
    result.references = std::make_shared<HostReferences>(rules_, target.directory);
    result.name = target.path.string();
    result.file = std::move(file);
    return result;
  }

  const std::shared_ptr<const Rules> rules_;
  const fs::path directory_;  ///< where the naming image lies: absolute, without links
};

}  // namespace

std::shared_ptr<const References> make_host_references(const std::string& directory,
                                                       std::shared_ptr<const Consent> consent,
                                                       bool relied_on, bool block_device) {
  auto rules = std::make_shared<Rules>();
  rules->consent = std::move(consent);
  rules->relied_on = relied_on;
  Folder folder(directory);
  const fs::path place = folder.path();
  if (!block_device) {
    rules->root.emplace(std::move(folder));
    const PersonsPath typed(directory);
    if (!typed.forms().empty()) rules->root_typed = typed.forms().front();
  }
  return std::make_shared<HostReferences>(std::move(rules), place);
}

std::shared_ptr<const References> make_host_references(const std::string& directory,
                                                       std::span<const std::string> allowed,
                                                       const Formats& formats) {
  return make_host_references(directory, std::make_shared<const Consent>(allowed, formats), false);
}

}  // namespace peelfs
