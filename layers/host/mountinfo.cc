#include "host/mountinfo.h"

#include <sys/sysmacros.h>

#include <charconv>
#include <climits>
#include <cstdlib>
#include <fstream>

#include "peelfs/error.h"

namespace peelfs {
namespace {

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    const std::size_t end = line.find(' ');
    fields.push_back(line.substr(0, end));
    line = end == std::string_view::npos ? std::string_view() : line.substr(end + 1);
  }
  return fields;
}

std::optional<unsigned long> number(std::string_view text) {
  unsigned long value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string real_path(const std::string& path) {
  char* const resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) {
    const int error_number = errno;
    throw Error::system(error_number, "cannot find the mount point " + printable(path))
        .advice("check the path");
  }
  std::string text = resolved;
  std::free(resolved);
  return text;
}

}  // namespace

std::string unescape_path(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::optional<unsigned long> MountEntry::id_option(std::string_view name) const {
  std::string_view rest = super_options;
  while (!rest.empty()) {
    const std::size_t end = rest.find(',');
    const std::string_view option = rest.substr(0, end);
    if (option.size() > name.size() && option.starts_with(name) && option[name.size()] == '=') {
      return number(option.substr(name.size() + 1));
    }
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return std::nullopt;
}

std::optional<MountEntry> parse_mountinfo_line(std::string_view line) {
  const std::vector<std::string_view> fields = fields_of(line);
  // id, parent, major:minor, root, mount point, options, any number of tags, "-", type, source,
  // options
  std::size_t separator = 6;
  while (separator < fields.size() && fields[separator] != "-") ++separator;
  if (separator + 3 >= fields.size()) return std::nullopt;
  const std::size_t colon = fields[2].find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto major_number = number(fields[2].substr(0, colon));
  const auto minor_number = number(fields[2].substr(colon + 1));
  if (!major_number || !minor_number) return std::nullopt;
  MountEntry entry;
  entry.device =
      makedev(static_cast<unsigned>(*major_number), static_cast<unsigned>(*minor_number));
  entry.id = number(fields[0]).value_or(0);
  entry.root = unescape_path(fields[3]);
  entry.mountpoint = unescape_path(fields[4]);
  entry.type = fields[separator + 1];
  entry.source = unescape_path(fields[separator + 2]);
  entry.super_options = fields[separator + 3];
  return entry;
}

std::vector<MountEntry> read_mounts(const std::string& file) {
  std::ifstream lines(file);
  std::vector<MountEntry> found;
  std::string line;
  while (std::getline(lines, line)) {
    if (auto entry = parse_mountinfo_line(line)) found.push_back(*std::move(entry));
  }
  return found;
}

std::optional<MountEntry> find_mount(std::string_view path) {
  std::optional<MountEntry> found;
  for (MountEntry& entry : read_mounts()) {
    if (entry.mountpoint == path) found = std::move(entry);  // what was mounted later comes later
  }
  return found;
}

std::vector<MountEntry> peelfs_mounts() {
  std::vector<MountEntry> found = read_mounts();
  std::erase_if(found, [](const MountEntry& entry) { return !entry.is_peelfs(); });
  return found;
}

std::string resolve_mountpoint(const std::string& path) {
  std::string plain = path;
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  const std::size_t slash = plain.rfind('/');
  const std::string last = slash == std::string::npos ? plain : plain.substr(slash + 1);
  if (last.empty() || last == "." || last == "..") {
    return real_path(plain);
  }
  const std::string folder = real_path(slash == std::string::npos ? "."
                                       : slash == 0               ? "/"
                                                                  : plain.substr(0, slash));
  const std::string whole = (folder == "/" ? "" : folder) + "/" + last;
  if (find_mount(whole)) return whole;
  return real_path(plain);
}

}  // namespace peelfs
