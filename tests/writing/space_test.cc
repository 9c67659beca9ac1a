// Storage that runs out of space: the bytes that a write reports as written are written, and no
// others have changed, with any layers between the device and the storage.
#include <gtest/gtest.h>

#include "crypto/sector_cipher.h"
#include "peelfs/io.h"
#include "peelfs/partial_write.h"
#include "qcow2/overlay.h"
#include "raid/mirror_device.h"
#include "support/scarce.h"
#include "writing/dice.h"
#include "writing/model.h"
#include "writing/outside.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t disk_size = 1536 * 1024 + 512;

/// A device and the storage below it.
struct Scarce {
  std::vector<std::shared_ptr<Scarcity>> storages;
  DevicePtr device;
  /// Fails the test when the storage does not hold what it should.
  std::function<void(const Model& model)> look = [](const Model&) {};
};

struct ScarceStack {
  std::string name;
  std::function<Scarce()> make;
};
void PrintTo(const ScarceStack& stack, std::ostream* out) {
  *out << stack.name;
}

/// @param holes which pages have no space: every third, the tail, ...
std::shared_ptr<Scarcity> storage_of(std::uint64_t size) {
  Buffer bytes = pattern(size, 3);
  Dice dice(seed_for("holes"));
  for (unsigned i = 0; i < 40; ++i) {
    const Range hole = dice.aligned(size, 65536, Scarcity::page, 100'000);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(hole.offset), hole.length,
                std::byte{0});
  }
  auto storage = std::make_shared<Scarcity>();
  storage->put(bytes);
  return storage;
}

DevicePtr encrypted(const DevicePtr& lower, std::uint64_t offset, std::uint32_t sector) {
  const Buffer key = pattern(64, 1);
  const std::uint64_t size = round_down(lower->size() - offset, sector);
  return make_crypt_device(lower, offset, size,
                           SectorCipher::create("aes-xts-plain64", key, sector), 0, "encrypted");
}

Scarce with_cipher(std::uint64_t offset, std::uint32_t sector) {
  const auto storage = storage_of(disk_size);
  return {{storage}, encrypted(device_on(storage), offset, sector)};
}

/// @param with_backing the disk's bytes are those of a file below at first
Scarce qcow2_image(const std::string& options, bool with_backing = false) {
  const auto storage = std::make_shared<Scarcity>();
  const TemporaryDirectory folder;
  const std::string path = folder / "i.qcow2";
  must_run("qemu-img create -q -f qcow2 -o " + options + " " + path + " " +
           std::to_string(disk_size) + " && qemu-io -f qcow2 -c 'write -P 7 100k 300k' " + path +
           " >/dev/null && qemu-img snapshot -c s " + path +
           " && qemu-io -f qcow2 -c 'write -P 9 200k 40k' " + path + " >/dev/null");
  storage->put(read_file(path));
  DevicePtr backing;
  if (with_backing) backing = std::make_shared<MemoryDevice>(pattern(disk_size - 70'000, 4));
  Scarce scarce{{storage}, qcow2::open_overlay(device_on(storage), backing, "image")};
  scarce.look = [storage, with_backing](const Model& model) {
    const TemporaryDirectory place;
    const std::string copy = place / "i.qcow2";
    write_file(copy, storage->bytes());
    must_run("qemu-img check -q -f qcow2 " + copy + " 2>&1");
    if (with_backing) return;
    must_run("qemu-img convert -f qcow2 -O raw " + copy + " " + (place / "raw"));
    EXPECT_EQ(model.difference(0, read_file(place / "raw")), "");
  };
  return scarce;
}

std::vector<ScarceStack> scarce_stacks() {
  std::vector<ScarceStack> list;
  list.push_back({"plain", [] {
                    const auto storage = storage_of(disk_size);
                    return Scarce{{storage}, device_on(storage)};
                  }});
  // A partition that begins at sector 63 puts no sector of 4096 bytes into one page.
  list.push_back({"encrypted", [] { return with_cipher(4096, 512); }});
  list.push_back({"encrypted_4096", [] { return with_cipher(4096, 4096); }});
  list.push_back({"encrypted_4096_askew", [] { return with_cipher(63 * 512, 4096); }});
  list.push_back({"qcow2", [] { return qcow2_image("cluster_size=65536"); }});
  list.push_back({"qcow2_4k", [] { return qcow2_image("cluster_size=4096"); }});
  list.push_back({"qcow2_512", [] { return qcow2_image("cluster_size=512"); }});
  list.push_back({"qcow2_over_another", [] { return qcow2_image("cluster_size=65536", true); }});
  list.push_back(
      {"qcow2_extended", [] { return qcow2_image("cluster_size=65536,extended_l2=on"); }});
  list.push_back({"encrypted_in_qcow2_512", [] {
                    Scarce scarce = qcow2_image("cluster_size=512");
                    scarce.device = encrypted(scarce.device, 512, 4096);
                    scarce.look = [](const Model&) {};
                    return scarce;
                  }});
  list.push_back({"mirror", [] {
                    Scarce scarce;
                    std::vector<Piece> legs;
                    for (unsigned i = 0; i < 3; ++i) {
                      scarce.storages.push_back(storage_of(disk_size));
                      legs.push_back({device_on(scarce.storages.back()), 0, disk_size});
                    }
                    scarce.device = raid::make_mirror(std::move(legs), {}, "mirror");
                    scarce.look = [storages = scarce.storages](const Model& model) {
                      for (const auto& storage : storages) {
                        EXPECT_EQ(model.difference(0, storage->bytes()), "");
                      }
                    };
                    return scarce;
                  }});
  return list;
}

class WriteSpace : public ::testing::TestWithParam<ScarceStack> {};

TEST_P(WriteSpace, WhatIsRefusedHasNotChanged) {
  if (!have_program("qemu-img") || !have_program("qemu-io")) GTEST_SKIP() << "needs qemu-utils";
  const unsigned rounds = nightly() ? 60 : 4;
  unsigned refused = 0, shortened = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Dice dice(seed_for(GetParam().name) + round);
    const Scarce scarce = GetParam().make();
    const BlockDevice& device = *scarce.device;
    Model model(read_bytes(device, 0, device.size()));
    for (unsigned i = 0; i < 120; ++i) {
      for (const auto& storage : scarce.storages) {
        if (i % 5 == 0) storage->allow(dice.below(dice.chance(20) ? 80 : 12));
      }
      const Range at = dice.range(device.size(), 65536, dice.chance(50) ? 16384 : 200'000);
      const Buffer bytes = pattern(at.length, 1000 * round + i);
      std::size_t written = 0;
      try {
        written = write_some(device, at.offset, bytes);
        ASSERT_GE(written, 1U);
        if (written < at.length) ++shortened;
      } catch (const Error& error) {
        ASSERT_EQ(error.error_number(), ENOSPC) << error.what();
        ++refused;
      }
      model.note("wanted " + std::to_string(at.length) + " at " + std::to_string(at.offset));
      model.write("write", at.offset, Bytes(bytes).first(written));
      const Buffer found = read_bytes(device, 0, device.size());
      const std::string difference = model.difference(0, found);
      ASSERT_EQ(difference, "") << how_to_repeat();
      // What was accepted can be made durable, however little space there is.
      if (dice.chance(10)) device.flush();
    }
    device.flush();
    scarce.look(model);
    if (HasFailure()) FAIL() << how_to_repeat();
  }
  EXPECT_GT(refused, 0U);
  EXPECT_GT(shortened, 0U);
}

INSTANTIATE_TEST_SUITE_P(Every, WriteSpace, ::testing::ValuesIn(scarce_stacks()),
                         [](const auto& stack) { return stack.param.name; });

}  // namespace
}  // namespace peelfs::test
