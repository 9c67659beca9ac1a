#include "check/mounted_devices.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

namespace peelfs::check {

std::optional<std::set<std::string>> devices_in(const std::string& mountpoint) {
  std::set<std::string> devices;
  std::ifstream file(mountpoint + "/.peelfs/status.json");
  const auto tree = nlohmann::json::parse(file, nullptr, false);
  if (tree.is_discarded() || !tree.contains("blockdevices")) return std::nullopt;
  std::vector<const nlohmann::json*> lists{&tree.at("blockdevices")};
  while (!lists.empty()) {
    const nlohmann::json& list = *lists.back();
    lists.pop_back();
    for (const auto& device : list) {
      const auto type = device.find("fstype");
      const bool known = type != device.end() && type->is_string();
      devices.insert(device.at("name").get<std::string>() +
                     (known ? " (" + type->get<std::string>() + ")" : ""));
      const auto children = device.find("children");
      if (children != device.end()) lists.push_back(&*children);
    }
  }
  return devices;
}

std::string difference(const std::optional<std::set<std::string>>& before,
                       const std::optional<std::set<std::string>>& after) {
  if (!before || !after) {
    return "whether what lies in it has changed could not be seen";
  }
  std::vector<std::string> fresh;
  std::ranges::set_difference(*after, *before, std::back_inserter(fresh));
  std::vector<std::string> lost;
  std::ranges::set_difference(*before, *after, std::back_inserter(lost));
  if (fresh.empty() && lost.empty()) return "";
  std::string text = "what lies in it has changed";
  if (!fresh.empty()) {
    text += "; not checked: " + fresh.front() + (fresh.size() > 1 ? " and more" : "");
  }
  if (!lost.empty()) text += "; gone: " + lost.front() + (lost.size() > 1 ? " and more" : "");
  return text;
}

}  // namespace peelfs::check
