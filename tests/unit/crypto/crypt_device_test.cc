#include <gtest/gtest.h>

#include "crypto/sector_cipher.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "support/support.h"
#include "support/test_storage.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t data_offset = 1536;

struct Volume {
  Buffer plain;
  DevicePtr device;
};

Volume make_volume(std::uint32_t sector_size, std::uint64_t iv_offset) {
  const auto cipher = SectorCipher::create("aes-xts-plain64", pattern(64, 1), sector_size);
  Volume volume;
  volume.plain = pattern(std::size_t{256} * 1024, sector_size);
  Buffer encrypted = volume.plain;
  cipher->encrypt(encrypted, iv_offset);
  Buffer disk = pattern(data_offset, 2);
  disk.insert(disk.end(), encrypted.begin(), encrypted.end());
  disk.resize(disk.size() + 700);
  volume.device = make_crypt_device(std::make_shared<MemoryDevice>(std::move(disk)), data_offset,
                                    volume.plain.size(), cipher, iv_offset, "volume");
  return volume;
}

TEST(CryptDevice, KeepsTheContract) {
  for (const std::uint32_t size : {512U, 1024U, 4096U}) {
    const Volume volume = make_volume(size, 0);
    EXPECT_EQ(volume.device->sector_size(), size);
    EXPECT_EQ(volume.device->granule(), size);
    EXPECT_EQ(read_bytes(*volume.device, 0, volume.plain.size()), volume.plain);
    check_contract(*volume.device);
  }
}

TEST(CryptDevice, AddsTheIvOffset) {
  for (const std::uint64_t iv_offset : {std::uint64_t{8}, std::uint64_t{1} << 40}) {
    const Volume volume = make_volume(512, iv_offset);
    EXPECT_EQ(read_bytes(*volume.device, 5120, 1000),
              Buffer(volume.plain.begin() + 5120, volume.plain.begin() + 6120));
  }
}

TEST(CryptDevice, KeepsTheLargerSectorOfTheLowerDevice) {
  const auto cipher = SectorCipher::create("aes-xts-plain64", pattern(64, 1), 512);
  const DevicePtr lower = std::make_shared<MemoryDevice>(Buffer(65536), 4096);
  EXPECT_EQ(make_crypt_device(lower, 0, 65536, cipher, 0, "volume")->sector_size(), 4096U);
}

TEST(CryptDevice, AStorageThatWantsLargeRequestsGetsThem) {
  constexpr std::size_t mib = 1U << 20U;
  const auto cipher = SectorCipher::create("aes-xts-plain64", pattern(64, 1), 512);
  const Buffer plain = pattern(8 * mib, 3);
  Buffer encrypted = plain;
  cipher->encrypt(encrypted, 0);
  const auto storage = std::make_shared<TestStorage>(std::move(encrypted));
  const DevicePtr device =
      make_crypt_device(make_storage_device(storage), 0, 8 * mib, cipher, 0, "volume");
  EXPECT_EQ(read_bytes(*device, 0, 8 * mib), plain);
  EXPECT_EQ(storage->take_requests().size(), 64U) << "128 KiB each, by several threads";
  storage->set_best_read(4 * mib);
  EXPECT_EQ(read_bytes(*device, 0, 8 * mib), plain);
  const std::vector<TestStorage::Request> expected{{0, 4 * mib}, {4 * mib, 4 * mib}};
  EXPECT_EQ(storage->take_requests(), expected);
}

// What lies above a hole is noise, and must never be called a hole.
TEST(CryptDevice, HolesBelowAreDataAbove) {
  const TemporaryDirectory folder;
  must_run("truncate -s 1M " + (folder / "sparse"));
  const auto cipher = SectorCipher::create("aes-xts-plain64", pattern(64, 1), 512);
  const DevicePtr device =
      make_crypt_device(file_device(folder / "sparse"), 0, 1U << 20U, cipher, 0, "volume");
  EXPECT_TRUE(block_status(*device, 0, 1U << 20U).data);
  EXPECT_NE(read_bytes(*device, 0, 512), Buffer(512));
  EXPECT_LE(device->allocated_bytes(), 4096U);
  check_contract(*device);
}

TEST(CryptDevice, RefusesWhatDoesNotFit) {
  const auto cipher = SectorCipher::create("aes-xts-plain64", pattern(64, 1), 4096);
  const DevicePtr lower = std::make_shared<MemoryDevice>(Buffer(65536));
  EXPECT_THROW(make_crypt_device(lower, 0, 512, cipher, 0, "volume"), Error);
  EXPECT_THROW(make_crypt_device(lower, 4096, 65536, cipher, 0, "volume"), Error);
  EXPECT_THROW(make_crypt_device(lower, UINT64_MAX - 100, 4096, cipher, 0, "volume"), Error);
  EXPECT_NO_THROW(make_crypt_device(lower, 4096, 65536 - 4096, cipher, 0, "volume"));
}

}  // namespace
}  // namespace peelfs::test
