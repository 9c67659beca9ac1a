#include "writing/model.h"

#include <algorithm>
#include <cstring>

#include "peelfs/error.h"

namespace peelfs::test {

void Model::write(std::string_view what, std::uint64_t offset, Bytes data) {
  log(what, {offset, data.size()});
  std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
}

void Model::zero(std::string_view what, Range range) {
  fill(what, range, std::byte{0});
}

void Model::fill(std::string_view what, Range range, std::byte value) {
  log(what, range);
  std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(range.offset), range.length, value);
}

void Model::replace(std::string_view what, Buffer bytes) {
  log(what, {0, bytes.size()});
  bytes_ = std::move(bytes);
}

std::string Model::difference(std::uint64_t offset, Bytes found) const {
  const Bytes expected = Bytes(bytes_).subspan(offset, found.size());
  if (std::memcmp(expected.data(), found.data(), found.size()) == 0) return "";
  const auto [wrong, right] = std::mismatch(found.begin(), found.end(), expected.begin());
  const std::uint64_t at = offset + static_cast<std::uint64_t>(wrong - found.begin());
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < found.size(); ++i) count += found[i] != expected[i] ? 1 : 0;
  std::string text =
      "byte " + std::to_string(at) + " is " + hex(std::to_integer<unsigned>(*wrong)) +
      " and should be " + hex(std::to_integer<unsigned>(*right)) + " (" + std::to_string(count) +
      " bytes differ); done there, of " + std::to_string(steps_.size()) + " steps in all:\n";
  // The last few that touched the byte, and what else happened between.
  std::vector<std::string> lines;
  for (std::size_t i = steps_.size(); i-- > 0 && lines.size() < 14;) {
    const auto& [what, range] = steps_[i];
    const bool here = range.length == 0 || (range.offset <= at && at - range.offset < range.length);
    if (!here) continue;
    lines.push_back("  step " + std::to_string(i) + " " + what + " " +
                    std::to_string(range.offset) + " " + std::to_string(range.length) + "\n");
  }
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) text += *line;
  text += "the last ones, wherever they were:\n";
  for (std::size_t i = steps_.size() - std::min<std::size_t>(steps_.size(), 25); i < steps_.size();
       ++i) {
    text += "  step " + std::to_string(i) + " " + steps_[i].what + " " +
            std::to_string(steps_[i].range.offset) + " " + std::to_string(steps_[i].range.length) +
            "\n";
  }
  return text;
}

bool Model::all_zero(Range range) const {
  const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(range.offset);
  return std::all_of(begin, begin + static_cast<std::ptrdiff_t>(range.length),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace peelfs::test
