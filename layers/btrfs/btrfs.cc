#include "btrfs/btrfs.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "btrfs/members.h"
#include "btrfs/owner.h"
#include "peelfs/error.h"
#include "peelfs/filesystem.h"

namespace peelfs {

namespace {

/// What no btrfs has more of (BTRFS_MAX_DEVICES is far below): a larger number is damage.
constexpr std::uint64_t kMostDevices = 65536;

class Btrfs : public Filesystem {
 public:
  explicit Btrfs(DevicePtr device) : device_(std::move(device)) {}

  Abilities abilities() const noexcept override { return {.owners = true}; }
  std::string describe() const override { return device_->describe(); }
  std::string repair_advice() const override { return "run btrfs check on a copy"; }

  std::vector<OwnedRange> owners(std::span<const ByteRange> ranges) const override {
    auto result = btrfs::find_owners(*device_, ranges);
    if (result.empty() && !ranges.empty()) {
      throw Error(Fault::damaged, "there is no btrfs superblock")
          .advice("btrfs rescue super-recover on a copy restores it, where one is left");
    }
    return result;
  }

 private:
  const DevicePtr device_;
};

}  // namespace

std::optional<Claim> btrfs_probe(const ProbeInput& input) {
  if (input.identity.type != "btrfs") return std::nullopt;
  Claim claim;
  claim.format = input.identity.type;
  claim.label = input.identity.label;
  claim.uuid = input.identity.uuid;
  // Nothing in it is opened here, so its devices need not be opened as one.
  const auto member = btrfs::membership(input.device);
  if (member && member->devices > 1 && member->devices <= kMostDevices) {
    claim.membership = Membership{.group = member->uuid,
                                  .group_name = claim.label.empty() ? "" : "btrfs " + claim.label,
                                  .member = std::to_string(member->device_id),
                                  .expected = static_cast<unsigned>(member->devices),
                                  .opened_together = false};
  }
  return claim;
}

Opened btrfs_open(const OpenInput& input) {
  Opened opened;
  opened.filesystems = {std::make_shared<const Btrfs>(input.members.front().device)};
  return opened;
}

}  // namespace peelfs
