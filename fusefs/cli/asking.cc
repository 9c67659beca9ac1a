#include "cli/asking.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/secrets.h"
#include "cli/text.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr int kTries = 3;

/// "Passphrase for kvmos (crypto_LUKS, 108M, UUID a9077731-...): "
std::string question_for(const Catalog::Entry& entry) {
  const Node& node = *entry.node;
  const std::string& format = node.format.empty() ? node.identity.type : node.format;
  std::string details = format.empty() ? node.kind : format;
  details += ", " + human_size(node.device->size());
  if (!node.identity.uuid.empty()) details += ", UUID " + node.identity.uuid;
  if (!node.identity.label.empty()) details += ", label " + node.identity.label;
  return shown("Passphrase for " + entry.name + " (" + details + "): ");
}

bool lacks_a_member(const Tree& tree, const Node& node) {
  const bool incomplete = node.trouble && (node.trouble->state == Trouble::missing ||
                                           node.trouble->state == Trouble::degraded);
  if (incomplete && node.group_incomplete) return true;
  std::vector<std::uint64_t> pending(node.parents);
  std::set<std::uint64_t> seen;
  while (!pending.empty()) {
    const std::uint64_t id = pending.back();
    pending.pop_back();
    if (!seen.insert(id).second) continue;
    const Node& parent = tree.at(id);
    if (parent.group_incomplete) return true;
    pending.insert(pending.end(), parent.parents.begin(), parent.parents.end());
  }
  return false;
}

/// Whether the name of a device says that it lies in this locked one: "kvmos_crypt" in kvmos,
/// "os43" in os43.qcow2, by-path/a/crypt in a.
bool is_named_within(const Catalog& catalog, const Catalog::Entry& locked,
                     const std::string& wanted) {
  const Node& node = *locked.node;
  if (wanted.starts_with("by-path/")) {
    return std::any_of(catalog.links().begin(), catalog.links().end(), [&](const Link& link) {
      const bool own = link.name == "device" || link.name == "file";
      const std::string place = own ? link.directory : link.directory + "/" + link.name;
      return link.target.ends_with("/" + locked.name) && wanted.starts_with(place + "/");
    });
  }
  const std::string inside = node.kind == "file" ? node.stem : node.tail + "_crypt";
  return wanted.starts_with(inside) || wanted.find("." + inside) != std::string::npos;
}

/// The locked devices that must be opened for a device to be there, and whole, as far as that can
/// be told.
std::vector<Catalog::Entry> on_the_way(const Peeling& peeling, const std::string& wanted) {
  const auto catalog = peeling.catalog();
  std::vector<Catalog::Entry> locked = peeling.locked();
  if (const Catalog::Entry* there = catalog->find(wanted)) {
    // A member that it lacks may be in any of them.
    return lacks_a_member(catalog->tree(), *there->node) ? locked : std::vector<Catalog::Entry>{};
  }
  std::vector<Catalog::Entry> named;
  for (const Catalog::Entry& entry : locked) {
    if (is_named_within(*catalog, entry, wanted)) named.push_back(entry);
  }
  return named.empty() ? locked : named;
}

/// Asks until nothing is locked that the person has not left locked.
class Asking {
 public:
  Asking(Peeling& peeling, Terminal terminal, std::string wanted)
      : peeling_(peeling), terminal_(std::move(terminal)), wanted_(std::move(wanted)) {}

  void run() {
    for (;;) {
      const auto locked = wanted_.empty() ? peeling_.locked() : on_the_way(peeling_, wanted_);
      const auto next = std::find_if(locked.begin(), locked.end(), [&](const auto& entry) {
        return !asked_.contains(entry.name);
      });
      if (next == locked.end()) return;
      // Copied: the unlocking of others may publish a new catalogue meanwhile.
      const Catalog::Entry entry = *next;
      if (try_accepted(entry.name)) continue;
      asked_.insert(entry.name);
      if (ask(entry)) try_accepted_on_all();
    }
  }

 private:
  bool ask(const Catalog::Entry& entry) {
    for (int attempt = 1; attempt <= kTries; ++attempt) {
      std::optional<Secret> secret = terminal_.ask(question_for(entry));
      if (!secret) {
        terminal_.say(shown(entry.name + " stays locked.") + "\n");
        return false;
      }
      const std::optional<std::string> why_not = peeling_.unlock(entry.name, secret->clone());
      if (!why_not) {
        accepted_.push_back(*std::move(secret));
        return true;
      }
      terminal_.say(shown(*why_not) + "\n");
    }
    terminal_.say(shown(entry.name + " stays locked after " + std::to_string(kTries) + " tries.") +
                  "\n");
    return false;
  }

  void try_accepted_on_all() {
    for (const Catalog::Entry& entry : peeling_.locked()) {
      try {
        try_accepted(entry.name);
      } catch (const Error& error) {
        // Opening one may have opened or replaced this one: a VG that is complete now.
        if (error.fault() != Fault::usage) throw;
      }
    }
  }

  /// Tries what opened other devices, each passphrase once on each device.
  bool try_accepted(const std::string& name) {
    std::size_t& tried = tried_[name];
    while (tried < accepted_.size()) {
      if (!peeling_.unlock(name, accepted_[tried++].clone())) {
        terminal_.say(shown(name + " opens with the same passphrase.") + "\n");
        return true;
      }
    }
    return false;
  }

  Peeling& peeling_;
  Terminal terminal_;
  const std::string wanted_;
  std::vector<Secret> accepted_;
  std::map<std::string, std::size_t> tried_;
  std::set<std::string> asked_;
};

}  // namespace

void ask_for_locked(Peeling& peeling, const std::string& wanted) {
  if (peeling.locked().empty() || (!wanted.empty() && on_the_way(peeling, wanted).empty())) return;
  if (auto terminal = Terminal::open()) Asking(peeling, *std::move(terminal), wanted).run();
}

}  // namespace peelfs::cli
