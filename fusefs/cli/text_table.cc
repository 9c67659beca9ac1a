#include "cli/text_table.h"

#include <algorithm>

#include "cli/text.h"

namespace peelfs::cli {

std::vector<std::size_t> TextTable::widths() const {
  std::vector<std::size_t> result(columns_.size(), 0);
  for (const std::vector<TableCell>& row : rows_) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      result[i] = std::max(result[i], display_width(row[i].text));
    }
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (result[i] == 0 && !columns_[i].keep_empty) continue;
    result[i] = std::max(result[i], display_width(columns_[i].heading));
  }
  return result;
}

std::vector<bool> TextTable::visible(const std::vector<std::size_t>& widths,
                                     std::size_t width) const {
  std::vector<bool> result(columns_.size());
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    result[i] = widths[i] != 0;
  }
  const auto total = [&] {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (result[i]) sum += widths[i] + 1;
    }
    return sum == 0 ? 0 : sum - 1;
  };
  while (width != 0 && total() > width) {
    std::size_t first = columns_.size();
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (!result[i] || columns_[i].dispensable == 0) continue;
      if (first == columns_.size() || columns_[i].dispensable > columns_[first].dispensable) {
        first = i;
      }
    }
    if (first == columns_.size()) break;
    result[first] = false;
  }
  return result;
}

std::string TextTable::text(const Look& look) const {
  const std::vector<std::size_t> wide = widths();
  const std::vector<bool> shown_columns = visible(wide, look.width);
  std::string result;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    std::size_t blanks = 0;  // written only where something follows
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (!shown_columns[i]) continue;
      const TableCell cell = cell_of(i);
      const std::size_t has = display_width(cell.text);
      const std::size_t padding = wide[i] > has ? wide[i] - has : 0;
      if (columns_[i].right) blanks += padding;
      if (has != 0) {
        line.append(blanks, ' ').append(painted(cell.text, cell.ink, look.colors));
        blanks = 0;
      }
      blanks += (columns_[i].right ? 0 : padding) + 1;
    }
    result += line + "\n";
  };
  if (look.headings) {
    add_line([&](std::size_t i) { return TableCell{std::string(columns_[i].heading)}; });
  }
  for (const std::vector<TableCell>& row : rows_) {
    add_line([&](std::size_t i) { return row[i]; });
  }
  return result;
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
  if (width == 0) return std::string(text);
  std::string result;
  std::size_t used = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t columns = display_width(word);
    if (used != 0 && used + 1 + columns > width) {
      result.append("\n").append(indent, ' ');
      used = indent;
    } else if (used != 0) {
      result += ' ';
      ++used;
    }
    result += word;
    used += columns;
  }
  return result;
}

}  // namespace peelfs::cli
