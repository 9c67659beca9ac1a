// The tree of a document (peel/document.h), drawn as a table, with the reasons below it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tree_columns.h"

namespace peelfs::cli {

enum class TreeSigns : std::uint8_t { automatic, unicode, ascii };
/// "auto", "unicode", "ascii" @throws Error(Fault::usage)
TreeSigns parse_tree_signs(std::string_view text);

struct TreeLook {
  std::vector<const TreeColumn*> columns;
  bool chosen = false;   ///< the person chose them: they stay though they are empty or too wide
  bool holders = false;  ///< says below which programs have sources in use
  bool headings = true;
  bool bytes = false;  ///< sizes in bytes
  TreeSigns signs = TreeSigns::automatic;
  bool colors = false;
  std::size_t width = 0;  ///< of the terminal; 0: any
};

/// A device that lies on several others has its branch under the first of them only. What there is
/// to say of a device stands below the table, each reason once, unless the columns are chosen and
/// STATE is not among them.
std::string tree_text(const nlohmann::ordered_json& document, const TreeLook& look);

}  // namespace peelfs::cli
