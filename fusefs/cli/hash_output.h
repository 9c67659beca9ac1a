// What `peelfs hash` says of the digests that it has computed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/digest_list.h"
#include "cli/hash_devices.h"
#include "peel/hash.h"

namespace peelfs::cli {

/// A device and what became of its pieces.
struct HashedDevice {
  HashDevice device;
  std::vector<ByteRange> ranges;
  std::vector<HashedPiece> pieces;  ///< none: see device.refusal
};

struct HashOutput {
  std::vector<const DigestAlgorithm*> algorithms;
  DigestFormat format = DigestFormat::plain;
  bool by_piece = false;  ///< each piece has its place behind its name
};

/// The lines of all digests that there are.
std::string digest_lines(const std::vector<HashedDevice>& devices, const HashOutput& output);

/// One JSON document, with its newline.
std::string digests_json(const std::vector<HashedDevice>& devices, const HashOutput& output,
                         const std::vector<std::string>& warnings);

/// Why digests are missing, a sentence for each device or run of pieces, for a person.
std::vector<std::string> missing_digests(const HashedDevice& device, bool by_piece);

}  // namespace peelfs::cli
