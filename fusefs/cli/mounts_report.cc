#include "cli/mounts_report.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "cli/kept_overlays.h"
#include "cli/text.h"
#include "cli/text_table.h"
#include "mount/control_client.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

using Json = nlohmann::ordered_json;

Json sized(const std::vector<std::string>& overlays) {
  Json result = Json::array();
  for (const std::string& path : overlays) {
    result.push_back({{"path", path}, {"size", allocated_bytes(path)}});
  }
  return result;
}

/// Why the process of a mount does not say what it is: a word, as of a device.
const char* state_of(const Error& error) {
  if (error.error_number() == ETIMEDOUT) return "hangs";
  if (error.error_number() == ENOTCONN) return "dead";
  return error.fault() == Fault::denied ? "denied" : "unknown";
}

Json look_at(const MountEntry& mount, std::chrono::seconds patience) {
  Json result;
  result["mountpoint"] = mount.mountpoint;
  result["user"] = nullptr;
  if (const auto user = mount.id_option("user_id")) result["user"] = *user;
  try {
    Json status = Json::parse(request_status(mount, false, patience));
    result["sources"] = std::move(status.at("sources"));
    result["writes"] = std::move(status.at("writes"));
    result["overlays"] = sized(status.at("overlays").get<std::vector<std::string>>());
    result["pid"] = status.at("pid");
    result["state"] = nullptr;
    result["reason"] = nullptr;
  } catch (const Error& error) {
    // What the person named, as far as it is known: the first column of mount(8).
    result["sources"] = Json::array({mount.source});
    result["writes"] = nullptr;
    result["state"] = state_of(error);
    result["reason"] = error.what();
  } catch (const Json::exception& error) {
    result["sources"] = Json::array({mount.source});
    result["writes"] = nullptr;
    result["state"] = "unknown";
    result["reason"] = std::string("its process answers what is not understood: ") + error.what();
  }
  return result;
}

Json kept_document(const std::vector<KeptFolder>& folders) {
  Json result = Json::array();
  for (const KeptFolder& folder : folders) {
    Json overlays = Json::array();
    for (const KeptOverlay& one : folder.overlays) {
      overlays.push_back(
          {{"path", one.path},
           {"source", one.source.empty() ? Json(nullptr) : Json(one.source)},
           {"size", one.bytes},
           {"changed", one.why_not.empty() ? Json(one.holds_changes) : Json(nullptr)},
           {"holder", one.holder.empty() ? Json(nullptr) : Json(one.holder)},
           {"reason", one.why_not.empty() ? Json(nullptr) : Json(one.why_not)}});
    }
    result.push_back({{"directory", folder.path},
                      {"age", folder.age.count()},
                      {"size", folder.bytes()},
                      {"droppable", folder.is_droppable()},
                      {"overlays", std::move(overlays)},
                      {"reason", folder.why_not.empty() ? Json(nullptr) : Json(folder.why_not)}});
  }
  return result;
}

std::string age_text(std::uint64_t seconds) {
  constexpr std::uint64_t kMinute = 60;
  constexpr std::uint64_t kHour = 60 * kMinute;
  constexpr std::uint64_t kDay = 24 * kHour;
  if (seconds < kHour) return std::to_string(seconds / kMinute) + " min";
  if (seconds < 2 * kDay) return std::to_string(seconds / kHour) + " h";
  return std::to_string(seconds / kDay) + " days";
}

std::string size_text(std::uint64_t size, bool bytes) {
  return bytes ? std::to_string(size) : human_size(size);
}

std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

/// "disk.img" or "a.img, b.img and 3 more"
std::string names_text(const std::vector<std::string>& paths) {
  constexpr std::size_t kMost = 2;
  std::string text;
  for (std::size_t i = 0; i < std::min(paths.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + file_name(paths[i]);
  }
  if (paths.size() > kMost) text += " and " + std::to_string(paths.size() - kMost) + " more";
  return shown(text);
}

/// A line below a table.
std::string remark(const std::string& about, const std::string& text, std::size_t width) {
  constexpr std::size_t kIndent = 2;
  return wrapped(shown(about + ": " + text), width, kIndent) + "\n";
}

std::string mounts_table(const Json& mounts, std::size_t width, bool bytes, bool colors) {
  TextTable table({{.heading = "MOUNTPOINT"},
                   {.heading = "SOURCE"},
                   {.heading = "WRITES TO"},
                   {.heading = "SIZE", .right = true},
                   {.heading = "STATE"}});
  std::string remarks;
  for (const Json& mount : mounts) {
    const auto point = mount.at("mountpoint").get<std::string>();
    const auto sources = mount.at("sources").get<std::vector<std::string>>();
    std::string writes;
    std::string size;
    if (mount.at("writes").is_string()) {
      writes = mount.at("writes").get<std::string>();
      if (writes == "nowhere") writes = "-";
      const Json& overlays = mount.at("overlays");
      std::uint64_t sum = 0;
      for (const Json& overlay : overlays) sum += overlay.at("size").get<std::uint64_t>();
      if (!overlays.empty()) {
        size = size_text(sum, bytes);
        const auto path = overlays.front().at("path").get<std::string>();
        remarks += remark(point,
                          (overlays.size() > 1 ? "its overlays are in " : "its overlay is in ") +
                              path.substr(0, path.rfind('/')),
                          width);
      }
    }
    const std::string state =
        mount.at("state").is_string() ? mount.at("state").get<std::string>() : "";
    if (!state.empty()) {
      remarks += remark(point, state + ": " + mount.at("reason").get<std::string>(), width);
    }
    const Ink ink = state == "denied" ? Ink::plain : Ink::bad;
    table.add({{shown(point)}, {names_text(sources)}, {writes}, {size}, {state, ink}});
  }
  std::string text = table.text({.width = width, .colors = colors});
  if (!remarks.empty()) text += "\n" + remarks;
  return text;
}

std::string kept_table(const Json& kept, std::size_t width, bool bytes) {
  TextTable table({{.heading = "KEPT BY TRY"},
                   {.heading = "SOURCE"},
                   {.heading = "AGE", .right = true},
                   {.heading = "SIZE", .right = true}});
  std::string remarks;
  std::uint64_t sum = 0;
  std::size_t droppable = 0;
  std::string example;
  for (const Json& folder : kept) {
    const auto directory = folder.at("directory").get<std::string>();
    std::vector<std::string> sources;
    for (const Json& one : folder.at("overlays")) {
      if (one.at("source").is_string()) sources.push_back(one.at("source").get<std::string>());
      for (const char* key : {"holder", "reason"}) {
        if (!one.at(key).is_string()) continue;
        remarks += remark(one.at("path").get<std::string>(), one.at(key).get<std::string>(), width);
      }
    }
    if (folder.at("reason").is_string()) {
      remarks += remark(directory, folder.at("reason").get<std::string>(), width);
    }
    if (folder.at("droppable").get<bool>()) {
      ++droppable;
      sum += folder.at("size").get<std::uint64_t>();
      if (example.empty()) example = directory;
    }
    table.add({{shown(directory)},
               {names_text(sources)},
               {age_text(folder.at("age").get<std::uint64_t>())},
               {size_text(folder.at("size").get<std::uint64_t>(), bytes)}});
  }
  std::string text = table.text({.width = width});
  if (!remarks.empty()) text += "\n" + remarks;
  if (droppable == 0) return text;
  return text + "\n" +
         wrapped("peelfs drop frees " + size_text(sum, bytes) +
                     (droppable > 1 ? " in all; for the first: " : ": ") +
                     shown(shell_line({"peelfs", "drop", "--overlay", example})),
                 width, 2) +
         "\n";
}

}  // namespace

Json mounts_document(std::chrono::seconds patience, std::vector<std::string> places) {
  const std::vector<MountEntry> mounts = peelfs_mounts();
  std::vector<Json> looked(mounts.size());
  std::vector<std::thread> threads;
  threads.reserve(mounts.size());
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    threads.emplace_back([&, i] { looked[i] = look_at(mounts[i], patience); });
  }
  for (std::thread& thread : threads) thread.join();
  Json document;
  document["mounts"] = std::move(looked);
  document["kept"] = kept_document(kept_overlays(std::move(places)));
  return document;
}

std::string mounts_text(const Json& document, std::size_t width, bool bytes, bool colors) {
  const Json& mounts = document.at("mounts");
  const Json& kept = document.at("kept");
  std::string text = mounts.empty() ? "nothing is mounted by peelfs\n"
                                    : mounts_table(mounts, width, bytes, colors);
  if (!kept.empty()) text += "\n" + kept_table(kept, width, bytes);
  return text;
}

}  // namespace peelfs::cli
