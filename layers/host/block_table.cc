#include "host/block_table.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>

namespace peelfs {

namespace {

namespace fs = std::filesystem;

/// An attribute without the newline at its end. A name may hold any byte, a newline too.
std::string attribute(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::getline(file, text, '\0');
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

template <typename Number>
std::optional<Number> number(std::string_view text) {
  Number value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<dev_t> device_number(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto major_number = number<unsigned>(std::string_view(text).substr(0, colon));
  const auto minor_number = number<unsigned>(std::string_view(text).substr(colon + 1));
  if (!major_number || !minor_number) return std::nullopt;
  return makedev(*major_number, *minor_number);
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator at(directory, failed), end; !failed && at != end;
       at.increment(failed)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<BlockNode> read_node(const fs::path& folder) {
  const auto device = device_number(attribute(folder / "dev"));
  if (!device) return std::nullopt;
  BlockNode node;
  node.name = folder.filename().string();
  node.device = *device;
  std::error_code failed;
  if (fs::exists(folder / "partition", failed)) {
    // A partition's folder lies in that of its disk.
    node.disk = fs::canonical(folder, failed).parent_path().filename().string();
    // sysfs counts in 512 bytes, also for disks with larger sectors.
    node.offset = 512 * number<std::uint64_t>(attribute(folder / "start")).value_or(0);
  }
  node.read_only = attribute(folder / "ro") == "1";
  node.holders = names_in(folder / "holders");
  node.mapper_name = attribute(folder / "dm/name");
  node.mapper_uuid = attribute(folder / "dm/uuid");
  node.backing_file = attribute(folder / "loop/backing_file");
  node.size = 512 * number<std::uint64_t>(attribute(folder / "size")).value_or(0);
  if (!node.backing_file.empty()) {
    node.size_limit = number<std::uint64_t>(attribute(folder / "loop/sizelimit")).value_or(0);
    node.offset = number<std::uint64_t>(attribute(folder / "loop/offset")).value_or(0);
  }
  node.autoclear = attribute(folder / "loop/autoclear") == "1";
  node.server = number<pid_t>(attribute(folder / "pid")).value_or(0);
  return node;
}

}  // namespace

std::string BlockNode::path() const {
  if (!mapper_name.empty()) return "/dev/mapper/" + mapper_name;
  std::string file = name;
  std::replace(file.begin(), file.end(), '!', '/');  // sysfs' way to write "cciss/c0d0"
  return "/dev/" + file;
}

std::vector<BlockNode> read_block_table(const std::string& sysfs) {
  std::vector<BlockNode> nodes;
  const fs::path folder = fs::path(sysfs) / "class/block";
  for (const std::string& name : names_in(folder)) {
    if (auto node = read_node(folder / name)) nodes.push_back(*std::move(node));
  }
  return nodes;
}

}  // namespace peelfs
