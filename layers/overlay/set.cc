#include "overlay/set.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "host/image_lock.h"
#include "overlay/cover.h"
#include "overlay/hex_digits.h"
#include "overlay/own_file.h"
#include "peelfs/error.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {

namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;

std::string new_id() {
  std::array<unsigned char, 8> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error::system(errno, "no random number for an overlay");
  }
  return hex_digits(bytes);
}

Buffer encode(const Membership& membership) {
  nlohmann::ordered_json json;
  json["version"] = kVersion;
  json["id"] = membership.id;
  json["others"] = nlohmann::ordered_json::array();
  for (const Membership::Other& other : membership.others) {
    json["others"].push_back({other.id, other.name});
  }
  const std::string text =
      json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

void store(const BlockDevice& image, const Membership& membership) {
  qcow2::write_extension(image, {kSetExtension, encode(membership)});
}

std::string name_of(const std::string& path) {
  return fs::path(path).filename().string();
}

/// Adds those that are not known yet. @return whether there were any
bool add(std::vector<Membership::Other>& others, const Membership::Other& one,
         const std::string& self) {
  const auto same = [&](const Membership::Other& other) { return other.id == one.id; };
  if (one.id == self || std::any_of(others.begin(), others.end(), same)) return false;
  others.push_back(one);
  return true;
}

/// The overlays of a directory that know of others, as a graph.
class Graph {
 public:
  Graph(const std::string& directory, const std::vector<std::string>& chosen) {
    std::set<std::string> names;
    for (const std::string& path : chosen) {
      names.insert(name_of(path));
      insert(path, membership_of(*make_storage_device(open_overlay_file(path))), true);
    }
    for (const std::string& path : overlays_in(directory)) {
      if (names.contains(name_of(path))) continue;
      try {
        insert(path, membership_of(*make_storage_device(open_overlay_file(path))), false);
      } catch (const Error&) {
        continue;  // the overlays that belong to it name it, too
      }
    }
  }

  /// The ids that can be reached from the chosen ones, without them.
  std::set<std::string> reached() const {
    std::set<std::string> seen;
    std::vector<std::string> waiting(chosen_.begin(), chosen_.end());
    while (!waiting.empty()) {
      const std::string id = std::move(waiting.back());
      waiting.pop_back();
      if (!seen.insert(id).second) continue;
      for (const auto& [from, to] : edges_) {
        if (from == id) waiting.push_back(to);
        if (to == id) waiting.push_back(from);
      }
    }
    for (const std::string& id : chosen_) seen.erase(id);
    return seen;
  }

  const std::string* path_of(const std::string& id) const {
    const auto found = paths_.find(id);
    return found == paths_.end() ? nullptr : &found->second;
  }
  const std::string& name_of_lost(const std::string& id) const { return names_.at(id); }
  const std::set<std::string>& chosen() const { return chosen_; }

 private:
  void insert(const std::string& path, const Membership& membership, bool chosen) {
    if (membership.id.empty()) return;
    paths_[membership.id] = path;
    if (chosen) chosen_.insert(membership.id);
    for (const Membership::Other& other : membership.others) {
      edges_.emplace_back(membership.id, other.id);
      names_.emplace(other.id, other.name);
    }
  }

  std::map<std::string, std::string> paths_;
  std::map<std::string, std::string> names_;
  std::vector<std::pair<std::string, std::string>> edges_;
  std::set<std::string> chosen_;
};

/// An overlay that is about to be changed.
struct Held {
  std::shared_ptr<const HostFile> file;
  DevicePtr image;
};

Held hold(const std::string& path) {
  Held held{open_overlay_file(path, HostFile::Access::read_write), nullptr};
  lock_image(*held.file, ImageUse::written);
  held.image = make_storage_device(held.file);
  return held;
}

/// Forgets all other overlays but those.
void keep_only(const BlockDevice& image, const std::set<std::string>& kept) {
  Membership membership = membership_of(image);
  const auto gone = [&](const Membership::Other& other) { return !kept.contains(other.id); };
  if (std::erase_if(membership.others, gone) != 0) store(image, membership);
}

}  // namespace

Membership membership_of(const BlockDevice& image) {
  const auto stored = qcow2::read_extension(image, kSetExtension);
  if (!stored) return {};
  try {
    const auto json = nlohmann::json::parse(as_text(*stored));
    if (json.at("version").get<int>() != kVersion) {
      throw Error(Fault::unsupported, "the overlay was made by a newer peelfs")
          .found("a set of version " + std::to_string(json.at("version").get<int>()))
          .expected(std::to_string(kVersion));
    }
    Membership result;
    result.id = json.at("id").get<std::string>();
    for (const auto& other : json.at("others")) {
      result.others.push_back({other.at(0).get<std::string>(), other.at(1).get<std::string>()});
    }
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw Error(Fault::damaged, "what the overlay says of others cannot be understood")
        .found(error.what());
  }
}

std::vector<std::string> join(const std::vector<const OpenedOverlay*>& overlays) {
  if (overlays.size() < 2) return {};
  std::vector<Membership> known;
  std::vector<Membership::Other> all;
  for (const OpenedOverlay* const overlay : overlays) {
    known.push_back(membership_of(*overlay->image));
    if (known.back().id.empty()) known.back().id = new_id();
    add(all, {known.back().id, name_of(overlay->path)}, "");
  }
  for (const Membership& one : known) {
    for (const Membership::Other& other : one.others) add(all, other, "");
  }
  std::vector<std::string> remarks;
  for (std::size_t i = 0; i < overlays.size(); ++i) {
    bool news = false;
    for (const Membership::Other& one : all) news = add(known[i].others, one, known[i].id) || news;
    if (!news) continue;
    try {
      store(*overlays[i]->image, known[i]);
    } catch (const Error& error) {
      if (error.fault() == Fault::io) throw;
      remarks.push_back(
          "overlay " + overlays[i]->path +
          " has no room for a note of those that it is written together with: " + error.what());
    }
  }
  return remarks;
}

std::vector<LeftOut> left_out(const std::string& directory,
                              const std::vector<std::string>& chosen) {
  const Graph graph(directory, chosen);
  std::vector<LeftOut> result;
  for (const std::string& id : graph.reached()) {
    LeftOut one;
    if (const std::string* const path = graph.path_of(id)) {
      one.path = *path;
      one.there = true;
      one.source = source_of(*make_storage_device(open_overlay_file(*path)));
      one.changed = holds_changes(*path);
    } else {
      one.path = directory + (directory.ends_with('/') ? "" : "/") + graph.name_of_lost(id);
    }
    result.push_back(std::move(one));
  }
  std::sort(result.begin(), result.end(),
            [](const LeftOut& a, const LeftOut& b) { return a.path < b.path; });
  return result;
}

bool holds_changes(const std::string& path) {
  try {
    const DevicePtr disk =
        qcow2::open_overlay(make_storage_device(open_overlay_file(path)), nullptr, path);
    for (std::uint64_t at = 0; at < disk->size();) {
      const auto run = qcow2::overlay_status(*disk, at, disk->size() - at);
      if (run.status != qcow2::OverlayStatus::unchanged) return true;
      at += run.length;
    }
    return false;
  } catch (const Error&) {
    return true;  // it may be in the middle of a write, so do not take it for empty
  }
}

std::vector<LeftOut> torn_off(const std::string& directory, const std::vector<std::string>& chosen,
                              bool begun) {
  std::vector<LeftOut> others = left_out(directory, chosen);
  std::erase_if(others, [&](const LeftOut& one) { return !one.changed || (!one.there && begun); });
  if (others.empty() || std::any_of(chosen.begin(), chosen.end(), holds_changes)) return others;
  return {};
}

void part(const std::string& directory, const std::vector<std::string>& chosen) {
  const Graph graph(directory, chosen);
  const std::set<std::string> others = graph.reached();
  if (others.empty()) return;
  std::vector<Held> rest;
  for (const std::string& id : others) {
    if (const std::string* const path = graph.path_of(id)) rest.push_back(hold(*path));
  }
  for (const std::string& path : chosen) {
    keep_only(*make_storage_device(open_overlay_file(path, HostFile::Access::read_write)),
              graph.chosen());
  }
  for (const Held& one : rest) keep_only(*one.image, others);
}

std::vector<std::string> with_left_out(std::vector<std::string> sources,
                                       const std::vector<LeftOut>& overlays) {
  for (const LeftOut& one : overlays) {
    if (one.there && !one.source.empty()) sources.push_back(argument_for(one.path));
  }
  return sources;
}

std::string how_to_complete(const std::vector<LeftOut>& overlays, const std::string& whole) {
  const bool lost =
      std::any_of(overlays.begin(), overlays.end(), [](const LeftOut& one) { return !one.there; });
  return std::string(lost ? "bring back what is gone, and name" : "name") +
         " all of them: " + whole + "; to take a part all the same, say --accept-part";
}

std::string describe(const std::vector<LeftOut>& overlays) {
  std::string text;
  for (std::size_t i = 0; i < overlays.size(); ++i) {
    if (i != 0) text += i + 1 == overlays.size() ? " and " : ", ";
    const LeftOut& one = overlays[i];
    text += one.path;
    if (!one.there) text += " (which is not there any more)";
    if (one.there && !one.source.empty()) text += " (of " + printable(one.source) + ")";
  }
  return text;
}

}  // namespace peelfs::overlay
