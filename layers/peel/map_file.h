// The record of a copy with bad places, in the format of GNU ddrescue's mapfile ("Mapfile
// structure" in its manual), so that its tools can read it and a later run can go on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace peelfs {

/// What is known of every byte of a copy. Not thread-safe.
class CopyMap {
 public:
  enum class State : char { untried = '?', bad = '-', done = '+' };
  struct Range {
    std::uint64_t start = 0;
    std::uint64_t length = 0;
    State state = State::untried;
  };

  /// Nothing tried yet. @param size bytes of the device
  explicit CopyMap(std::uint64_t size);

  /// Reads a mapfile. What ddrescue calls non-trimmed or non-scraped counts as untried.
  /// @throws Error when it cannot be read, is no mapfile, or is not about `size` bytes
  static CopyMap load(const std::string& path, std::uint64_t size);
  /// Writes it beside itself, durably, then takes the place of an older one. @throws Error
  void save(const std::string& path, std::uint64_t position) const;

  /// @param start, length a range within the device; what was known of it is replaced
  void mark(std::uint64_t start, std::uint64_t length, State state);

  /// Sorted, without gaps, neighbours of different states.
  const std::vector<Range>& ranges() const noexcept { return ranges_; }
  std::uint64_t total(State state) const noexcept;

 private:
  std::vector<Range> ranges_;
};

/// Refuses to put a map where something else would be lost: a file that is read from here, what is
/// no regular file, and, unless `replace_any`, a file that is no mapfile. Changes nothing.
/// @throws Error
void refuse_as_map_file(const std::string& path, bool replace_any);

}  // namespace peelfs
