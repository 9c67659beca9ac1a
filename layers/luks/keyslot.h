// The keyslots of a LUKS header: what they demand, and trying keys on them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "luks/cryptsetup.h"
#include "luks/header_image.h"
#include "luks/segment.h"
#include "luks/volume.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"

namespace peelfs::luks {

/// A keyslot in use whose key is that of the data.
struct Keyslot {
  int number = 0;
  bool preferred = false;
  crypt_pbkdf_type kdf{};  ///< its texts live as long as the context
  /// Why no key is tried on it; empty: they are. Says what to do about it.
  std::string refusal;
  bool over_limit = false;  ///< the refusal is a limit that the person can raise
};

/// Looks at every slot of the segment, and copies the areas of those that can be tried into the
/// image.
/// @param header the device that the areas are copied from
/// @return in the order in which they are to be tried: preferred ones first; at least one can be
///   tried
/// @throws Error: unsupported when the data's cipher or every slot is, locked when the limits
///   forbid every slot or none is in use
std::vector<Keyslot> survey_keyslots(CryptContext& context, const Segment& segment,
                                     const Limits& limits, const BlockDevice& header,
                                     HeaderImage& image);

/// @param keys volume keys among them were tried already, and none fits
/// @return the volume key
/// @throws Error: locked when no key fits or there is none, unsupported when no slot can be tried
Secret try_keys(CryptContext& context, const std::vector<Keyslot>& slots, const LuksKeys& keys,
                const Attempts& attempts);

/// @throws Error(Fault::unsupported) when iterations of a digest exceed the limit
void check_digest_cost(const Segment& segment, const Limits& limits);

}  // namespace peelfs::luks
