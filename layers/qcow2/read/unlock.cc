// Keys of encrypted images: old AES and LUKS.
#include <algorithm>
#include <cstring>

#include "peelfs/devices.h"
#include "peelfs/io.h"
#include "qcow2/read/open.h"

#ifndef PEELFS_WITHOUT_LUKS
#include "luks/volume.h"
#endif

namespace peelfs::qcow2 {

namespace {

constexpr std::uint32_t kSectorSize = 512;
constexpr std::size_t kAesKeySize = 16;

/// AES-128-CBC, the password itself is the key, and nothing in the image tells whether it is the
/// right one.
void unlock_aes(Image& image, const std::vector<std::shared_ptr<const Secret>>& keys) {
  if (keys.empty()) {
    throw Error(Fault::locked, "a password is needed (qcow2 AES encryption)")
        .advice("give it with --key or --key-file");
  }
  const Bytes password = keys.front()->bytes();
  Secret key(kAesKeySize);
  const MutableBytes bytes = key.writable();
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  std::copy_n(password.begin(), std::min(password.size(), kAesKeySize), bytes.begin());
  image.cipher = SectorCipher::create("aes-cbc-plain64", key.bytes(), kSectorSize);
  image.troubles.note(
      "old AES encryption cannot tell whether the password is right: a wrong one shows garbage");
}

#ifdef PEELFS_WITHOUT_LUKS
void unlock_luks_image(Image&, const std::vector<std::string>&, const Surroundings&) {
  throw Error(Fault::unsupported, "the image is encrypted with LUKS")
      .found("a peelfs that was built without the layer for LUKS")
      .advice("take a build of peelfs that has all layers, as contrib/test makes it");
}
#else
DevicePtr luks_header(const Image& image) {
  const Header::CryptHeader& crypt = *image.header.crypt;
  // The stored length may be that of what was written; the clusters up to its end belong to it.
  const std::uint64_t most = image.file->size() - crypt.offset;
  const std::uint64_t length =
      most - crypt.length < image.header.cluster_size()
          ? most
          : std::min(most, round_up(crypt.length, image.header.cluster_size()));
  return make_slice(image.file, crypt.offset, length, "LUKS header of " + image.name);
}

void unlock_luks_image(Image& image, std::vector<std::string> names,
                       const Surroundings& surroundings) {
  const DevicePtr header = luks_header(image);
  const Buffer start = read_up_to(*header, 0, 208);
  const ByteReader phdr(start, "LUKS header in the qcow2 image");
  if (!phdr.has(0, "LUKS\xba\xbe") || phdr.be16(6) != 1) {
    throw Error(Fault::damaged, "the image's LUKS header is not one")
        .found("magic " + hex(phdr.be32(0)) + ", version " + std::to_string(phdr.be16(6)))
        .expected("LUKS version 1 at offset " + hex(image.header.crypt->offset));
  }
  names.push_back(phdr.text(168, 40));
  const LuksVolume volume =
      unlock_luks(*header, luks_keys(surroundings.input.keys, names), surroundings.input.limits,
                  {&surroundings.input.keys, surroundings.input.budget, surroundings.input.cancel});
  image.cipher = SectorCipher::create(volume.cipher, volume.key.bytes(), kSectorSize);
  image.iv_offset = volume.iv_offset;
  image.troubles.note(volume.note);
}
#endif

}  // namespace

void unlock(Image& image, const std::vector<std::string>& key_names,
            const Surroundings& surroundings) {
  if (image.header.disk.crypt_method == kCryptLuks) {
    unlock_luks_image(image, key_names, surroundings);
  } else {
    const auto keys = surroundings.input.keys.candidates(key_names);
    unlock_aes(image, keys);
    surroundings.input.keys.report(key_names, *keys.front(), true);
  }
}

}  // namespace peelfs::qcow2
