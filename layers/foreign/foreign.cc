#include "foreign/foreign.h"

#include <memory>
#include <string>

#include "foreign/kinds.h"
#include "foreign/md_member.h"

namespace peelfs {

namespace {

/// What the probes hand to open.
struct Foreign {
  const foreign::Kind* kind;
  bool other;  ///< another signature stands beside its own
};

// What a later libblkid may know.
constexpr foreign::Kind kOtherRaid{.turn = foreign::Turn::after_gpt,
                                   .format = "raid_member",
                                   .what = "a member of a RAID array",
                                   .advice = "the program that made the array opens it"};

std::optional<Claim> claim(const ProbeInput& input, foreign::Turn turn) {
  const foreign::Kind* kind = foreign::find(input, turn);
  const bool raid = input.identity.usage == "raid" && input.identity.type != "LVM2_member";
  if (kind == nullptr && turn == foreign::Turn::after_gpt && raid) kind = &kOtherRaid;
  if (kind == nullptr) return std::nullopt;
  Claim claim;
  claim.format = kind == &kOtherRaid ? input.identity.type : std::string(kind->format);
  if (input.identity.type == claim.format) {
    claim.label = input.identity.label;
    claim.uuid = input.identity.uuid;
  }
  if (claim.format == "linux_raid_member") claim.membership = foreign::md_membership(input.device);
  claim.state = std::make_shared<const Foreign>(
      Foreign{kind, !input.identity.pttype.empty() || input.identity.signatures.size() > 1});
  return claim;
}

}  // namespace

std::optional<Claim> foreign_image_probe(const ProbeInput& input) {
  if (auto image = claim(input, foreign::Turn::image)) return image;
  if (!input.identity.type.empty() || !input.identity.pttype.empty()) return std::nullopt;
  return claim(input, foreign::Turn::archive);
}

std::optional<Claim> foreign_probe(const ProbeInput& input) {
  return claim(input, foreign::Turn::device);
}

std::optional<Claim> foreign_raid_probe(const ProbeInput& input) {
  return claim(input, foreign::Turn::after_gpt);
}

Opened foreign_open(const OpenInput& input) {
  const auto* state = static_cast<const Foreign*>(input.members.front().claim->state.get());
  const foreign::Kind& kind = *state->kind;
  std::string advice(kind.advice);
  if (kind.turn == foreign::Turn::after_gpt && !kind.type.empty() && state->other) {
    advice +=
        " (if it is a leftover of one: wipefs -t " + std::string(kind.type) + " -a on a copy)";
  }
  throw Error(Fault::unsupported, std::string(kind.what)).advice(std::move(advice));
}

std::string_view foreign_image_recognise(const BlockDevice& file) {
  return foreign::image_format(file);
}

}  // namespace peelfs
