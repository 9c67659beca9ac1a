#include "cli/tree_columns.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/text.h"
#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kColumns{
    TreeColumn{"NAME"},
    TreeColumn{"TYPE", false, 1},
    TreeColumn{"SIZE", true},
    TreeColumn{"START", true},
    TreeColumn{"SECTORS", true, 2},
    TreeColumn{"OFFSET", true},
    TreeColumn{"PARTN", true},
    TreeColumn{"PARTTYPENAME"},
    TreeColumn{"PARTTYPE"},
    TreeColumn{"BOOT"},
    TreeColumn{"FSTYPE"},
    TreeColumn{"MEMBERS"},
    TreeColumn{"GROUP"},
    TreeColumn{"LABEL", false, 3},
    TreeColumn{"UUID", false, 4},
    TreeColumn{"PARTLABEL"},
    TreeColumn{"PARTUUID"},
    TreeColumn{"PTTYPE"},
    TreeColumn{"PTUUID"},
    TreeColumn{"RO"},
    TreeColumn{"LOG-SEC", true},
    TreeColumn{"FORMAT"},
    TreeColumn{"SOURCE"},
    TreeColumn{"HOLDER"},
    TreeColumn{"STATE"},
    TreeColumn{"REASON"},
};

constexpr std::array<std::string_view, 7> kUsual{"NAME",  "TYPE", "SIZE", "FSTYPE",
                                                 "LABEL", "UUID", "STATE"};
constexpr std::array<std::string_view, 12> kLong{"NAME",    "TYPE",         "SIZE", "START",
                                                 "SECTORS", "PARTTYPENAME", "BOOT", "FSTYPE",
                                                 "MEMBERS", "LABEL",        "UUID", "STATE"};

const TreeColumn* find_column(std::string_view name) {
  const auto* const found = std::ranges::find(kColumns, name, &TreeColumn::name);
  return found == kColumns.end() ? nullptr : found;
}

template <typename Names>
std::vector<const TreeColumn*> columns_of(const Names& names) {
  std::vector<const TreeColumn*> result;
  for (const std::string_view name : names) result.push_back(find_column(name));
  return result;
}

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// "1 of 2"; of one that is alone by itself nothing.
std::string members_text(const Json& device) {
  const auto counted = device.find("members-here");
  if (counted == device.end()) return "";
  const auto here = counted->get<std::uint64_t>();
  const auto members = device.at("group").at("members").get<std::uint64_t>();
  if (members == 1 && here == 1) return "";
  return std::to_string(here) + " of " + std::to_string(members);
}

std::string group_text(const Json& device) {
  const auto group = device.find("group");
  if (group == device.end()) return "";
  const Json& name = group->at("name");
  const Json& uuid = group->at("uuid");
  return name.is_string()   ? name.get<std::string>()
         : uuid.is_string() ? uuid.get<std::string>()
                            : "";
}

}  // namespace

std::span<const TreeColumn> tree_columns() {
  return kColumns;
}

std::vector<const TreeColumn*> usual_columns() {
  return columns_of(kUsual);
}

std::vector<const TreeColumn*> long_columns() {
  return columns_of(kLong);
}

std::vector<const TreeColumn*> parse_columns(std::string_view text,
                                             std::vector<const TreeColumn*> usual) {
  std::vector<const TreeColumn*> result;
  if (text.starts_with('+')) {
    result = std::move(usual);
    text.remove_prefix(1);
  }
  do {
    const std::string name = upper(text.substr(0, text.find(',')));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    const TreeColumn* const column = find_column(name);
    if (column == nullptr) {
      std::string all;
      std::vector<std::string_view> names;
      for (const TreeColumn& one : kColumns) {
        all.append(all.empty() ? "" : ",").append(one.name);
        names.push_back(one.name);
      }
      const std::string_view meant = closest(name, names);
      auto error = usage("-o: there is no such column")
                       .found("'" + printable(name) + "'")
                       .expected("some of " + all);
      if (meant.empty()) throw std::move(error);
      throw std::move(error).advice("did you mean '" + std::string(meant) + "'?");
    }
    if (std::ranges::find(result, column) == result.end()) result.push_back(column);
  } while (!text.empty());
  return result;
}

std::string column_text(const TreeColumn& column, const Json& device, bool bytes) {
  if (column.name == "MEMBERS") return members_text(device);
  if (column.name == "GROUP") return group_text(device);
  const auto value = device.find(lower(column.name));
  if (value == device.end() || value->is_null()) return "";
  if (value->is_string()) return value->get<std::string>();
  if (value->is_boolean()) {
    if (column.name == "BOOT") return value->get<bool>() ? "*" : "";
    return value->get<bool>() ? "1" : "0";
  }
  const auto number = value->get<std::uint64_t>();
  return column.name == "SIZE" && !bytes ? human_size(number) : std::to_string(number);
}

}  // namespace peelfs::cli
