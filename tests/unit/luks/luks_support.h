// What the tests of the LUKS layer share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "luks/luks.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "support/support.h"

namespace peelfs::test {

inline Secret secret(std::string_view text) {
  return Secret(as_bytes(text));
}

/// The keys of a test: each for every device.
struct Keys {
  KeyRing ring;
  Keys(std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) ring.add_for_all(secret(text));
  }
};

inline Limits quick_limits() {
  Limits limits;
  limits.kdf_memory = 256ULL << 20;
  return limits;
}

/// Probes with an empty identity, as a scanner without libblkid would.
inline std::optional<Claim> probe(const BlockDevice& device, Identity identity = {}) {
  return luks_probe({device, identity});
}

inline Opened open(const DevicePtr& device, const KeyRing& keys,
                   const Limits& limits = quick_limits(),
                   const DevicePtr& detached_header = nullptr) {
  Member member;
  member.device = device;
  member.stem = "vg-disk";
  member.tail = "disk";
  const std::vector<Member> members{member};
  const Directive directive{.device = "disk", .header = detached_header};
  return luks_open({members, keys, limits, detached_header ? &directive : nullptr, 0});
}

/// The text of the Error that a call throws, with its fault in front: "damaged: ...".
template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(fault_name(error.fault())) + ": " + error.what();
  }
  return "(no error)";
}

inline std::string reason_of(const Opened& opened) {
  return opened.trouble ? text_of(*opened.trouble) : "(no trouble)";
}

inline testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not hold \"" << part << "\"";
}

}  // namespace peelfs::test
