// A LUKS header and what it takes to read the volume behind it, by libcryptsetup.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"

namespace peelfs {

/// Objects that are told of every key that is tried; each may be null.
struct Attempts {
  const KeyRing* ring = nullptr;   ///< learns which key opened the volume, and which did not
  Budget* budget = nullptr;        ///< pays for key derivations, and ends them
  const Cancel* cancel = nullptr;  ///< ends them behind the keyslot that is being tried
};

/// The keys to try on a volume, in order.
struct LuksKeys {
  std::vector<std::shared_ptr<const Secret>> passphrases;  ///< and the bytes of key files
  std::vector<std::shared_ptr<const Secret>> volume_keys;  ///< tried first
  std::vector<std::string> names;                          ///< what the volume is called
};

/// Those in a ring. @param names as KeyRing::candidates() takes them
LuksKeys luks_keys(const KeyRing& ring, const std::vector<std::string>& names);

/// An unlocked volume.
struct LuksVolume {
  std::string cipher;  ///< "aes-xts-plain64"
  Secret key;
  std::uint64_t data_offset = 0;  ///< bytes, in the data device
  std::uint64_t size = 0;         ///< bytes; 0: to the end of the data device
  std::uint32_t sector_size = 512;
  std::uint64_t iv_offset = 0;  ///< in 512-byte units
  std::string uuid, label;
  std::string note;  ///< "primary header damaged, secondary used"; empty: nothing to say
};

/// Reads the header from a sealed copy in memory (nothing is ever repaired on the disk) and tries
/// the keys in order.
/// @param header the device or file that begins with a LUKS1 or LUKS2 header
/// @throws Error: locked when no key fits (or there is none), damaged, unsupported
LuksVolume unlock_luks(const BlockDevice& header, const LuksKeys& keys, const Limits& limits,
                       const Attempts& attempts = {});

}  // namespace peelfs
