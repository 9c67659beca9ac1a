#include "lvm_open.h"

#include <gtest/gtest.h>

namespace peelfs::test {

std::optional<Trouble> OpenGroup::trouble() const {
  Troubles all(opened.trouble);
  for (const MemberReport& report : opened.reports) all.add(report.trouble);
  return all.summary();
}

const Inner* OpenGroup::find(const std::string& name) const {
  for (const Inner& inner : opened.devices) {
    if (inner.name == name) return &inner;
  }
  return nullptr;
}

const Inner& OpenGroup::at(const std::string& name) const {
  const Inner* inner = find(name);
  if (inner != nullptr) return *inner;
  std::string names;
  for (const Inner& one : opened.devices) names += " " + one.name;
  ADD_FAILURE() << "no device " << name << " among" << names << "; " << reason();
  throw std::runtime_error("no device " + name);
}

std::optional<Claim> probe_lvm(const BlockDevice& device, const std::string& identity) {
  Identity said;
  said.type = identity;
  return lvm_probe({device, said});
}

OpenGroup open_lvm(const std::vector<DevicePtr>& devices, const Limits& limits) {
  OpenGroup group;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    std::optional<Claim> claim = probe_lvm(*devices[i]);
    if (!claim) continue;
    // A group of its own; shown only when nothing else is here.
    if (devices.size() > 1 && claim->membership->group.starts_with("pv:")) continue;
    group.claims.push_back(std::make_shared<Claim>(std::move(*claim)));
    Member member;
    member.device = devices[i];
    member.claim = group.claims.back().get();
    member.stem = "pv" + std::to_string(i);
    group.members.push_back(member);
  }
  const KeyRing keys;
  group.opened = lvm_open({group.members, keys, limits, nullptr, 0});
  return group;
}

}  // namespace peelfs::test
