// The names that dm-crypt, LUKS and qcow2 give to sector ciphers, taken apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs {

/// How the initialisation vector of a sector comes from its number (in 512-byte units).
enum class IvKind : std::uint8_t {
  null,       ///< all zeroes
  plain,      ///< the low 32 bits, little-endian: repeats after 2 TiB
  plain64,    ///< 64 bits, little-endian
  plain64be,  ///< 64 bits, big-endian, in the last eight bytes
  essiv,      ///< plain64, encrypted with a hash of the key
};

enum class ChainMode : std::uint8_t { cbc, xts };

/// A cipher that we decrypt. All have blocks, and so IVs, of 16 bytes.
struct CipherSpec {
  std::string text;  ///< as given: "aes-xts-plain64"
  ChainMode mode = ChainMode::xts;
  IvKind iv = IvKind::plain64;
  int algorithm = 0;        ///< libgcrypt's number of the block cipher, for this length of key
  int essiv_hash = 0;       ///< libgcrypt's number of the hash; 0 without ESSIV
  int essiv_algorithm = 0;  ///< of the block cipher that encrypts the IV
};

inline constexpr std::size_t kCipherBlockBytes = 16;

/// @param text "CIPHER-MODE-IV[:OPTION]" as defined by the kernel's
///   Documentation/admin-guide/device-mapper/dm-crypt
/// @param key_bytes length of the volume key, both halves for xts
/// @throws Error(Fault::unsupported) naming the part that is not known. Thread-safe.
CipherSpec parse_cipher_spec(std::string_view text, std::size_t key_bytes);

/// Writes the IVs of consecutive sectors, 16 bytes each; those of ESSIV before they are encrypted.
/// @param sector number of the first, in 512-byte units
/// @param step 512-byte units from one sector to the next
void write_ivs(IvKind kind, std::uint64_t sector, std::uint32_t step, std::span<std::byte> out);

}  // namespace peelfs
