#include <algorithm>
#include <array>
#include <cctype>

#include "host/source.h"

namespace peelfs {

namespace {

constexpr std::array<std::string_view, 17> suffixes{
    ".qcow2", ".qcow", ".qed", ".img", ".image", ".raw", ".dd",  ".vmdk", ".vdi",
    ".vhd",   ".vhdx", ".vpc", ".hdd", ".iso",   ".e01", ".aff", ".disk"};

std::size_t suffix_length(std::string_view name) {
  for (const std::string_view suffix : suffixes) {
    if (name.size() <= suffix.size()) continue;
    const std::string_view end = name.substr(name.size() - suffix.size());
    const bool same = std::equal(end.begin(), end.end(), suffix.begin(), [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == b;
    });
    if (same) return suffix.size();
  }
  return 0;
}

}  // namespace

std::string strip_image_suffix(std::string_view file_name) {
  return std::string(file_name.substr(0, file_name.size() - suffix_length(file_name)));
}

bool has_image_suffix(std::string_view file_name) {
  return suffix_length(file_name) != 0;
}

}  // namespace peelfs
