// Copies a device into a file: holes stay holes, bad places are worked around and recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "peel/map_file.h"
#include "peelfs/block_device.h"

namespace peelfs {

class CopyDigest;

/// Where a copy goes.
struct Target {
  int fd = -1;
  std::string name;       ///< for messages
  bool seekable = false;  ///< a regular file: holes can be left, ranges come in any order
};

/// Which zeroes become holes in the copy: those that are holes in the device, all, none.
enum class Sparse { automatic, always, never };

/// A place that could not be read. In the copy it is zeroes.
struct BadPlace {
  std::uint64_t start = 0;
  std::uint64_t length = 0;
  std::string reason;  ///< of its first sector
};

struct CopyOptions {
  Sparse sparse = Sparse::automatic;
  /// The target may hold other bytes already: holes are made in them, and not only passed over.
  bool over_old_bytes = false;
  bool stop_on_error = false;
  /// Takes what the copy holds, bad places as zeroes. Only of a copy that begins with nothing done.
  /// Null: nothing takes it
  CopyDigest* digest = nullptr;
  /// Asked between chunks; true ends the copy early.
  std::function<bool()> interrupted;
  std::function<void(std::uint64_t position, std::uint64_t done)> progress;
};

struct CopyResult {
  bool finished = false;  ///< false: interrupted, or stopped at an error
  std::uint64_t position = 0;
  std::vector<BadPlace> bad;  ///< neighbours are one place
};

/// Copies every range of `map` that is not done yet, and marks in it what became of each byte. A
/// chunk that cannot be read is halved until the bad sectors are alone; those become zeroes.
/// @param map of the size of the device; of a target that is not seekable everything is untried
/// @throws Error when the target cannot be written
CopyResult copy_device(const BlockDevice& device, const Target& target, const CopyOptions& options,
                       CopyMap& map);

}  // namespace peelfs
