// LUKS1 and LUKS2 as rows of the table: the plaintext of a volume is one device, with the name that
// people give to it by hand.
#include "luks/luks.h"

#include <algorithm>
#include <utility>

#include "crypto/sector_cipher.h"
#include "luks/container.h"
#include "peelfs/devices.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs {
namespace {

/// What is known of where the plaintext lies, before any key is tried.
struct Placement {
  std::uint64_t size = 0;       ///< bytes that the volume has
  std::uint64_t available = 0;  ///< bytes of it that the device holds, from the start
  std::optional<Trouble> trouble;
};

/// Fits the segment to the device that holds the data.
/// @throws Error(Fault::damaged) when none of it is there
Placement fit(const luks::Segment& segment, const BlockDevice& data) {
  if (segment.offset > data.size()) {
    throw Error(Fault::damaged, "the device ends before the encrypted data begins")
        .found(std::to_string(data.size()) + " bytes")
        .expected("more than " + figure(segment.offset))
        .advice("if this is a detached header, give it with --header NAME=PATH");
  }
  const std::uint64_t there = data.size() - segment.offset;
  Placement result;
  result.available = round_down(there, segment.sector_size);
  if (segment.size == 0) {
    result.size = result.available;
    if (result.available != there) {
      result.trouble = {Trouble::note,
                        std::to_string(there - result.available) +
                            " bytes at the end are less than an encryption sector of " +
                            std::to_string(segment.sector_size) + " bytes, and left out"};
    }
    return result;
  }
  result.size = segment.size;
  result.available = std::min(result.available, segment.size);
  if (result.available < segment.size) {
    result.trouble = {Trouble::damaged, "the device ends inside of the encrypted data (found " +
                                            std::to_string(data.size()) +
                                            " bytes, expected at least " +
                                            figure(segment.offset + segment.size) +
                                            "); what lies beyond cannot be read"};
  }
  return result;
}

/// Whether there is a header and nothing else: it was detached from the start (then the data's
/// offset is that of another device), or it is what luksHeaderBackup wrote: up to the data, or, for
/// LUKS1, up to the end of the last keyslot.
bool is_header_without_data(const luks::Segment& segment, const BlockDevice& device) {
  return segment.offset < segment.header_end ||
         (device.size() >= segment.offset &&
          device.size() - segment.offset < segment.sector_size) ||
         (device.size() >= segment.header_end && device.size() < segment.offset &&
          device.size() <= round_up(segment.header_end, 4096));
}

/// Another file than a header says nothing about the device that it is given for.
void check_is_header(const BlockDevice& header) {
  if (luks::header_version(read_up_to(header, 0, luks::Phdr::kSize), luks::kPrimaryMagic)) return;
  if (luks::find_secondary_header(header) != 0) return;
  throw Error(Fault::missing, "the file given with --header holds no LUKS header")
      .found(header.describe())
      .advice("give the header of this device, or leave --header out");
}

DevicePtr make_plaintext(const Member& member, const luks::Segment& segment, Bytes key,
                         const Placement& placement, const std::string& description) {
  std::shared_ptr<const SectorCipher> cipher =
      SectorCipher::create(segment.cipher, key, segment.sector_size);
  DevicePtr crypt = make_crypt_device(member.device, segment.offset, placement.available,
                                      std::move(cipher), segment.iv_offset, description);
  if (placement.available == placement.size) return crypt;
  const std::uint32_t sector_size = crypt->sector_size();
  std::vector<Piece> pieces;
  if (placement.available > 0) pieces.push_back({std::move(crypt), 0, placement.available});
  pieces.push_back({nullptr, 0, placement.size - placement.available});
  return make_concat(std::move(pieces),
                     Error(Fault::damaged, "the device ends before this part of the encrypted data")
                         .found(std::to_string(member.device->size()) + " bytes")
                         .expected(figure(segment.offset + placement.size)),
                     description, sector_size);
}

Claim claim_of(std::uint16_t version, Bytes head) {
  Claim claim;
  claim.format = "crypto_LUKS";
  const ByteReader reader(head, "LUKS header");
  if (head.size() >= 208) claim.uuid = reader.text(168, 40);  // the same place in both versions
  if (version == 2 && head.size() >= 72) claim.label = reader.text(24, 48);
  return claim;
}

}  // namespace

std::optional<Claim> luks_probe(const ProbeInput& input) {
  // A RAID member that shows its array's first bytes: the array has the volume, not its legs.
  if (input.identity.type == "linux_raid_member") return std::nullopt;

  const Buffer head = read_up_to(input.device, 0, luks::Phdr::kSize);
  if (const auto version = luks::header_version(head, luks::kPrimaryMagic)) {
    return claim_of(*version, head);
  }
  // Secondary headers survive when a disk is put to another use. Only where nothing else has been
  // found does one speak for a LUKS2 volume that lost its first sectors.
  const Identity& identity = input.identity;
  const bool other_use =
      (!identity.type.empty() && identity.type != "crypto_LUKS") || !identity.pttype.empty();
  if (other_use) return std::nullopt;
  const std::uint64_t place = luks::find_secondary_header(input.device);
  if (place != 0) return claim_of(2, read_up_to(input.device, place, luks::Phdr::kSize));
  if (identity.type != "crypto_LUKS") return std::nullopt;
  // libblkid trusts a second header without a look at its checksum. Opening it tells what is wrong.
  Claim claim;
  claim.format = identity.type;
  claim.label = identity.label;
  claim.uuid = identity.uuid;
  return claim;
}

Opened luks_open(const OpenInput& input) {
  const Member& member = input.members.front();
  const bool is_detached = input.directive != nullptr && input.directive->header != nullptr;
  const DevicePtr& header = is_detached ? input.directive->header : member.device;
  if (is_detached) check_is_header(*header);
  luks::Container container(*header, input.cancel);
  const luks::Description& description = container.description();
  const luks::Segment& segment = description.segment;

  Opened opened;
  if (!is_detached && is_header_without_data(segment, *member.device)) {
    opened.trouble = {Trouble::note,
                      "this is a LUKS header without data (detached, or a backup); give it with "
                      "--header NAME=PATH for the device NAME that has the data"};
    return opened;
  }
  const Placement placement = fit(segment, *member.device);

  Secret key;
  try {
    key = container.unlock(
        luks_keys(input.keys, {member.tail + "_crypt", member.stem, member.tail, description.uuid}),
        input.limits, {&input.keys, input.budget, input.cancel});
  } catch (const Error& error) {
    if (error.fault() != Fault::locked) throw;
    opened.trouble = trouble_from(error);
    if (!description.note.empty()) join(opened.trouble, {Trouble::note, description.note});
    return opened;
  }

  Inner inner;
  inner.kind = "crypt";
  inner.name = member.tail + "_crypt";
  inner.path = {"crypt"};
  inner.device =
      make_plaintext(member, segment, key.bytes(), placement, "LUKS volume " + inner.name);
  inner.trouble = placement.trouble;
  if (!description.note.empty()) join(opened.trouble, {Trouble::note, description.note});
  opened.devices.push_back(std::move(inner));
  return opened;
}

}  // namespace peelfs
