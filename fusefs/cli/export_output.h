// The file that `peelfs export` writes.
#pragma once

#include <cstdint>
#include <string>

#include "cli/verbs/export.h"
#include "peel/copy.h"

namespace peelfs::cli {

/// Opened, or made, and closed at the end of the scope. Not thread-safe.
class ExportOutput {
 public:
  /// @param shown_name for messages
  /// @throws Error when it is there already, is one of the sources, or cannot be written
  ExportOutput(const ExportOptions& options, const std::string& shown_name);
  ~ExportOutput();
  ExportOutput(const ExportOutput&) = delete;
  ExportOutput& operator=(const ExportOutput&) = delete;

  const Target& target() const { return target_; }

  /// From now on it stays, also when the copy fails.
  void keep() { made_.clear(); }

  /// Makes the size right (a hole at the end is not written), and the bytes durable.
  void finish(std::uint64_t size);

  /// What was copied up to `position` is durable then, and the file at least as long: also where
  /// holes at its end were not written.
  void sync(std::uint64_t position);

  std::uint64_t length() const;

 private:
  void open(const ExportOptions& options);
  void examine(const ExportOptions& options);
  void refuse(const ExportOptions& options);
  /// Takes away what was made here, if it is still that.
  void take_back();
  [[noreturn]] void fail(const char* step) const;

  Target target_;
  std::string made_;  ///< the path, when the file was made here and is not yet to stay
};

}  // namespace peelfs::cli
