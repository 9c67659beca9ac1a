// The columns that `peelfs ls` has: one table, by which -o finds them and the tree is drawn.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace peelfs::cli {

struct TreeColumn {
  std::string_view name;  ///< "PARTTYPENAME": as lsblk's where it has the same
  bool right = false;
  unsigned dispensable = 0;  ///< see TableColumn; unless the person chose the columns
};

std::span<const TreeColumn> tree_columns();

/// What `ls` shows, and what `ls -l` does.
std::vector<const TreeColumn*> usual_columns();
std::vector<const TreeColumn*> long_columns();

/// "NAME,SIZE", in any case; with a "+" before them behind those that are there anyway.
/// @throws Error(Fault::usage) that names what there is
std::vector<const TreeColumn*> parse_columns(std::string_view text,
                                             std::vector<const TreeColumn*> usual);

/// What stands in a column for a device of a document (peel/document.h). Raw; empty: nothing.
/// @param bytes sizes in bytes
std::string column_text(const TreeColumn& column, const nlohmann::ordered_json& device, bool bytes);

}  // namespace peelfs::cli
