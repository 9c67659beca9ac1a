#include "cli/unmet.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "cli/secrets.h"
#include "cli/verb.h"
#include "peelfs/budget.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

std::string key_text(const std::vector<KeyOrigin>& keys, std::size_t number) {
  return number < keys.size() ? origin_text(keys[number]) : "a key that was given";
}

/// Whether a device is, or may be, a volume that opens with a key, and was not opened.
bool is_closed(const Node& node) {
  static constexpr std::array<std::string_view, 3> kFormats{"crypto_LUKS", "BitLocker", "fvault2"};
  if (!node.trouble || !node.children.empty()) return false;
  // What the host did not let look at may be one.
  if (node.format.empty() && node.trouble->state == Trouble::denied) return true;
  return std::find(kFormats.begin(), kFormats.end(), node.format) != kFormats.end();
}

/// "b is damaged", "b is denied", or why keys were not tried on it
std::string closed_text(const std::string& name, const Trouble& trouble) {
  if (trouble.state == Trouble::note || trouble.state == Trouble::locked) {
    return name + ": " + trouble.reason;
  }
  return name + " is " + std::string(state_name(trouble.state));
}

/// Why a key could not be tried on the first volume that is not open; empty: there is none.
/// @param tried whether it was tried on those that are locked
std::string first_closed(const Catalog& catalog, bool tried) {
  for (const Catalog::Entry& entry : catalog.devices()) {
    if (!is_closed(*entry.node)) continue;
    const bool was_left_out =
        entry.node->trouble->reason.find(spent_reason(Budget::Kind::kdf_milliseconds)) !=
        std::string::npos;
    if (tried && !was_left_out && entry.node->trouble->state == Trouble::locked) continue;
    return closed_text(entry.name, *entry.node->trouble);
  }
  return "";
}

/// @return what is wrong with a key that opened nothing; empty: nothing
std::string complaint(const Peeling& peeling, const KeyRing::Use& use, const std::string& key) {
  const auto catalog = peeling.catalog();
  if (!use.wanted && !use.others.empty()) {
    return key + " opens nothing: " +
           Peeling::wrong_kind_text(
               use.whose.empty() ? "what is locked" : "'" + printable(use.whose) + "'", use);
  }
  if (use.whose.empty()) {
    const std::string closed = first_closed(*catalog, use.failed);
    const std::string untried =
        closed.empty() ? "" : "; it could not be tried everywhere: " + closed;
    if (use.failed) {
      return key + " opens nothing: no device " + (closed.empty() ? "" : "that it was tried on ") +
             "takes it" + untried;
    }
    if (!closed.empty()) return key + " opens nothing" + untried;
    // One that was wanted and never tried came behind one that fits.
    if (use.wanted) return "";
    return key + " opens nothing: no device " +
           (peeling.failed_sources() == 0 ? "" : "that could be opened ") + "needs a key";
  }
  const std::string name = "'" + printable(use.whose) + "'";
  const Catalog::Entry* entry = catalog->find(use.whose);
  if (use.failed) return key + ", given for " + name + ", does not open it";
  if (entry != nullptr && is_closed(*entry->node)) {
    return key + ", given for " + name +
           ", could not be tried: " + closed_text(entry->name, *entry->node->trouble);
  }
  if (use.wanted) {
    const bool locked =
        entry != nullptr && entry->node->trouble && entry->node->trouble->state == Trouble::locked;
    return locked ? key + ", given for " + name + ", was not tried: " + entry->node->trouble->reason
                  : "";
  }
  if (entry != nullptr) {
    return key + ", given for " + name + ", opens nothing: " + entry->name + " needs no key";
  }
  return "no device is called " + name + ", for which --key gives a key; there are " +
         Peeling::names_text(*catalog) + locked_hint(peeling);
}

}  // namespace

void find_unmet_keys(const std::vector<KeyOrigin>& keys, Peeling& peeling) {
  const std::vector<KeyRing::Use> uses = peeling.keys()->uses();
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (uses[i].opened) continue;
    if (std::string what = complaint(peeling, uses[i], key_text(keys, i)); !what.empty()) {
      peeling.add_unmet(std::move(what));
    }
  }
}

std::string locked_hint(const Peeling& peeling) {
  const auto locked = peeling.locked();
  if (locked.empty()) return "";
  return "; it may lie within " + locked.front().name + ", which is locked";
}

int code_for(const Peeling& peeling, int code) {
  return code == exit_code::kOk && !peeling.complete() ? exit_code::kIncomplete : code;
}

}  // namespace peelfs::cli
