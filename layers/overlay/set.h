// Overlays that were written together: legs of a RAID, physical volumes of a group, devices of one
// filesystem. Each holds a part of what was written. To commit only some of them would leave the
// sources torn. README.md beside this file documents what is stored, and why there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "overlay/overlay.h"
#include "peelfs/block_device.h"

namespace peelfs::overlay {

/// Type of the header extension that holds it: "PLFm".
inline constexpr std::uint32_t kSetExtension = 0x504c466d;

/// What an overlay knows of those it was written together with.
struct Membership {
  struct Other {
    std::string id;
    std::string name;  ///< the file's name when it was noted, for people
    bool operator==(const Other&) const = default;
  };
  std::string id;  ///< of this overlay; empty: it was never written together with any
  std::vector<Other> others;
};

/// @param image an overlay's bytes @throws Error(Fault::damaged or unsupported)
Membership membership_of(const BlockDevice& image);

/// Notes durably in each overlay that it is written together with the others, and with those that
/// each of them already knows. The caller writes nothing through them before this. A single overlay
/// gets no note.
/// @param overlays open for writing; of sources that have something in common (common.h)
/// @return what a person should know: where it could not be noted
std::vector<std::string> join(const std::vector<const OpenedOverlay*>& overlays);

/// An overlay that belongs to the given ones, but is not among them.
struct LeftOut {
  std::string path;     ///< where it lies, or lay
  std::string source;   ///< of which source; empty: unknown
  bool there = false;   ///< false: it is not in the directory any more
  bool changed = true;  ///< whether it holds anything (what is not there may have)
};

/// The overlays that belong to the chosen ones, directly or over others, and are not chosen
/// themselves.
/// @param chosen paths of overlays in `directory`
/// @throws Error when a chosen one or the directory cannot be read
std::vector<LeftOut> left_out(const std::string& directory, const std::vector<std::string>& chosen);

/// Whether an overlay holds anything at all: with nothing in it, it differs in nothing from its
/// source, and may go or stay.
bool holds_changes(const std::string& path);

/// What speaks against doing something to the chosen overlays alone.
/// @param begun a commit of some of them was interrupted: those that are gone are committed then
/// @return those whose changes would be torn from the chosen ones; empty: none
std::vector<LeftOut> torn_off(const std::string& directory, const std::vector<std::string>& chosen,
                              bool begun = false);

/// Removes, durably, the notes by which the chosen overlays and any others belong together. Called
/// before a part of a set is committed or dropped alone. @throws Error when one of the others is in
/// use, and then nothing has changed
void part(const std::string& directory, const std::vector<std::string>& chosen);

/// The sources of a command line, and those of the overlays that are left out of it.
std::vector<std::string> with_left_out(std::vector<std::string> sources,
                                       const std::vector<LeftOut>& overlays);

/// The advice of a refusal. @param whole the command that leaves nothing out, for a shell
std::string how_to_complete(const std::vector<LeftOut>& overlays, const std::string& whole);

/// "/ov/b.qcow2 (of /srv/b.img) and /ov/c.qcow2 (not there any more)"
std::string describe(const std::vector<LeftOut>& overlays);

}  // namespace peelfs::overlay
