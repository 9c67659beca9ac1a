// Devices that are opened as a person says (see Directive), whatever their bytes say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "peelfs/formats.h"
#include "peelfs/layer.h"

namespace peelfs {

/// A directive, and what has become of it in a run.
struct Directed {
  Directive directive;
  const Layer* row = nullptr;  ///< null: kAsRaw, kAsNone
  bool is_format = false;      ///< see names_format()
  bool is_used = false;        ///< a device has that name
  std::uint64_t id = 0;        ///< of the node that Scanner::direct() gave it to; 0: none
  std::string refusal = {};    ///< why a device could not be opened as it says; empty: it could

  /// Whether the row opens the device without looking for its own signatures.
  bool opens_unseen() const noexcept {
    return row != nullptr && (directive.header != nullptr || row->probe == nullptr);
  }
};

/// What that row, and no other, says of a device. Other signatures on the device do not count.
/// @param input what libblkid says may be of another kind
/// @param kind, device as the person named them, for the message
/// @throws Error(Fault::usage) when it is no such thing; what the probe throws
Claim probe_as(const Layer& row, const ProbeInput& input, const Formats& formats,
               std::string_view kind, std::string_view device);

}  // namespace peelfs
