// Serpent and Twofish volumes: their keyslots come in a later release, but their sectors are
// decrypted already (a LUKS2 volume may have AES keyslots). Here the keyslot is opened by the test,
// so that the kernel's and QEMU's bytes can be compared.
#include <gcrypt.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/sector_cipher.h"
#include "luks/luks_disk.h"
#include "luks_support.h"
#include "manifest.h"

namespace peelfs::test {
namespace {

Buffer hash_of(int algorithm, Bytes bytes) {
  Buffer digest(gcry_md_get_algo_dlen(algorithm));
  gcry_md_hash_buffer(algorithm, digest.data(), bytes.data(), bytes.size());
  return digest;
}

Buffer pbkdf2(int algorithm, Bytes passphrase, Bytes salt, unsigned long iterations,
              std::size_t size) {
  Buffer key(size);
  EXPECT_EQ(gcry_kdf_derive(passphrase.data(), passphrase.size(), GCRY_KDF_PBKDF2, algorithm,
                            salt.data(), salt.size(), iterations, size, key.data()),
            0U);
  return key;
}

/// LUKS1 specification, section 2.4: undoes the splitting of a key into stripes.
Buffer af_merge(Bytes material, std::size_t size, int algorithm) {
  Buffer block(size);
  for (std::size_t stripe = 0; stripe < luks::Phdr::kStripes; ++stripe) {
    for (std::size_t i = 0; i < size; ++i) block[i] ^= material[stripe * size + i];
    if (stripe + 1 == luks::Phdr::kStripes) break;
    const std::size_t digest_size = gcry_md_get_algo_dlen(algorithm);
    for (std::size_t at = 0, number = 0; at < size; at += digest_size, ++number) {
      Buffer piece(4);
      piece[3] = static_cast<std::byte>(number);
      const std::size_t count = std::min(digest_size, size - at);
      piece.insert(piece.end(), block.begin() + static_cast<std::ptrdiff_t>(at),
                   block.begin() + static_cast<std::ptrdiff_t>(at + count));
      const Buffer digest = hash_of(algorithm, piece);
      std::copy_n(digest.begin(), count, block.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  return block;
}

/// The volume key in slot 0 of a LUKS1 header; its digest is checked.
Buffer luks1_volume_key(const BlockDevice& disk, std::string_view passphrase) {
  const Buffer head = read_bytes(disk, 0, luks::Phdr::kSize);
  const luks::Phdr header = luks::Phdr::decode(head);
  const Bytes bytes = head;
  const int hash = gcry_md_map_name(header.hash_spec.c_str());
  const Buffer slot_key = pbkdf2(hash, as_bytes(passphrase), bytes.subspan(208 + 8, 32),
                                 header.slots[0].iterations, header.key_bytes);
  Buffer material = read_bytes(disk, std::uint64_t{header.slots[0].key_material_offset} * 512,
                               round_up(std::size_t{header.key_bytes} * luks::Phdr::kStripes, 512));
  SectorCipher::create(header.cipher_name + "-" + header.cipher_mode, slot_key, 512)
      ->decrypt(material, 0);
  Buffer key = af_merge(material, header.key_bytes, hash);
  const Buffer digest = pbkdf2(hash, key, bytes.subspan(132, 32), header.mk_digest_iterations, 20);
  EXPECT_TRUE(std::equal(digest.begin(), digest.end(), bytes.begin() + 112));
  return key;
}

DevicePtr luks1_plaintext(const DevicePtr& disk, std::string_view passphrase) {
  const luks::Phdr header = luks::Phdr::decode(read_bytes(*disk, 0, luks::Phdr::kSize));
  const std::uint64_t offset = std::uint64_t{header.payload_offset} * 512;
  return make_crypt_device(disk, offset, disk->size() - offset,
                           SectorCipher::create(header.cipher_name + "-" + header.cipher_mode,
                                                luks1_volume_key(*disk, passphrase), 512),
                           0, "plaintext");
}

TEST(Exotic, SerpentAsTheKernelReadIt) {
  const DevicePtr disk = file_device(fixture_image("luks1-serpent"));
  EXPECT_EQ(sha256(*luks1_plaintext(disk, "fixture-pass-1")),
            fixture("luks1-serpent").at("oracle").at("luks").at("sha256").get<std::string>());
}

TEST(Exotic, TwofishAsQemuWritesIt) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const TemporaryDirectory folder;
  const Buffer plain = pattern(std::size_t{128} * 1024, 3);
  write_file(folder / "plain", plain);
  const CommandResult result = run("cd " + folder.path() +
                                   " && qemu-img convert -f raw -O luks --object "
                                   "secret,id=s,data=pass -o key-secret=s,iter-time=10,"
                                   "cipher-alg=twofish-256,cipher-mode=xts plain disk");
  if (result.exit_code != 0) GTEST_SKIP() << "this qemu-img has no Twofish: " << result.output;
  const DevicePtr device = luks1_plaintext(file_device(folder / "disk"), "pass");
  EXPECT_EQ(read_bytes(*device, 0, plain.size()), plain);
}

}  // namespace
}  // namespace peelfs::test
