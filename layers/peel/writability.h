// Which devices may be written, and which of them hold the same bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "peel/catalog.h"

namespace peelfs {

/// What the person allows.
struct WritePolicy {
  bool writable = false;  ///< of anything at all
  /// Devices, as Catalog::find understands them, whose flat bytes may be written although their
  /// contents are shown.
  std::vector<std::string> containers;
};

/// tree_json() of a mount, which tells which of the devices can be written.
std::string tree_json(const Catalog& catalog, const WritePolicy& policy);

/// @return why the device cannot be opened for writing, a whole clause; nullopt: it can.
/// Thread-safe.
std::optional<std::string> why_read_only(const Catalog& catalog, const Catalog::Entry& entry,
                                         const WritePolicy& policy);

/// Devices that show bytes of the device `id`, or of which it shows bytes: all that it lies on,
/// all that lies on it, and neighbours that share bytes with any of these (an extended partition
/// and its logical ones, an LV and its legs). Never too few; without `id` itself. Empty when the
/// tree has no such device.
std::set<std::uint64_t> overlapping(const Tree& tree, std::uint64_t id);

/// Devices that the device `id` lies on, directly or not. Empty when the tree has no such device.
std::set<std::uint64_t> lies_on(const Tree& tree, std::uint64_t id);

/// Devices that are made afresh when the device `id` was written: what lies on it, what lies on
/// any member of the groups that it or something upon it belongs to, and neighbours that share
/// bytes with it.
std::set<std::uint64_t> remade_after(const Tree& tree, std::uint64_t id);

/// Devices that must not be open for writing while `id` is written: those that overlap it, and
/// those that would be made afresh under their writers.
std::set<std::uint64_t> in_the_way(const Tree& tree, std::uint64_t id);

/// Devices that are made afresh when the device `id` is unlocked: those that lie on it, and those
/// that lie on groups which the devices inside may complete.
std::set<std::uint64_t> remade_by_unlock(const Tree& tree, std::uint64_t id);

/// The devices that must be looked at again when the device `id` was written: itself, or what
/// holds it if it is a part of a table there, or shares bytes with neighbours.
std::vector<std::uint64_t> looked_at_after(const Tree& tree, std::uint64_t id);

}  // namespace peelfs
