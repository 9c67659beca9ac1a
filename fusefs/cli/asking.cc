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

/// Asks until nothing is locked that the person has not left locked.
class Asking {
 public:
  Asking(Peeling& peeling, Terminal terminal) : peeling_(peeling), terminal_(std::move(terminal)) {}

  void run() {
    for (;;) {
      const auto locked = peeling_.locked();
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
  std::vector<Secret> accepted_;
  std::map<std::string, std::size_t> tried_;
  std::set<std::string> asked_;
};

}  // namespace

void ask_for_locked(Peeling& peeling) {
  if (peeling.locked().empty()) return;
  if (auto terminal = Terminal::open()) Asking(peeling, *std::move(terminal)).run();
}

}  // namespace peelfs::cli
