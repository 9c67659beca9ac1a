#include "foreign/foreign.h"

#include <algorithm>
#include <array>

namespace peelfs {

namespace {

struct Known {
  std::string_view type;  ///< libblkid's name
  std::string_view what;
  std::string_view advice;
};

constexpr std::array<Known, 6> known{{
    {"linux_raid_member",
     "a member of an MD RAID array, and this version does not assemble MD arrays",
     "assemble it with mdadm --assemble --readonly and give peelfs the /dev/md device"},
    {"BitLocker", "a BitLocker volume, and this version does not unlock BitLocker",
     "open it with cryptsetup bitlkOpen and give peelfs the device"},
    {"bcache", "a bcache device, whose newest data may be in its cache",
     "attach it on a host with bcache"},
    {"drbd", "a DRBD backing device", "give peelfs the /dev/drbd device"},
    {"zfs_member", "a member of a ZFS pool", "import the pool with zpool import -o readonly=on"},
    {"VMFS_volume_member", "a member of a VMFS datastore", "use vmfs-tools or a datastore browser"},
}};

}  // namespace

std::optional<Claim> foreign_probe(const ProbeInput& input) {
  const auto match = std::find_if(known.begin(), known.end(), [&](const Known& entry) {
    return entry.type == input.identity.type;
  });
  if (match == known.end()) return std::nullopt;
  return Claim{std::string(match->type), input.identity.label, input.identity.uuid, {}, {}, {}};
}

Opened foreign_open(const OpenInput& input) {
  const Claim& claim = *input.members.front().claim;
  const auto match = std::find_if(known.begin(), known.end(),
                                  [&](const Known& entry) { return entry.type == claim.format; });
  Error error(Fault::unsupported, "this is " + std::string(match->what));
  if (!claim.uuid.empty()) {
    throw std::move(error)
        .found("UUID " + claim.uuid + (claim.label.empty() ? "" : ", name '" + claim.label + "'"))
        .advice(std::string(match->advice));
  }
  throw std::move(error).advice(std::string(match->advice));
}

}  // namespace peelfs
