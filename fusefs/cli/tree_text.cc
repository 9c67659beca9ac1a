#include "cli/tree_text.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "cli/text.h"
#include "cli/text_table.h"
#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

using Json = nlohmann::ordered_json;

/// How the branches of the tree are drawn.
struct Branches {
  std::string middle, last, below_middle, below_last, more;
};

Branches branches(TreeSigns signs) {
  const bool unicode =
      signs == TreeSigns::automatic ? unicode_output() : signs == TreeSigns::unicode;
  if (unicode) return {"├─", "└─", "│ ", "  ", "…"};
  return {"|-", "`-", "| ", "  ", "..."};
}

Ink ink_of(std::string_view state) {
  if (state.empty() || state == "note") return Ink::plain;
  return state == "damaged" || state == "io" || state == "missing" ? Ink::bad : Ink::warning;
}

std::string text_at(const Json& device, const char* key) {
  const auto value = device.find(key);
  return value != device.end() && value->is_string() ? value->get<std::string>() : "";
}

/// What there is to say of devices, below the table: of several the same only once.
class Remarks {
 public:
  void add(const std::string& name, const std::string& text) {
    const auto known = places_.find(text);
    if (known != places_.end()) {
      remarks_[known->second].names.push_back(name);
      return;
    }
    places_.emplace(text, remarks_.size());
    remarks_.push_back({{name}, text});
  }

  std::string text(std::size_t width) const {
    std::string result;
    for (const Remark& remark : remarks_) {
      result += wrapped(names_text(remark.names) + ": " + remark.text, width, kIndent) + "\n";
    }
    return result;
  }

 private:
  struct Remark {
    std::vector<std::string> names;
    std::string text;
  };
  static constexpr std::size_t kIndent = 2;

  static std::string names_text(const std::vector<std::string>& names) {
    constexpr std::size_t kMost = 5;
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
      text += (i == 0 ? "" : ", ") + names[i];
    }
    return names.size() > kMost ? text + " and " + std::to_string(names.size() - kMost) + " more"
                                : text;
  }

  std::vector<Remark> remarks_;  ///< in the order of the devices
  std::map<std::string, std::size_t> places_;
};

class Drawing {
 public:
  explicit Drawing(const TreeLook& look)
      : look_(look), signs_(branches(look.signs)), table_(layout(look)) {}

  std::string text(const Json& document) {
    for (const Json& device : document.at("blockdevices")) add(device, "", "");
    std::string result = table_.text({.width = look_.chosen ? 0 : look_.width,
                                      .headings = look_.headings,
                                      .colors = look_.colors});
    const bool has_state = std::ranges::any_of(
        look_.columns, [](const TreeColumn* column) { return column->name == "STATE"; });
    const std::string remarks = remarks_.text(look_.width);
    if (has_state && !remarks.empty()) result += "\n" + remarks;
    return result;
  }

 private:
  static std::vector<TableColumn> layout(const TreeLook& look) {
    std::vector<TableColumn> columns;
    for (const TreeColumn* column : look.columns) {
      columns.push_back({.heading = column->name,
                         .right = column->right,
                         .keep_empty = look.chosen,
                         .dispensable = look.chosen ? 0 : column->dispensable});
    }
    return columns;
  }

  void add(const Json& device, const std::string& own, const std::string& below) {
    const std::string name = shown(text_at(device, "name"));
    const bool again = !drawn_.insert(name).second;
    add_row(device, own + name + (again && device.contains("repeated") ? " " + signs_.more : ""));
    if (again) return;
    say(device, name);
    static const Json none = Json::array();
    const auto found = device.find("children");
    const Json& children = found == device.end() ? none : *found;
    const std::size_t count = children.size();
    add_parts(device, count == 0, below);
    const bool repeated =
        count > kFew && std::all_of(children.begin(), children.end(), [&](const Json& child) {
          return drawn_.contains(shown(text_at(child, "name")));
        });
    for (std::size_t i = 0; i < count && !repeated; ++i) {
      const bool last = i + 1 == count;
      add(children.at(i), below + (last ? signs_.last : signs_.middle),
          below + (last ? signs_.below_last : signs_.below_middle));
    }
    if (!repeated) return;
    add_row({}, below + signs_.last + signs_.more + " " + std::to_string(count) +
                    " devices shown above");
  }

  void add_row(const Json& device, const std::string& name) {
    std::vector<TableCell> cells;
    for (const TreeColumn* column : look_.columns) {
      if (column->name == "NAME") {
        cells.push_back({name});
        continue;
      }
      TableCell cell{device.is_object() ? shown(column_text(*column, device, look_.bytes)) : ""};
      if (column->name == "STATE") cell.ink = ink_of(cell.text);
      cells.push_back(std::move(cell));
    }
    table_.add(std::move(cells));
  }

  /// The files that the image names and its bytes come from, a line each.
  void add_parts(const Json& device, bool no_children, const std::string& below) {
    std::vector<const Json*> files;
    for (const char* key : {"host-files", "files"}) {
      const auto found = device.find(key);
      if (found == device.end()) continue;
      for (const Json& file : *found) files.push_back(&file);
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
      const bool last = no_children && i + 1 == files.size();
      const Json row{{"type", files[i]->at("type")}, {"size", files[i]->at("size")}};
      add_row(row,
              below + (last ? signs_.last : signs_.middle) + shown(text_at(*files[i], "path")));
    }
  }

  void say(const Json& device, const std::string& name) {
    // Of several sources with one name: which file this one is.
    if (const std::string file = text_at(device, "file"); !file.empty()) {
      remarks_.add(name, "file " + shown(file));
    }
    const std::string holder = look_.holders ? text_at(device, "holder") : "";
    if (!holder.empty()) remarks_.add(name, "in use: " + shown(holder));
    const std::string state = text_at(device, "state");
    if (!state.empty()) remarks_.add(name, shown(state + ": " + text_at(device, "reason")));
  }

  /// Of many children that all stand above already, none gets a line of its own.
  static constexpr std::size_t kFew = 3;
  const TreeLook& look_;
  const Branches signs_;
  TextTable table_;
  Remarks remarks_;
  std::set<std::string> drawn_;
};

}  // namespace

TreeSigns parse_tree_signs(std::string_view text) {
  if (text == "auto") return TreeSigns::automatic;
  if (text == "unicode") return TreeSigns::unicode;
  if (text == "ascii") return TreeSigns::ascii;
  throw usage("--tree: how branches are drawn")
      .found("'" + printable(text) + "'")
      .expected("auto, unicode or ascii");
}

std::string tree_text(const Json& document, const TreeLook& look) {
  return Drawing(look).text(document);
}

}  // namespace peelfs::cli
