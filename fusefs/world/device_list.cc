#include "world/device_list.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace peelfs::world {
namespace {

/// Whether it can stand between quotes as it is: libblkid's list knows no way to write the rest.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-_.:/+ ").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

std::string tag(std::string_view name, const std::string& value) {
  if (value.empty() || !is_plain(value)) return "";
  return " " + std::string(name) + "=\"" + value + "\"";
}

}  // namespace

std::string device_list(const std::vector<ListedDevice>& devices) {
  std::string list;
  for (const ListedDevice& device : devices) {
    // So old that libblkid looks at the device itself before it believes any of this.
    list += R"(<device DEVNO="0x0000" TIME="1.0" PRI="0")" + tag("UUID", device.uuid) +
            tag("LABEL", device.label) + tag("TYPE", device.type) + ">" + device.path +
            "</device>\n";
  }
  return list;
}

}  // namespace peelfs::world
