// A table of text: columns as wide as what is in them, without those that are empty or do not fit.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cli/style.h"

namespace peelfs::cli {

/// How a column is laid out.
struct TableColumn {
  std::string_view heading;
  bool right = false;       ///< numbers: flush right
  bool keep_empty = false;  ///< shown though there is nothing in it
  /// Where the table is too wide for the terminal, the column with the highest number goes first.
  /// 0: never.
  unsigned dispensable = 0;
};

struct TableCell {
  std::string text;  ///< shown()
  Ink ink = Ink::plain;
};

class TextTable {
 public:
  explicit TextTable(std::vector<TableColumn> columns) : columns_(std::move(columns)) {}

  /// @param cells one for each column
  void add(std::vector<TableCell> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const noexcept { return rows_.empty(); }

  struct Look {
    std::size_t width = 0;  ///< of the terminal; 0: any
    bool headings = true;
    bool colors = false;
  };
  /// @return its lines, each with a newline, none with blanks at its end
  std::string text(const Look& look) const;

 private:
  std::vector<std::size_t> widths() const;
  std::vector<bool> visible(const std::vector<std::size_t>& widths, std::size_t width) const;

  std::vector<TableColumn> columns_;
  std::vector<std::vector<TableCell>> rows_;
};

/// The text in lines of at most `width` columns, broken at blanks, all but the first indented by
/// `indent` blanks. A word that is longer stays whole. @param width 0: one line
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace peelfs::cli
