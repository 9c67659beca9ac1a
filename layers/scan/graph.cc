#include "scan/graph.h"

#include <algorithm>
#include <array>
#include <filesystem>

namespace peelfs {

namespace {

std::string lineage(const Node& node) {
  std::string key;
  for (const std::uint64_t parent : node.parents) key += std::to_string(parent) + ",";
  return key + node.kind + ":" + node.name;
}

}  // namespace

void Item::reset_trouble() {
  node.trouble = inherited;
  node.stale = false;
  if (ambiguous) join(node.trouble, *ambiguous);
  if (part) join(node.trouble, *part);
}

Item& Graph::add(Item item) {
  const std::string key = lineage(item.node);
  const auto former = former_ids_.find(key);
  const bool reuse = former != former_ids_.end() && !items_.contains(former->second);
  const std::uint64_t id = reuse ? former->second : next_id_++;
  former_ids_.insert_or_assign(key, id);
  item.node.id = id;
  if (item.root == 0) item.root = id;
  for (const std::uint64_t parent : item.node.parents) {
    items_.at(parent).node.children.push_back(id);
  }
  return items_.insert_or_assign(id, std::move(item)).first->second;
}

std::vector<std::uint64_t> Graph::remove(std::uint64_t id) {
  std::vector<std::uint64_t> gone;
  std::vector<std::uint64_t> pending{id};
  while (!pending.empty()) {
    const std::uint64_t current = pending.back();
    pending.pop_back();
    const auto found = items_.find(current);
    if (found == items_.end()) continue;  // reached twice: a group's child has several parents
    const Node& node = found->second.node;
    pending.insert(pending.end(), node.children.begin(), node.children.end());
    for (const std::uint64_t parent : node.parents) {
      if (const auto above = items_.find(parent); above != items_.end()) {
        std::erase(above->second.node.children, current);
      }
    }
    items_.erase(found);
    gone.push_back(current);
  }
  return gone;
}

void Graph::take_up_growth() {
  for (auto& [id, item] : items_) {
    if (DevicePtr grown = item.node.device->regrown()) item.node.device = std::move(grown);
  }
}

GroupMember Graph::member_of_group(std::uint64_t id) const {
  const Item& item = items_.at(id);
  const std::string uuid =
      item.claim && item.claim->membership ? item.claim->membership->member : "";
  GroupMember member{id, uuid, item.taken, {}};
  std::vector<const Item*> line{&item};
  while (!line.back()->node.parents.empty()) {
    line.push_back(&items_.at(line.back()->node.parents.front()));
  }
  std::reverse(line.begin(), line.end());
  for (const Item* one : line) {
    if (one->node.parents.empty()) {
      const std::filesystem::path path(one->node.source_path);
      member.places.push_back(std::filesystem::absolute(path).lexically_normal().parent_path());
    } else if (one->image_file) {
      std::string folder = std::to_string(one->node.parents.front());
      for (std::size_t i = 0; i + 1 < one->node.path.size(); ++i) {
        folder += "/" + one->node.path[i];
        member.places.push_back(folder);
      }
    }
    member.places.push_back("#" + std::to_string(one->node.id));
  }
  return member;
}

std::shared_ptr<const Tree> Graph::publish() const {
  auto tree = std::make_shared<Tree>();
  for (const auto& [id, item] : items_) {
    tree->nodes.emplace(id, std::make_shared<const Node>(item.node));
    if (item.node.parents.empty()) tree->roots.push_back(id);
  }
  return tree;
}

}  // namespace peelfs
