#include "cli/unmet.h"

#include <string>
#include <vector>

#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// "the key in file k.txt": where a secret came from, never the secret.
std::string key_text(const Command& command, std::size_t number) {
  if (number >= command.from.keys.size()) return "a key that was given";
  const KeyOrigin& origin = command.from.keys[number];
  switch (origin.kind) {
    case KeyOrigin::Kind::descriptor:
      return "the key of descriptor " + std::to_string(origin.descriptor);
    case KeyOrigin::Kind::environment:
      return "the key in variable " + printable(origin.place);
    case KeyOrigin::Kind::file:
      break;
  }
  return origin.place == "-" ? "the key on standard input"
                             : "the key in " + printable(origin.place);
}

std::string hint(const Peeling& peeling) {
  const auto locked = peeling.locked();
  if (locked.empty()) return "";
  return "; it may lie within " + locked.front().name + ", which is locked";
}

/// @return what is wrong with a key that opened nothing; empty: nothing
std::string complaint(const Peeling& peeling, const KeyRing::Use& use, const std::string& key) {
  const auto catalog = peeling.catalog();
  if (use.whose.empty()) {
    if (use.failed) return key + " opens nothing: no device takes it";
    // One that was wanted and never tried came behind one that fits.
    return use.wanted ? "" : key + " opens nothing: no device needs a key";
  }
  const std::string name = "'" + printable(use.whose) + "'";
  const Catalog::Entry* entry = catalog->find(use.whose);
  if (use.failed) return key + ", given for " + name + ", does not open it";
  if (use.wanted) {
    const bool locked =
        entry != nullptr && entry->node->trouble && entry->node->trouble->state == "locked";
    return locked ? key + ", given for " + name + ", was not tried: " + entry->node->trouble->reason
                  : "";
  }
  if (entry != nullptr) {
    return key + ", given for " + name + ", opens nothing: " + entry->name + " needs no key";
  }
  return "no device is called " + name + ", for which --key gives a key; there are " +
         Peeling::names_text(*catalog) + hint(peeling);
}

}  // namespace

void find_unmet(const Command& command, Peeling& peeling) {
  const std::vector<KeyRing::Use> uses = peeling.keys()->uses();
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (uses[i].opened) continue;
    if (std::string what = complaint(peeling, uses[i], key_text(command, i)); !what.empty()) {
      peeling.add_unmet(std::move(what));
    }
  }
  if (command.verb != Verb::mount) return;
  const auto catalog = peeling.catalog();
  for (const std::string& name : command.mount.writable_containers) {
    if (catalog->find(name) != nullptr) continue;
    peeling.add_unmet("no device is called '" + printable(name) +
                      "', which -o writable= names; there are " + Peeling::names_text(*catalog) +
                      hint(peeling));
  }
}

int code_for(const Peeling& peeling, int code) {
  return code == exit_code::ok && !peeling.complete() ? exit_code::incomplete : code;
}

}  // namespace peelfs::cli
