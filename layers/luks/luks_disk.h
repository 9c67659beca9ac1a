// The binary headers of LUKS1 and LUKS2 as they lie on a disk. All numbers are big-endian.
//
// Specifications: "LUKS1 On-Disk Format Specification 1.2.3" and "LUKS2 On-Disk Format
// Specification 1.1.0". Field names are theirs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "peelfs/bytes.h"

namespace peelfs::luks {

inline constexpr std::string_view kPrimaryMagic{"LUKS\xba\xbe", 6};
inline constexpr std::string_view kSecondaryMagic{"SKUL\xba\xbe", 6};

/// The version field (offset 6) behind either magic; nullopt without a magic or when cut off.
std::optional<std::uint16_t> header_version(Bytes head, std::string_view magic);

/// LUKS1 `phdr`, 592 bytes.
struct Phdr {
  static constexpr std::size_t kSize = 592;
  static constexpr std::size_t kKeySlots = 8;
  static constexpr std::uint32_t kSlotEnabled = 0x00AC71F3;
  static constexpr std::uint32_t kStripes = 4000;

  struct KeySlot {                      // 48 bytes each, the first at 208
    std::uint32_t active;               //  0
    std::uint32_t iterations;           //  4
                                        //  8: salt[32]
    std::uint32_t key_material_offset;  // 40, in 512-byte sectors
    std::uint32_t stripes;              // 44
  };

  std::string cipher_name;                 //   8, char[32]
  std::string cipher_mode;                 //  40, char[32]
  std::string hash_spec;                   //  72, char[32]
  std::uint32_t payload_offset = 0;        // 104, in 512-byte sectors
  std::uint32_t key_bytes = 0;             // 108
  Buffer mk_digest;                        // 112, 20 bytes
  Buffer mk_digest_salt;                   // 132, 32 bytes
  std::uint32_t mk_digest_iterations = 0;  // 164
  std::string uuid;                        // 168, char[40]
  std::array<KeySlot, kKeySlots> slots{};  // 208

  /// @throws Error(Fault::damaged) when the bytes end before the header does
  static Phdr decode(Bytes head);
};

/// LUKS2 binary header, 4096 bytes, followed by the JSON area up to `hdr_size`.
struct BinaryHeader {
  static constexpr std::size_t kSize = 4096;
  static constexpr std::size_t kCsumOffset = 448;
  static constexpr std::size_t kCsumSize = 64;

  std::uint64_t hdr_size = 0;    //   8, with the JSON area
  std::uint64_t seqid = 0;       //  16, the greater is the newer
  std::string label;             //  24, char[48]
  std::string csum_alg;          //  72, char[32]
                                 // 104: salt[64]
  std::string uuid;              // 168, char[40]
                                 // 208: subsystem[48]
  std::uint64_t hdr_offset = 0;  // 256, where this copy lies: 0 or hdr_size
                                 // 448: csum[64], over hdr_size bytes with these as zeroes

  /// @throws Error(Fault::damaged) when the bytes end before the header does
  static BinaryHeader decode(Bytes head);
};

/// The sizes that a LUKS2 header may have, which are also where its secondary copy may lie.
inline constexpr std::array<std::uint64_t, 9> kHeaderSizes{
    0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000};
/// The greatest keyslots area, in bytes, that LUKS2 allows behind both copies.
inline constexpr std::uint64_t kGreatestKeyslotsArea = 128ULL << 20;

bool is_header_size(std::uint64_t size) noexcept;

/// @param header hdr_size bytes of one copy
/// @return "" when its checksum is right, otherwise what is wrong with it
std::string checksum_trouble(Bytes header);

/// Makes the copy into the primary (at 0) or the secondary (at hdr_size) one: magic, hdr_offset and
/// checksum. Only ever done to bytes in memory.
/// @pre checksum_trouble() found nothing
void turn_into_copy(MutableBytes header, bool primary);

}  // namespace peelfs::luks
