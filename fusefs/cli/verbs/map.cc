// `peelfs map`: where every byte of a device lives, exactly.
#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/groups/format.h"
#include "cli/groups/look.h"
#include "cli/operands.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "engine/missing.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/storage.h"

namespace peelfs::cli {
namespace {

struct MapOptions : LookOptions {
  std::string name;  ///< of the device
  bool json = false;
};

/// A run of a device whose bytes are of one sort and lie one behind the other.
struct MapRun {
  enum class Kind { data, hole, zero, computed, unreadable };
  Kind kind = Kind::zero;
  std::uint64_t start = 0;
  std::uint64_t length = 0;
  const Storage* storage = nullptr;  ///< data, hole
  std::uint64_t offset = 0;          ///< in `storage`
  std::string by;                    ///< computed: by which device; unreadable: why
  bool missing = false;              ///< unreadable: known to be so, as presence() has it

  /// Takes a run behind this one up into it. @return false when it is of another sort
  bool absorb(const MapRun& next) {
    const bool placed = kind == Kind::data || kind == Kind::hole;
    // Every entry of a damaged table has words of its own; those for the first byte are enough.
    const bool both_missing = missing && next.missing;
    if (next.kind != kind || next.storage != storage) return false;
    if (next.by != by && !both_missing) return false;
    if (placed && next.offset != offset + length) return false;
    length += next.length;
    return true;
  }
};

/// Damaged tables do not say how far the damage goes, other than what is known to be missing: it is
/// looked again this far on.
constexpr std::uint64_t kUnreadableStep = 64U << 10;

/// What a reader is told, of bytes that are computed from what is missing.
std::string why_missing(const BlockDevice& device, std::uint64_t at) {
  try {
    static_cast<void>(read_bytes(device, at, 1));
  } catch (const Error& error) {
    return error.what();
  }
  return "what it is computed from is missing";
}

MapRun run_at(const BlockDevice& device, std::uint64_t start, std::uint64_t length) {
  MapRun run;
  run.start = start;
  try {
    const Resolved found = resolve(device, start, length);
    run.length = found.extent.length;
    switch (found.extent.kind) {
      case ExtentKind::storage: {
        run.storage = found.extent.storage;
        run.offset = found.extent.offset;
        const Run stored = run.storage->status(run.offset, run.length);
        run.length = stored.length;
        run.kind = stored.data ? MapRun::Kind::data : MapRun::Kind::hole;
        break;
      }
      case ExtentKind::computed:
        run.kind = MapRun::Kind::computed;
        run.by = found.device->describe();
        if (const Presence there = presence(device, start, run.length); there.missing) {
          run.kind = MapRun::Kind::unreadable;
          run.missing = true;
          run.length = there.length;
          run.by = why_missing(device, start);
        } else {
          run.length = there.length;
        }
        break;
      default:
        run.kind = MapRun::Kind::zero;
    }
  } catch (const Error& error) {
    run.kind = MapRun::Kind::unreadable;
    const Presence there = presence(device, start, length);
    run.missing = there.missing;
    run.length =
        there.missing
            ? there.length
            : std::min(length, round_down(start, kUnreadableStep) + kUnreadableStep - start);
    run.by = error.what();
  }
  return run;
}

class Printer {
 public:
  explicit Printer(bool json) : json_(json) {
    if (json_) {
      put("[");
    } else {
      put("          OFFSET           LENGTH TYPE       WHERE\n");
    }
  }

  void print(const MapRun& run) {
    if (json_) {
      put((first_ ? "\n" : ",\n") +
          object(run).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      char numbers[64];
      std::snprintf(numbers, sizeof numbers, "%16" PRIu64 " %16" PRIu64 " ", run.start, run.length);
      const std::string where = shown(place(run));
      const std::string_view kind = word(run.kind);
      put(numbers + (where.empty() ? std::string(kind) : pad_right(kind, 11) + where) + "\n");
    }
    first_ = false;
  }

  void finish() const {
    if (json_) put(first_ ? "]\n" : "\n]\n");
    finish_output();
  }

 private:
  static std::string_view word(MapRun::Kind kind) {
    switch (kind) {
      case MapRun::Kind::data:
        return "data";
      case MapRun::Kind::hole:
        return "hole";
      case MapRun::Kind::zero:
        return "zero";
      case MapRun::Kind::computed:
        return "computed";
      case MapRun::Kind::unreadable:
        break;
    }
    return "unreadable";
  }

  static std::string place(const MapRun& run) {
    if (run.storage != nullptr) return std::to_string(run.offset) + " of " + run.storage->name();
    return run.kind == MapRun::Kind::computed ? "by " + run.by : run.by;
  }

  /// The keys that `qemu-img map --output=json` uses, and some more.
  static nlohmann::ordered_json object(const MapRun& run) {
    nlohmann::ordered_json result;
    const bool zero = run.kind == MapRun::Kind::zero || run.kind == MapRun::Kind::hole;
    result["start"] = run.start;
    result["length"] = run.length;
    result["type"] = word(run.kind);
    result["zero"] = zero;
    result["data"] = !zero && run.kind != MapRun::Kind::unreadable;
    if (run.storage != nullptr) {
      result["offset"] = run.offset;
      result["filename"] = run.storage->name();
    }
    if (run.kind == MapRun::Kind::computed) result["by"] = run.by;
    if (run.kind == MapRun::Kind::unreadable) result["reason"] = run.by;
    return result;
  }

  const bool json_;
  bool first_ = true;
};

constexpr const char* kBefore = R"(peelfs map [--json] SOURCE... NAME

Lists where every byte of the device NAME lives: in which file and at which offset
(data; hole where that file stores nothing), nowhere (zero), or computed (decrypted,
uncompressed). Exactly, through all layers.

  --timeout SECONDS       give up when a source leaves a question unanswered so long (60)
  -J, --json              JSON with the keys of qemu-img map
)";
constexpr const char* kAfter = R"(
Exit status: 0 all known; 1 some of it lies behind damaged tables; 2 nothing listed.

Example:
  peelfs map disk.qcow2 diskp1
)";
constexpr std::array<const char*, 7> kHelp{
    kBefore, kSourceHelp, kOverlayHelp, kAcceptSourceHelp, kAcceptSharedHelp, kLimitHelp, kAfter};

void bind(Parser& parser, MapOptions& options) {
  bind_look(parser, options);
  bind_json(parser, options.json);
}

void take(MapOptions& options, std::vector<std::string> operands) {
  take_sources_and_name(options.from.sources, options.name, std::move(operands));
}

int run(const MapOptions& options) {
  Opening opening = opening_of(options);
  opening.wanted = options.name;
  opening.patience->for_good = true;
  const auto peeling = open_session(opening);
  report_warnings(options.quiet, *peeling);
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, options.name);
  const BlockDevice& device = *entry.node->device;

  Printer printer(options.json);
  std::optional<MapRun> pending;
  bool complete = true;
  for (std::uint64_t at = 0; at < device.size();) {
    MapRun run = run_at(device, at, device.size() - at);
    at += run.length;
    complete = complete && run.kind != MapRun::Kind::unreadable;
    if (pending && pending->absorb(run)) continue;
    if (pending) printer.print(*pending);
    pending = std::move(run);
  }
  if (pending) printer.print(*pending);
  printer.finish();
  return code_for(*peeling, complete ? exit_code::kOk : exit_code::kIncomplete);
}

}  // namespace

extern const VerbRow kMapVerb{
    .word = "map",
    .line = "  peelfs map SOURCE... NAME             where each byte of a device lives\n",
    .help = kHelp,
    .actions = actions_of<MapOptions, bind, take, run>(),
};

}  // namespace peelfs::cli
