// Sector encryption as dm-crypt does it, with libgcrypt's ciphers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "peelfs/block_device.h"
#include "peelfs/keys.h"

namespace peelfs {

/// Encrypts and decrypts whole sectors in bulk. Thread-safe: handles come from a pool, one for each
/// thread that is inside. No allocation once as many handles exist as threads.
class SectorCipher {
 public:
  /// @param spec as dm-crypt names it: "aes-xts-plain64", "aes-cbc-essiv:sha256", "aes-cbc-plain"
  /// @param key the volume key; its length chooses the variant (xts: both halves)
  /// @param sector_size bytes that are one unit of encryption: 512, 1024, 2048 or 4096
  /// @throws Error(Fault::unsupported) for a cipher, mode or IV that is not known, naming it
  static std::shared_ptr<const SectorCipher> create(std::string_view spec, Bytes key,
                                                    std::uint32_t sector_size);
  virtual ~SectorCipher() = default;

  /// In place. @param sector the number of the first sector, in units of 512 bytes for every sector
  /// size (dm-crypt's IV count without iv_large_sectors)
  /// @param data a whole number of sectors
  virtual void decrypt(MutableBytes data, std::uint64_t sector) const = 0;
  virtual void encrypt(MutableBytes data, std::uint64_t sector) const = 0;

  std::uint32_t sector_size() const noexcept { return sector_size_; }

 protected:
  explicit SectorCipher(std::uint32_t sector_size) : sector_size_(sector_size) {}

 private:
  std::uint32_t sector_size_;
};

/// Reads and decrypts whole sectors, on several threads when there are many.
/// @param sector as SectorCipher::decrypt() takes it
/// @throws Error like read()
void read_decrypted(const BlockDevice& lower, std::uint64_t offset, MutableBytes out,
                    const SectorCipher& cipher, std::uint64_t sector);

/// Encrypts whole sectors, on several threads when there are many, and writes them.
/// @throws Error like write()
void write_encrypted(const BlockDevice& lower, std::uint64_t offset, Bytes data,
                     const SectorCipher& cipher, std::uint64_t sector);

/// `size` bytes of plaintext whose ciphertext begins at `data_offset` of `lower`.
/// @param iv_offset what is added to the sector number (512-byte units) to make the IV
DevicePtr make_crypt_device(DevicePtr lower, std::uint64_t data_offset, std::uint64_t size,
                            std::shared_ptr<const SectorCipher> cipher, std::uint64_t iv_offset,
                            std::string description);

}  // namespace peelfs
