#include "vhd/vhd.h"

#include <memory>
#include <string>

#include "engine/image_disk.h"
#include "peelfs/devices.h"
#include "peelfs/io.h"
#include "vhd/footer.h"

namespace peelfs {

// The last sector of any disk may hold whatever a guest wrote there. A footer that names the size
// of just this file is believed, and a wrong checksum is said; all that a mistake costs is the
// sector itself.
std::optional<Claim> vhd_probe(const ProbeInput& input) {
  const std::uint64_t size = input.device.size();
  if (size <= VhdFooter::kSize) return std::nullopt;
  const std::uint64_t disk = size - VhdFooter::kSize;
  std::optional<VhdFooter> footer;
  try {
    footer = VhdFooter::decode(read_bytes(input.device, disk, VhdFooter::kSize));
  } catch (const Error&) {
    return std::nullopt;  // one bad sector at the end makes no disk a VHD
  }
  if (!footer || footer->disk_type != VhdFooter::kFixed || footer->current_size != disk) {
    return std::nullopt;
  }
  Claim claim;
  claim.format = "vhd";
  claim.state = std::make_shared<const VhdFooter>(*footer);
  return claim;
}

Opened vhd_open(const OpenInput& input) {
  const Member& member = input.members.front();
  Inner disk = begin_image_disk(member, "vhd");
  disk.device =
      make_slice(member.device, 0, member.device->size() - VhdFooter::kSize, "VHD " + member.stem);
  const auto* footer =
      member.claim ? static_cast<const VhdFooter*>(member.claim->state.get()) : nullptr;
  if (footer != nullptr && !footer->intact) {
    disk.trouble = {Trouble::note,
                    "the footer of a fixed VHD with a wrong checksum stands at the end (" +
                        std::to_string(VhdFooter::kSize) +
                        " bytes, left out; raw:PATH shows them)"};
  }
  Opened opened;
  opened.devices.push_back(std::move(disk));
  return opened;
}

std::string_view vhd_recognise(const BlockDevice& file) {
  return vhd_probe({file, {}}) ? "vhd" : std::string_view();
}

}  // namespace peelfs
