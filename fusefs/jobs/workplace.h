// What `peelfs try` and `peelfs fsck` need on the host while commands run, and how it goes away,
// whatever ends whom.
#pragma once

#include <string>
#include <string_view>

#include "mount/process.h"

namespace peelfs::jobs {

/// A new directory, ours alone, in $TMPDIR or `fallback`, whose name tells the verb that it is for.
/// @return its absolute path @throws Error
std::string make_folder(const std::string& fallback, std::string_view verb = "try");

/// The mount point and what else is needed while the command runs; gone afterwards.
class Workplace {
 public:
  explicit Workplace(std::string_view verb = "try");
  ~Workplace();
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  const std::string& path() const { return path_; }
  std::string mountpoint() const { return mountpoint_of(path_); }
  /// An empty directory, on which the command's world is made.
  std::string world() const { return world_of(path_); }

  static std::string mountpoint_of(const std::string& path) { return path + "/mnt"; }
  static std::string world_of(const std::string& path) { return path + "/world"; }
  /// Takes away what a Workplace has made, and nothing else: a mount may still be there.
  static void clear(const std::string& path) noexcept;

 private:
  std::string path_;
};

/// Removes a directory that make_folder() has made, as its name says, if nothing is left in it.
void remove_if_empty(const std::string& directory) noexcept;

/// Removes the overlays in a directory, and then the directory.
void remove_overlays(const std::string& directory);

/// Between a process that has started a mount and the one that serves it: it tells the latter when
/// the former was killed, by SIGKILL too, and can clear up no more. Made before the serving process
/// is forked; gone, in the other one, when the mount has ended and the rest is its own business.
class Lifeline {
 public:
  Lifeline();
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  enum class Overlays {
    precious,   ///< they go if nothing was written to them
    worthless,  ///< they go: what was written to them can be had again
  };
  /// In the process that serves the mount, before it does. If the other is killed it ends as if
  /// told to, the workplace is cleared, and the overlays go or stay.
  /// @param overlays their directory; empty: there is none, or it is the person's own, and stays
  void end_mount_without_us(const std::string& workplace, const std::string& overlays,
                            Overlays worth = Overlays::precious);

 private:
  Pipe pipe_;
};

}  // namespace peelfs::jobs
