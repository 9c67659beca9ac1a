#include "host/reference_name.h"

#include <climits>
#include <string>

#include "peelfs/error.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

void check_length(std::size_t found, std::size_t most, const std::string& of_what) {
  if (found <= most) return;
  throw Error(Fault::damaged, "the image names a file by a name that is too long")
      .found(std::to_string(found) + " bytes" + of_what)
      .expected("at most " + std::to_string(most));
}

void check(std::string_view name) {
  if (name.empty()) throw Error(Fault::damaged, "the image names a file by an empty name");
  if (name.find('\0') != std::string_view::npos) {
    throw Error(Fault::damaged, "the image names a file by a name with a NUL in it")
        .found(std::string(name));
  }
  check_length(name.size(), PATH_MAX - 1, "");
  const std::string_view last = name.substr(name.rfind('/') + 1);
  if (last.empty() || last == "." || last == "..") {
    throw Error(Fault::denied, "the image names a directory where a file is needed")
        .found(std::string(name));
  }
}

}  // namespace

ReferenceName parse_reference(std::string_view name, const fs::path& directory) {
  check(name);
  ReferenceName result;
  result.path = directory;
  std::string_view rest = name;
  if (rest.starts_with('/')) result.path = "/";
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string_view component = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    check_length(component.size(), NAME_MAX, " between two slashes");
    if (component.empty() || component == ".") continue;
    if (component != "..") {
      result.path /= component;
      continue;
    }
    if (result.path == "/") continue;  // as the kernel has it
    result.detours.push_back(result.path);
    result.path = result.path.parent_path();
  }
  check_length(result.path.native().size(), PATH_MAX - 1, " with its directory");
  return result;
}

fs::path path_beneath(const fs::path& path, const fs::path& directory) {
  fs::path relative = path.lexically_relative(directory);
  if (relative.empty() || relative == "." || *relative.begin() == "..") return {};
  return relative;
}

}  // namespace peelfs
