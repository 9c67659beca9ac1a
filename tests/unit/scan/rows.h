// Small layers for tests of the scanner: a device begins with a line of words, MAGIC ARGUMENT...
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "host/source.h"
#include "peelfs/devices.h"
#include "peelfs/formats.h"
#include "peelfs/io.h"
#include "scan/scanner.h"
#include "support/support.h"

namespace peelfs::test {

inline std::string first_word(const BlockDevice& device) {
  const Buffer head = read_up_to(device, 0, 64);
  std::istringstream text(ByteReader(head, "head").text(0, head.size()));
  std::string word;
  text >> word;
  return word;
}

template <const char* kMagic>
std::optional<Claim> probe_word(const ProbeInput& input) {
  if (first_word(input.device) != kMagic) return std::nullopt;
  Claim claim;
  claim.format = kMagic;
  return claim;
}

/// The device behind the first 512 bytes.
inline Inner behind_head(const Member& member, std::string kind, std::string name) {
  Inner inner;
  inner.kind = std::move(kind);
  inner.name = std::move(name);
  inner.path = {inner.name};
  inner.device = make_slice(member.device, 512, member.device->size() - 512, "rest");
  return inner;
}

inline Buffer block(const std::string& head, const Buffer& content) {
  Buffer bytes(512 + content.size());
  std::copy_n(as_bytes(head).data(), head.size(), bytes.data());
  std::copy(content.begin(), content.end(), bytes.begin() + 512);
  return bytes;
}

/// One line a device, in the order of the tree: "name(kind,state) < parents".
inline std::string printed(const Tree& tree) {
  std::ostringstream text;
  for (const auto& [id, node] : tree.nodes) {
    text << node->name << "(" << node->kind;
    if (node->hidden) text << ",hidden";
    if (node->trouble) text << "," << node->trouble->state;
    text << ")";
    for (const std::uint64_t parent : node->parents) text << " < " << tree.at(parent).name;
    text << "\n";
  }
  return text.str();
}

inline const Node* find_node(const Tree& tree, const std::string& name) {
  for (const auto& [id, node] : tree.nodes) {
    if (node->name == name && !node->hidden) return node.get();
  }
  return nullptr;
}

/// "denied: the reason"; "": none
inline std::string trouble_of(const Tree& tree, const std::string& name) {
  const Node* const node = find_node(tree, name);
  if (node == nullptr) return "no " + name;
  return node->trouble ? text_of(*node->trouble) : "";
}

}  // namespace peelfs::test
