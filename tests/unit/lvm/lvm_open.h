// Opens volume groups as the scanner does: probe, group, open.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lvm/lvm.h"
#include "peelfs/layer.h"

namespace peelfs::test {

/// A volume group that was opened, with what it was opened from.
struct OpenGroup {
  std::vector<std::shared_ptr<Claim>> claims;
  std::vector<Member> members;
  Opened opened;

  const Inner* find(const std::string& name) const;
  /// Fails the running test when there is none.
  const Inner& at(const std::string& name) const;
  /// Of the group and of all its members.
  std::optional<Trouble> trouble() const;
  std::string reason() const { return trouble() ? trouble()->reason : ""; }
  std::string state() const { return trouble() ? std::string(state_name(trouble()->state)) : ""; }
};

std::optional<Claim> probe_lvm(const BlockDevice& device, const std::string& identity = "");

/// Probes the devices and opens them as one group; "pv0", "pv1", ... are their stems. Devices that
/// the layer does not claim are left out.
OpenGroup open_lvm(const std::vector<DevicePtr>& devices, const Limits& limits = {});

}  // namespace peelfs::test
