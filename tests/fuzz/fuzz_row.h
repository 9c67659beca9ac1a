// What every fuzz target of a row does once it has a device: probe, open, and read what comes out.
#pragma once

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/layer.h"

namespace peelfs::test {

/// Errors are what a hostile disk may cause; anything else is the fuzzer's find.
inline void fuzz_row(std::optional<Claim> (*probe)(const ProbeInput&),
                     Opened (*open)(const OpenInput&), const DevicePtr& device,
                     const Identity& identity) {
  constexpr unsigned most_devices = 64;
  constexpr std::size_t sample = 1000;
  try {
    const auto claim = probe({*device, identity});
    if (!claim) return;
    Member member;
    member.device = device;
    member.claim = &*claim;
    member.stem = "disk";
    const KeyRing keys;
    const Limits limits;
    const Opened opened = open({{&member, 1}, keys, limits, nullptr, 0});
    unsigned seen = 0;
    for (const Inner& inner : opened.devices) {
      if (++seen > most_devices) break;
      try {
        const std::uint64_t end = inner.device->size();
        read_up_to(*inner.device, 0, sample);
        if (end > sample) read_up_to(*inner.device, end - sample, sample);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace peelfs::test
