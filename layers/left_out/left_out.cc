#include "left_out/left_out.h"

#include <string>

#include "peelfs/error.h"

namespace peelfs {

namespace {

/// @return a claim of what libblkid calls by a name that begins like this
std::optional<Claim> claim_of(const Identity& identity, std::string_view type) {
  if (!identity.type.starts_with(type)) return std::nullopt;
  Claim claim;
  claim.format = identity.type;
  claim.label = identity.label;
  claim.uuid = identity.uuid;
  return claim;
}

}  // namespace

std::optional<Claim> left_out_luks_probe(const ProbeInput& input) {
  return claim_of(input.identity, "crypto_LUKS");
}

std::optional<Claim> left_out_lvm_probe(const ProbeInput& input) {
  return claim_of(input.identity, "LVM2_member");
}

std::optional<Claim> left_out_ext_probe(const ProbeInput& input) {
  return claim_of(input.identity, "ext");
}

Opened left_out_open(const OpenInput& input) {
  const Claim* const claim = input.members.front().claim;
  throw Error(Fault::unsupported, "this peelfs was built without what opens it")
      .found(claim == nullptr ? "a header for it" : claim->format)
      .advice("take a build of peelfs that has all layers, as contrib/test makes it");
}

Opened left_out_ext_open(const OpenInput&) {
  Opened opened;
  opened.trouble = Trouble{Trouble::note,
                           "not searched for disk images: this peelfs was built without the layer "
                           "for ext2, ext3 and ext4"};
  return opened;
}

}  // namespace peelfs
