#include "scan/directed.h"

#include <algorithm>

#include "peelfs/error.h"

namespace peelfs {

namespace {

bool is_named_by(std::string_view type, const Layer& row) {
  return std::ranges::find(row.kinds, type) != row.kinds.end();
}

/// What the device would be taken for without the directive.
std::string found_on(const ProbeInput& input, const Formats& formats) {
  for (const Layer& row : formats.rows()) {
    if (row.probe == nullptr) continue;
    try {
      if (const auto claim = row.probe(input)) return claim->format;
    } catch (const Error&) {
      return "a damaged " + std::string(row.name);
    }
  }
  if (!input.identity.type.empty()) return input.identity.type;
  if (!input.identity.pttype.empty()) return input.identity.pttype;
  return "nothing that is known";
}

}  // namespace

Claim probe_as(const Layer& row, const ProbeInput& input, const Formats& formats,
               std::string_view kind, std::string_view device) {
  // A probe asks libblkid what else stands on a device, so as to leave it to other layers. Here a
  // person has decided that.
  const Identity nothing;
  const bool is_own = is_named_by(input.identity.type, row);
  const ProbeInput alone{input.device, is_own ? input.identity : nothing, input.parttype};
  if (auto claim = row.probe(alone)) return *std::move(claim);
  throw Error(Fault::usage, "--as: " + std::string(device) + " is no " + std::string(kind))
      .found(found_on(input, formats))
      .expected("the signature of " + std::string(kind))
      .advice("leave --as out, or name what it is");
}

}  // namespace peelfs
