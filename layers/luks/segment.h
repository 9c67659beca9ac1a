// Where the data of a LUKS volume lies and how it is encrypted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "luks/digest.h"
#include "luks/luks_disk.h"

namespace peelfs::luks {

struct Segment {
  std::string cipher;           ///< "aes-xts-plain64"
  std::uint64_t offset = 0;     ///< bytes, in the data device
  std::uint64_t size = 0;       ///< bytes; 0: to the end of the data device
  std::uint64_t iv_offset = 0;  ///< in 512-byte units
  std::uint32_t sector_size = 512;
  /// The keyslots whose key is this segment's, with their types ("luks2").
  std::map<int, std::string> slots;
  std::uint64_t header_end = 0;  ///< bytes: where headers and keyslots end on the header device
  std::vector<Digest> digests;   ///< of this segment's key
  std::uint64_t digest_iterations = 0;  ///< the greatest that checking a key costs
  std::string note;  ///< a reencryption that was not started; empty: nothing to say
};

/// @throws Error(Fault::damaged)
Segment segment_of(const Phdr& header);

/// @param json LUKS2's JSON area, as libcryptsetup validated it
/// @param hdr_size of one copy of the header, bytes
/// @throws Error: unsupported, naming what peelfs cannot do, or damaged
Segment segment_of(std::string_view json, std::uint64_t hdr_size);

}  // namespace peelfs::luks
