#include "host/consent.h"

#include <algorithm>

#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace fs = std::filesystem;

PersonsPath::PersonsPath(const std::string& typed) {
  const auto add = [&](const fs::path& path) {
    if (!path.empty() && !is(path)) forms_.push_back(path);
  };
  std::error_code failed;
  fs::path absolute = fs::absolute(typed, failed);
  if (failed) absolute = typed;
  if (!absolute.has_filename()) absolute = absolute.parent_path();  // "directory/"
  // ".." behind a link is not where it seems to be.
  const bool plain = std::none_of(absolute.begin(), absolute.end(),
                                  [](const fs::path& part) { return part == ".."; });
  fs::path normal = absolute.lexically_normal();
  if (!normal.has_filename() && normal.has_relative_path()) normal = normal.parent_path();
  if (plain) add(normal);
  directory_ = fs::canonical(absolute.parent_path(), failed);
  const fs::path name = absolute.filename();
  if (!failed && name != "." && name != "..") add(directory_ / name);
  const fs::path real = fs::canonical(absolute, failed);
  if (!failed) add(real);
}

bool PersonsPath::is(const fs::path& path) const {
  return std::find(forms_.begin(), forms_.end(), path) != forms_.end();
}

Consent::Consent(std::span<const std::string> allowed, const Formats& formats) : formats_(formats) {
  for (const std::string& path : allowed) {
    try {
      Pinned pin = Pinned::named(path);
      if (pin.is_directory()) {
        folders_.push_back({PersonsPath(path), Folder(std::move(pin))});
      } else {
        files_.push_back({PersonsPath(path), std::move(pin)});
      }
    } catch (const Error& error) {
      throw Error(Fault::usage, "--allow-reference " + path + ": " + error.what());
    }
  }
}

void Consent::add_source(const std::string& path, std::shared_ptr<const HostFile> file,
                         bool itself) {
  sources_.push_back({PersonsPath(path), std::move(file), itself});
}

const Consent::NamedSource* Consent::source(const fs::path& path) const {
  const auto found = std::find_if(sources_.begin(), sources_.end(),
                                  [&](const NamedSource& one) { return one.path.is(path); });
  return found == sources_.end() ? nullptr : &*found;
}

const Consent::NamedSource* Consent::source(const FileId& id) const {
  const auto found = std::find_if(sources_.begin(), sources_.end(),
                                  [&](const NamedSource& one) { return one.file->id() == id; });
  return found == sources_.end() ? nullptr : &*found;
}

bool Consent::allows(const FileId& id) const {
  return std::any_of(files_.begin(), files_.end(),
                     [&](const AllowedFile& one) { return one.pin.id() == id; });
}

std::shared_ptr<const HostFile> Consent::written_part(const FileId& id) const {
  const MutexLock lock(mutex_);
  const auto found = written_.find(id);
  return found == written_.end() ? nullptr : found->second.lock();
}

void Consent::keep_written_part(const std::shared_ptr<const HostFile>& file) const {
  const MutexLock lock(mutex_);
  written_[file->id()] = file;
}

}  // namespace peelfs
