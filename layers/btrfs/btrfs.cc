#include "btrfs/btrfs.h"

#include <memory>
#include <utility>

#include "btrfs/owner.h"
#include "peelfs/error.h"
#include "peelfs/filesystem.h"

namespace peelfs {

namespace {

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
  return claim;
}

Opened btrfs_open(const OpenInput& input) {
  Opened opened;
  opened.filesystems = {std::make_shared<const Btrfs>(input.members.front().device)};
  return opened;
}

}  // namespace peelfs
