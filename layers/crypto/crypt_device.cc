#include <algorithm>
#include <functional>
#include <utility>

#include "crypto/sector_cipher.h"
#include "engine/crew.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "peelfs/partial_write.h"
#include "peelfs/storage.h"

namespace peelfs {
namespace {

/// What one thread does of a large request: 15 to 50 microseconds of AES. A multiple of every
/// sector size.
constexpr std::size_t kPartSize = 128U << 10U;

class CryptDevice final : public BlockDevice {
 public:
  CryptDevice(DevicePtr lower, std::uint64_t data_offset, std::uint64_t size,
              std::shared_ptr<const SectorCipher> cipher, std::uint64_t iv_offset,
              std::string description)
      // dm-crypt raises the logical sector to the encryption sector, and never lowers it.
      : BlockDevice(size, std::max(lower->sector_size(), cipher->sector_size())),
        lower_(std::move(lower)),
        data_offset_(data_offset),
        cipher_(std::move(cipher)),
        iv_offset_(iv_offset),
        description_(std::move(description)) {}

  // A hole of the lower device is not zero here: it decrypts to noise, as with dm-crypt.
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }

  void compute(std::uint64_t offset, MutableBytes out) const override {
    // Wraps as dm-crypt's sector_t does, for an iv_offset near its end.
    read_decrypted(*lower_, data_offset_ + offset, out, *cipher_, iv_offset_ + offset / 512);
  }

  bool writable() const noexcept override { return lower_->writable(); }
  std::string read_only_reason() const override { return lower_->read_only_reason(); }
  void store(std::uint64_t offset, Bytes data) const override {
    // A sector that is only half written decrypts to neither the old nor the new bytes.
    if (granule() > 512) claim_units(*lower_, data_offset_ + offset, data.size(), granule());
    write_encrypted(*lower_, data_offset_ + offset, data, *cipher_, iv_offset_ + offset / 512);
  }
  void flush() const override { lower_->flush(); }
  Extent computed_from(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*lower_, data_offset_ + offset, length);
  }

  std::uint32_t granule() const noexcept override { return cipher_->sector_size(); }
  std::uint64_t allocated_bytes() const override {
    return std::min(size(), lower_->allocated_bytes());
  }
  std::string describe() const override { return description_; }

 private:
  DevicePtr lower_;
  std::uint64_t data_offset_;
  std::shared_ptr<const SectorCipher> cipher_;
  std::uint64_t iv_offset_;
  std::string description_;
};

}  // namespace

void read_decrypted(const BlockDevice& lower, std::uint64_t offset, MutableBytes out,
                    const SectorCipher& cipher, std::uint64_t sector) {
  const bool is_large = out.size() > kPartSize;
  const std::size_t gathered = is_large ? best_read(lower, offset) : 0;
  // A storage that wants large requests gets them; the threads share what is to be decrypted then.
  const bool reads_ahead = gathered > kPartSize;
  for (std::size_t done = 0; reads_ahead && done < out.size();) {
    const std::size_t length = std::min(gathered, out.size() - done);
    read(lower, offset + done, out.subspan(done, length));
    done += length;
  }
  const auto one = [&](std::size_t part) {
    const std::size_t begin = part * kPartSize;
    const MutableBytes bytes = out.subspan(begin, std::min(kPartSize, out.size() - begin));
    if (!reads_ahead) read(lower, offset + begin, bytes);
    cipher.decrypt(bytes, sector + begin / 512);
  };
  share_out(div_round_up(out.size(), kPartSize), std::cref(one));
}

void write_encrypted(const BlockDevice& lower, std::uint64_t offset, Bytes data,
                     const SectorCipher& cipher, std::uint64_t sector) {
  Buffer sectors(data.begin(), data.end());
  const auto one = [&](std::size_t part) {
    const std::size_t begin = part * kPartSize;
    const std::size_t length = std::min(kPartSize, sectors.size() - begin);
    cipher.encrypt(MutableBytes(sectors).subspan(begin, length), sector + begin / 512);
  };
  share_out(div_round_up(sectors.size(), kPartSize), std::cref(one));
  write(lower, offset, sectors);
}

DevicePtr make_crypt_device(DevicePtr lower, std::uint64_t data_offset, std::uint64_t size,
                            std::shared_ptr<const SectorCipher> cipher, std::uint64_t iv_offset,
                            std::string description) {
  if (size % cipher->sector_size() != 0) {
    throw Error(Fault::damaged, description + " is not a whole number of encryption sectors")
        .found(std::to_string(size) + " bytes")
        .expected("a multiple of " + std::to_string(cipher->sector_size()));
  }
  if (checked_add(data_offset, size, "end of the encrypted data") > lower->size()) {
    throw Error(Fault::damaged, description + " reaches beyond the device that holds it")
        .found(figure(data_offset) + " + " + figure(size) + " bytes")
        .expected("at most " + std::to_string(lower->size()));
  }
  return std::make_shared<CryptDevice>(std::move(lower), data_offset, size, std::move(cipher),
                                       iv_offset, std::move(description));
}

}  // namespace peelfs
