#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "peel/document.h"

namespace peelfs {

namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

class Writer {
 public:
  Writer(const Catalog& catalog, const WritePolicy& policy) : catalog_(catalog), policy_(policy) {
    for (const auto& [id, node] : catalog.tree().nodes) {
      if (!node->membership || node->membership->expected == 0) continue;
      here_[group_of(*node)].insert(node->membership->member);
    }
  }

  Json list(const std::vector<std::uint64_t>& ids) {
    Json result = Json::array();
    for (const std::uint64_t id : ids) {
      const Node& node = catalog_.tree().at(id);
      if (!node.hidden) {
        result.push_back(object(node));
        continue;
      }
      for (Json& disk : list(node.children)) {
        disk["source"] = node.source_path;
        disk["format"] = text_or_null(node.format);
        add_holder(node, disk);
        result.push_back(std::move(disk));
      }
    }
    return result;
  }

 private:
  bool read_only(const Node& node) const {
    return why_read_only(catalog_, {catalog_.name_of(node.id), catalog_.tree().nodes.at(node.id)},
                         policy_)
        .has_value();
  }

  /// What the bytes come from besides the source: files of the host, or of the filesystem that the
  /// image lies in.
  static void add_parts(const Node& node, Json& result) {
    Json host = Json::array();
    Json inside = Json::array();
    for (const Part& part : node.parts) {
      Json file;
      file["path"] = part.name;
      file["type"] = part.role;
      file["size"] = part.size;
      if (part.file != nullptr) file["ro"] = !part.file->writable();
      (part.file != nullptr ? host : inside).push_back(std::move(file));
    }
    if (!host.empty()) result["host-files"] = std::move(host);
    if (!inside.empty()) result["files"] = std::move(inside);
  }

  static void add_holder(const Node& node, Json& result) {
    if (!node.holder.empty()) result["holder"] = node.holder;
  }

  /// Where it lies on the device below, and what its layer knows of it.
  static void add_properties(const Node& node, Json& result) {
    constexpr std::uint64_t kSector = 512;  // as for lsblk, whatever the device has
    if (node.offset) {
      result["start"] = *node.offset / kSector;
      result["sectors"] = node.device->size() / kSector;
      result["offset"] = *node.offset;
    }
    for (const Property& property : node.properties) {
      std::visit([&](const auto& value) { result[std::string(property.name)] = value; },
                 property.value);
    }
  }

  /// By which members of one group are known: those that are opened as one, or that name the same.
  using Group = std::pair<std::uint64_t, std::string>;
  static Group group_of(const Node& node) {
    return {node.instance, node.format + " " + node.membership->group};
  }

  /// The group that it is a member of, as it says itself.
  static Json group(const Node& node) {
    const Membership& says = *node.membership;
    Json result;
    result["name"] = text_or_null(says.group_name);
    result["uuid"] = text_or_null(says.group);
    result["member"] = text_or_null(says.member);
    result["generation"] = says.generation == 0 ? Json(nullptr) : Json(says.generation);
    result["members"] = says.expected == 0 ? Json(nullptr) : Json(says.expected);
    result["stale"] = node.stale;
    return result;
  }

  Json object(const Node& node) {
    Json result;
    result["name"] = catalog_.name_of(node.id);
    result["type"] = node.kind;
    result["size"] = node.device->size();
    const std::string& type = node.identity.type;
    const bool table = node.format == "gpt" || node.format == "dos";
    result["fstype"] =
        text_or_null(!type.empty() || table || node.format == "raw" ? type : node.format);
    result["label"] = text_or_null(node.identity.label);
    result["uuid"] = text_or_null(node.identity.uuid);
    result["ro"] = read_only(node);
    result["pttype"] = text_or_null(table ? node.format : node.identity.pttype);
    result["ptuuid"] = text_or_null(node.identity.ptuuid);
    result["partuuid"] = text_or_null(node.partuuid);
    result["partlabel"] = text_or_null(node.partlabel);
    result["parttype"] = text_or_null(node.parttype);
    result["log-sec"] = node.device->sector_size();
    add_properties(node, result);
    if (!node.source_path.empty()) result["source"] = node.source_path;
    add_holder(node, result);
    if (catalog_.is_doubled(node.id)) result["file"] = catalog_.source_of(node.id);
    add_parts(node, result);
    if (node.membership) {
      result["group"] = group(node);
      const auto here = here_.find(group_of(node));
      if (node.membership->expected != 0) result["members-here"] = here->second.size();
    }
    if (!node.part_of.empty()) result["part-of"] = node.part_of;
    result["state"] = node.trouble ? Json(state_name(node.trouble->state)) : Json(nullptr);
    result["reason"] = node.trouble ? Json(node.trouble->reason) : Json(nullptr);
    if (node.children.empty()) return result;
    // A device on several others stands under each of them, as with lsblk; what is in it is said
    // once, because repeating whole trees grows without bound.
    if (written_.insert(node.id).second) {
      result["children"] = list(node.children);
    } else {
      result["repeated"] = true;
    }
    return result;
  }

  const Catalog& catalog_;
  const WritePolicy& policy_;
  std::set<std::uint64_t> written_;
  std::map<Group, std::set<std::string>> here_;  ///< by their own UUIDs
};

}  // namespace

nlohmann::ordered_json tree_document(const Catalog& catalog, const WritePolicy& policy) {
  Json document;
  document["blockdevices"] = Writer(catalog, policy).list(catalog.tree().roots);
  Json remarks = Json::array();
  for (const std::string& remark : catalog.remarks()) remarks.push_back(remark);
  if (!remarks.empty()) document["remarks"] = std::move(remarks);
  return document;
}

std::string document_text(const nlohmann::ordered_json& document) {
  // Labels may be any bytes: what is no UTF-8 is replaced, never thrown.
  return document.dump(3, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string tree_json(const Catalog& catalog) {
  return tree_json(catalog, {});
}

std::string tree_json(const Catalog& catalog, const WritePolicy& policy) {
  return document_text(tree_document(catalog, policy));
}

}  // namespace peelfs
