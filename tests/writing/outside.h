// How programs that are not peelfs see a disk: qemu-img, qemu-io, cryptsetup, debugfs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/support.h"
#include "writing/dice.h"

namespace peelfs::test {

/// Quotes for sh.
std::string shell_word(const std::string& text);

/// What qemu-img map says of a run.
struct MapRun {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool zero = false;
  bool data = false;
};

/// A disk as qemu sees it. Every member function fails the running test when its program does not
/// exit as it should.
struct Outside {
  /// Shell commands that copy the disk out to where `options` finds it, for what qemu cannot open
  /// itself (LUKS2, a file in a filesystem); empty: qemu works on the sources.
  std::string prepare = {};
  std::string options = {};  ///< --image-opts: "driver=raw,file.filename=/d/disk"
  std::string secret = {};   ///< what unlocks it, for key-secret=s0
  bool checked = false;      ///< `qemu-img check` knows the format
  bool writable = true;      ///< qemu-io may write, too: `prepare` is empty
  bool discards = true;      ///< what qemu discards reads as zero

  /// The disk's bytes. @param scratch a path that may be overwritten
  Buffer bytes(const std::string& scratch) const;
  /// Those of an internal snapshot, which qemu-img gives the disk's present size.
  Buffer snapshot(const std::string& tag, const std::string& scratch) const;
  /// `qemu-img check` must exit 0.
  void check() const;
  std::vector<MapRun> map() const;
  /// Runs qemu-io with these commands; writes go through to the file.
  void io(const std::vector<std::string>& commands) const;
  /// "--object ... --image-opts '...'"
  std::string arguments() const;
};

}  // namespace peelfs::test
