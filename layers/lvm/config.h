// Reading LVM2's text format with libdevmapper's parser.
#pragma once

#include <libdevmapper.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/mutex.h"

namespace peelfs::lvm {

/// A section or an entry of the text. Lives as long as its ConfigTree.
using ConfigNode = dm_config_node;

/// A parsed text. Holds libdevmapper's lock: its memory pools and its log function are shared by
/// the process, so there is one tree at a time.
class ConfigTree {
 public:
  /// @throws Error(Fault::damaged) with what the parser says; nothing reaches standard error
  explicit ConfigTree(const std::string& text);
  ~ConfigTree();
  ConfigTree(const ConfigTree&) = delete;
  ConfigTree& operator=(const ConfigTree&) = delete;

  /// The first section, which is the volume group; null when there is none.
  const ConfigNode* first_section() const noexcept;

 private:
  const MutexLock lock_;
  dm_config_tree* tree_;
};

/// The sections within a section, in the order of the text.
std::vector<const ConfigNode*> sections_of(const ConfigNode& section);
/// @return null when there is none
const ConfigNode* find_section(const ConfigNode& section, std::string_view name);

/// Entries of a section. @return nullopt when there is none of that name
/// @throws Error(Fault::damaged) when it is of another type or out of range
std::optional<std::string> find_text(const ConfigNode& section, std::string_view key);
std::optional<std::uint64_t> find_number(const ConfigNode& section, std::string_view key,
                                         std::uint64_t most);
/// Whether the list `key` of words ("status") holds `word`. A single word stands for a list of one.
bool list_holds(const ConfigNode& section, std::string_view key, std::string_view word);

/// The same, but the entry must be there.
std::string get_text(const ConfigNode& section, std::string_view key);
std::uint64_t get_number(const ConfigNode& section, std::string_view key, std::uint64_t most);

/// One value of a list.
struct ConfigValue {
  std::optional<std::string> text;      ///< set when it is a word
  std::optional<std::uint64_t> number;  ///< set when it is a whole number, not negative
};
/// The values of the list `key`; empty when there is none.
std::vector<ConfigValue> list_of(const ConfigNode& section, std::string_view key);

}  // namespace peelfs::lvm
