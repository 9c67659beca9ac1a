#include "fs/references.h"
#include "peelfs/error.h"

namespace peelfs::fs {

namespace {

constexpr unsigned kMaxLinks = 40;  // as the kernel's MAXSYMLINKS
constexpr unsigned kMaxComponents = 1024;
constexpr std::size_t kMaxNameBytes = 4096;  // as the kernel's PATH_MAX

}  // namespace

Located locate(Filesystem::Reader& reader, std::vector<Filesystem::Id> directory,
               std::string_view name) {
  const auto missing = [&](const std::string& why) {
    return Error(Fault::missing,
                 "the file \"" + std::string(name) + "\" is not in the same filesystem")
        .found(why)
        .advice("a reference inside a filesystem is only looked for in that filesystem");
  };
  if (name.empty() || name.size() > kMaxNameBytes) throw missing("a name that no file can have");
  Filesystem::Allowance allowance;
  Located result;
  std::string rest(name);
  unsigned links = 0;
  if (rest.front() == '/') directory.resize(1);
  for (unsigned components = 0;; ++components) {
    if (components == kMaxComponents) throw missing("too many components");
    rest.erase(0, rest.find_first_not_of('/'));
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string component = rest.substr(0, end);
    rest.erase(0, end);
    if (component.empty()) throw missing("a directory");
    if (component == ".") continue;
    if (component == "..") {
      if (directory.size() > 1) directory.pop_back();
      continue;
    }
    const Filesystem::Stat parent = reader.stat(directory.back());
    if (parent.type != Filesystem::Type::directory) {
      throw missing("a component that is no directory");
    }
    const auto id = reader.find(parent, component, allowance);
    if (!id) throw missing("no \"" + component + "\"");
    Filesystem::Stat file = reader.stat(*id);
    switch (file.type) {
      case Filesystem::Type::directory:
        directory.push_back(*id);
        break;
      case Filesystem::Type::symbolic_link: {
        if (++links > kMaxLinks) throw missing("too many symbolic links, or a loop of them");
        std::string target = reader.link_target(file);
        if (target.front() == '/') directory.resize(1);
        rest = target + rest;
        if (rest.size() > 2 * kMaxNameBytes) throw missing("symbolic links that grow too long");
        break;
      }
      case Filesystem::Type::regular:
        if (!rest.empty()) throw missing("a component that is no directory");
        result.file = std::move(file);
        result.directory = std::move(directory);
        result.name = component;
        return result;
      case Filesystem::Type::unknown:
      case Filesystem::Type::other:
        throw missing("no regular file");
    }
  }
}

}  // namespace peelfs::fs
