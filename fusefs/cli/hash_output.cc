#include "cli/hash_output.h"

#include <nlohmann/json.hpp>

namespace peelfs::cli {
namespace {

using Json = nlohmann::ordered_json;

Json digests_object(const HashedPiece& piece, const HashOutput& output) {
  if (piece.failure != nullptr) return nullptr;
  Json object;
  for (std::size_t i = 0; i < output.algorithms.size(); ++i) {
    object[std::string(output.algorithms[i]->name)] = piece.digests[i];
  }
  return object;
}

void add_trouble(Json& object, const Trouble& trouble) {
  object["state"] = state_name(trouble.state);
  object["reason"] = trouble.reason;
}

Json device_object(const HashedDevice& hashed, const HashOutput& output) {
  Json object;
  object["name"] = hashed.device.name;
  object["size"] = hashed.device.node->device->size();
  if (hashed.device.refusal || hashed.pieces.empty()) {
    object["digests"] = nullptr;
    if (hashed.device.refusal) add_trouble(object, *hashed.device.refusal);
    return object;
  }
  if (!output.by_piece) {
    const HashedPiece& whole = hashed.pieces.front();
    object["digests"] = digests_object(whole, output);
    if (whole.failure != nullptr) {
      add_trouble(object, *whole.failure);
    } else if (hashed.device.node->trouble) {
      add_trouble(object, *hashed.device.node->trouble);
    }
    return object;
  }
  Json pieces = Json::array();
  for (std::size_t i = 0; i < hashed.pieces.size(); ++i) {
    Json piece;
    piece["offset"] = hashed.ranges[i].offset;
    piece["length"] = hashed.ranges[i].length;
    piece["digests"] = digests_object(hashed.pieces[i], output);
    if (hashed.pieces[i].failure != nullptr) add_trouble(piece, *hashed.pieces[i].failure);
    pieces.push_back(std::move(piece));
  }
  object["pieces"] = std::move(pieces);
  return object;
}

}  // namespace

std::string digest_lines(const std::vector<HashedDevice>& devices, const HashOutput& output) {
  std::string text;
  for (const HashedDevice& hashed : devices) {
    for (std::size_t i = 0; i < hashed.pieces.size(); ++i) {
      const HashedPiece& piece = hashed.pieces[i];
      if (piece.failure != nullptr) continue;
      const std::string name =
          output.by_piece ? piece_name(hashed.device.name, hashed.ranges[i]) : hashed.device.name;
      for (std::size_t a = 0; a < output.algorithms.size(); ++a) {
        text += digest_line(*output.algorithms[a], piece.digests[a], name, output.format);
      }
    }
  }
  return text;
}

std::string digests_json(const std::vector<HashedDevice>& devices, const HashOutput& output,
                         const std::vector<std::string>& warnings) {
  Json document;
  document["devices"] = Json::array();
  for (const HashedDevice& hashed : devices) {
    document["devices"].push_back(device_object(hashed, output));
  }
  document["warnings"] = warnings;
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> missing_digests(const HashedDevice& hashed, bool by_piece) {
  const std::string& name = hashed.device.name;
  if (hashed.device.refusal) return {name + " has no digest: " + text_of(*hashed.device.refusal)};
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < hashed.pieces.size(); ++i) {
    const auto& failure = hashed.pieces[i].failure;
    if (failure == nullptr) continue;
    if (!by_piece) {
      sentences.push_back(name + " has no digest: " + text_of(*failure));
      continue;
    }
    ByteRange run = hashed.ranges[i];
    while (i + 1 < hashed.pieces.size() && hashed.pieces[i + 1].failure != nullptr &&
           hashed.pieces[i + 1].failure->reason == failure->reason) {
      ++i;
      run.length = hashed.ranges[i].offset + hashed.ranges[i].length - run.offset;
    }
    sentences.push_back(piece_name(name, run) + " has no digest: " + text_of(*failure));
  }
  return sentences;
}

}  // namespace peelfs::cli
