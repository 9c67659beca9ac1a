#include "luks/luks_disk.h"

#include <algorithm>

#include "crypto/gcrypt.h"
#include "peelfs/error.h"

namespace peelfs::luks {
namespace {

std::string hex_digits(Bytes bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4U];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

// libgcrypt knows CRC-32 as a hash too; nothing shorter than SHA-1 is taken for a checksum of a
// header.
constexpr std::size_t kLeastDigest = 20;

/// libgcrypt's number of the checksum's hash; 0 when it is none that fits into the field.
int checksum_algorithm(const std::string& name) {
  require_gcrypt();
  const int algorithm = gcry_md_map_name(name.c_str());
  if (algorithm == 0 || gcry_md_test_algo(algorithm) != 0) return 0;
  const std::size_t digest = gcry_md_get_algo_dlen(algorithm);
  return digest >= kLeastDigest && digest <= BinaryHeader::kCsumSize ? algorithm : 0;
}

/// The digest of the copy with its checksum field taken as zeroes.
Buffer digest_of(Bytes header, int algorithm) {
  const std::array<std::byte, BinaryHeader::kCsumSize> zeroes{};
  gcry_md_hd_t handle = nullptr;
  check_gcrypt(gcry_md_open(&handle, algorithm, 0), "cannot compute the LUKS2 header checksum");
  const Bytes before = header.first(BinaryHeader::kCsumOffset);
  const Bytes behind = header.subspan(BinaryHeader::kCsumOffset + BinaryHeader::kCsumSize);
  gcry_md_write(handle, before.data(), before.size());
  gcry_md_write(handle, zeroes.data(), zeroes.size());
  gcry_md_write(handle, behind.data(), behind.size());
  Buffer digest(gcry_md_get_algo_dlen(algorithm));
  const unsigned char* bytes = gcry_md_read(handle, algorithm);
  std::transform(bytes, bytes + digest.size(), digest.begin(),
                 [](unsigned char byte) { return static_cast<std::byte>(byte); });
  gcry_md_close(handle);
  return digest;
}

void put_be64(MutableBytes out, std::uint64_t number) {
  for (std::size_t i = 0; i < sizeof(number); ++i) {
    out[i] = static_cast<std::byte>((number >> (56 - 8 * i)) & 0xff);
  }
}

}  // namespace

std::optional<std::uint16_t> header_version(Bytes head, std::string_view magic) {
  const ByteReader reader(head, "LUKS header");
  if (head.size() < magic.size() + 2 || !reader.has(0, magic)) return std::nullopt;
  return reader.be16(6);
}

Phdr Phdr::decode(Bytes head) {
  const ByteReader reader(head, "LUKS1 header");
  Phdr header;
  header.cipher_name = reader.text(8, 32);
  header.cipher_mode = reader.text(40, 32);
  header.hash_spec = reader.text(72, 32);
  header.payload_offset = reader.be32(104);
  header.key_bytes = reader.be32(108);
  const auto copy = [&](std::size_t offset, std::size_t length) {
    const Bytes bytes = reader.bytes(offset, length);
    return Buffer(bytes.begin(), bytes.end());
  };
  header.mk_digest = copy(112, 20);
  header.mk_digest_salt = copy(132, 32);
  header.mk_digest_iterations = reader.be32(164);
  header.uuid = reader.text(168, 40);
  for (std::size_t i = 0; i < kKeySlots; ++i) {
    const ByteReader slot(reader.bytes(208 + 48 * i, 48), "LUKS1 key slot");
    header.slots.at(i) = {slot.be32(0), slot.be32(4), slot.be32(40), slot.be32(44)};
  }
  return header;
}

BinaryHeader BinaryHeader::decode(Bytes head) {
  const ByteReader reader(head, "LUKS2 header");
  BinaryHeader header;
  header.hdr_size = reader.be64(8);
  header.seqid = reader.be64(16);
  header.label = reader.text(24, 48);
  header.csum_alg = reader.text(72, 32);
  header.uuid = reader.text(168, 40);
  header.hdr_offset = reader.be64(256);
  (void)reader.bytes(0, kSize);
  return header;
}

bool is_header_size(std::uint64_t size) noexcept {
  return std::find(kHeaderSizes.begin(), kHeaderSizes.end(), size) != kHeaderSizes.end();
}

std::string checksum_trouble(Bytes header) {
  const BinaryHeader decoded = BinaryHeader::decode(header);
  const int algorithm = checksum_algorithm(decoded.csum_alg);
  if (algorithm == 0) {
    return "its checksum algorithm is not known (found \"" + decoded.csum_alg +
           "\", expected sha256)";
  }
  const Buffer computed = digest_of(header, algorithm);
  const Bytes stored = header.subspan(BinaryHeader::kCsumOffset, computed.size());
  if (std::equal(computed.begin(), computed.end(), stored.begin())) return "";
  return "its " + decoded.csum_alg + " checksum is wrong (found " + hex_digits(stored.first(8)) +
         "..., expected " + hex_digits(Bytes(computed).first(8)) + "...)";
}

void turn_into_copy(MutableBytes header, bool primary) {
  const BinaryHeader decoded = BinaryHeader::decode(header);
  const Bytes magic = as_bytes(primary ? kPrimaryMagic : kSecondaryMagic);
  std::copy(magic.begin(), magic.end(), header.begin());
  put_be64(header.subspan(256), primary ? 0 : decoded.hdr_size);
  const MutableBytes field = header.subspan(BinaryHeader::kCsumOffset, BinaryHeader::kCsumSize);
  const Buffer digest = digest_of(header, checksum_algorithm(decoded.csum_alg));
  std::fill(field.begin(), field.end(), std::byte{0});
  std::copy(digest.begin(), digest.end(), field.begin());
}

}  // namespace peelfs::luks
