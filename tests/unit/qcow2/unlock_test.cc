// Encrypted images: with, without and with the wrong key; damaged headers.
#include <gtest/gtest.h>

#include "image_maker.h"
#include "peelfs/budget.h"
#include "peelfs/cancel.h"
#include "qcow2/header.h"
#include "qcow2/qcow2.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class UnlockTest : public ::testing::Test {
 protected:
  static constexpr const char* key = ImageMaker::passphrase;

  static void SetUpTestSuite() {
    if (!have_program("qemu-img")) return;
    maker().emplace();
    for (const char* method : {"aes", "luks"}) {
      ImageOptions options{.size = 1U << 20U, .encryption = method, .writes = 8};
      maker()->make(method, options, 4);
    }
  }
  static void TearDownTestSuite() { maker().reset(); }
  void SetUp() override { NEED_PROGRAM("qemu-img"); }
  static std::optional<ImageMaker>& maker() {
    static std::optional<ImageMaker> made;
    return made;
  }
  /// What opening throws.
  static std::optional<Error> failure(const DevicePtr& file, const std::vector<std::string>& keys) {
    try {
      open_qcow2(file, references_beneath(maker()->directory()), keys);
    } catch (const Error& error) {
      return error;
    }
    return std::nullopt;
  }
};

TEST_F(UnlockTest, WithoutAKeyItIsLocked) {
  for (const char* method : {"aes", "luks"}) {
    const auto error = failure(file_device(maker()->path(method)), {});
    ASSERT_TRUE(error) << method;
    EXPECT_EQ(error->fault(), Fault::locked) << error->what();
  }
}

TEST_F(UnlockTest, WithAWrongKeyLuksIsLocked) {
  const auto error = failure(file_device(maker()->path("luks")), {"wrong", "also wrong"});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->fault(), Fault::locked) << error->what();
}

TEST_F(UnlockTest, OneOfSeveralKeysFits) {
  EXPECT_FALSE(failure(file_device(maker()->path("luks")), {"wrong", key}));
}

TEST_F(UnlockTest, OldAesSaysThatItCannotTell) {
  const OpenedImage image = open_qcow2(maker()->path("aes"), {key});
  ASSERT_TRUE(image.opened.devices.at(0).trouble);
  EXPECT_EQ(image.opened.devices[0].trouble->state, Trouble::note);
  EXPECT_TRUE(contains(image.opened.devices[0].trouble->reason, "cannot tell whether"));
}

TEST_F(UnlockTest, OldAesKeyIsCutAt16BytesAndPadded) {
  // The passphrase has 21 bytes: qemu uses the first 16.
  const OpenedImage whole = open_qcow2(maker()->path("aes"), {key});
  const OpenedImage cut = open_qcow2(maker()->path("aes"), {std::string(key).substr(0, 16)});
  const OpenedImage shorter = open_qcow2(maker()->path("aes"), {std::string(key).substr(0, 15)});
  EXPECT_EQ(sha256(whole.disk()), sha256(cut.disk()));
  EXPECT_NE(sha256(whole.disk()), sha256(shorter.disk()));
}

TEST_F(UnlockTest, ExtentsAreComputedByWholeSectors) {
  for (const char* method : {"aes", "luks"}) {
    const OpenedImage image = open_qcow2(maker()->path(method), {key});
    EXPECT_EQ(image.disk().granule(), 512U);
    for (std::uint64_t at = 0; at < image.disk().size();) {
      const Extent extent = image.disk().map(at, image.disk().size() - at);
      if (extent.kind == ExtentKind::computed) {
        EXPECT_EQ(at % 512, 0U);
        EXPECT_EQ((at + extent.length) % 512, 0U);
      }
      EXPECT_NE(extent.kind, ExtentKind::lower);
      at += extent.length;
    }
  }
}

TEST_F(UnlockTest, DiskWhoseSizeIsNoMultipleOfASector) {
  for (const char* method : {"aes", "luks"}) {
    const OpenedImage whole = open_qcow2(maker()->path(method), {key});
    Spoiled spoiled(maker()->path(method));
    spoiled.put64(24, (1U << 20U) - 100);
    const OpenedImage odd = open_qcow2(spoiled.device(), nullptr, {key});
    Buffer expected = read_bytes(whole.disk(), 0, whole.disk().size());
    expected.resize(expected.size() - 100);
    EXPECT_EQ(read_bytes(odd.disk(), 0, odd.disk().size()), expected);
    check_contract(odd.disk());
  }
}

TEST_F(UnlockTest, EncryptedSectorsBehindTheFilesEnd) {
  // Ciphertext that is not there must not be decrypted from zeroes.
  Spoiled spoiled(maker()->path("aes"));
  std::size_t index = 0;
  while (spoiled.get64(spoiled.l2_entry(0, index)) < 2) ++index;
  const std::size_t begin = (spoiled.bytes().size() + 65535) / 65536 * 65536;
  spoiled.bytes().resize(begin + 1000, std::byte{0x55});
  spoiled.put64(spoiled.l2_entry(0, index), 1ULL << 63U | begin);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr, {key});
  EXPECT_EQ(read_error(image.disk(), index * 65536, 512), "");
  EXPECT_TRUE(contains(read_error(image.disk(), index * 65536 + 512), "out of the file"));
}

TEST_F(UnlockTest, LuksHeaderPlace) {
  const std::size_t extension = 112;
  {
    const Spoiled image(maker()->path("luks"));
    ASSERT_EQ(image.get32(extension), 0x0537be77U);
  }
  const auto expect = [&](std::uint64_t offset, std::uint64_t length, const std::string& part) {
    Spoiled spoiled(maker()->path("luks"));
    spoiled.put64(extension + 8, offset);
    spoiled.put64(extension + 16, length);
    const auto error = failure(spoiled.device(), {key});
    ASSERT_TRUE(error);
    EXPECT_EQ(error->fault(), Fault::damaged);
    EXPECT_TRUE(contains(error->what(), part)) << error->what();
  };
  const Spoiled image(maker()->path("luks"));
  const std::uint64_t offset = image.get64(extension + 8);
  expect(offset + 512, 4096, "LUKS header's place is wrong");
  expect(0, 4096, "behind the first");
  expect(1ULL << 40U, 4096, "LUKS header's place is wrong");
  expect(offset, 1ULL << 40U, "1099511627776 bytes");
  expect(offset, ~0ULL, "LUKS header's place is wrong");
  expect(offset, 0, "0 bytes");
  expect(65536, 4096, "expected LUKS version 1 at offset 0x10000");
  Spoiled version(maker()->path("luks"));
  version.put16(offset + 6, 2);
  const auto error = failure(version.device(), {key});
  ASSERT_TRUE(error);
  EXPECT_TRUE(contains(error->what(), "version 2")) << error->what();
}

TEST_F(UnlockTest, LockedBackingFileLocksTheChain) {
  must_run("cd '" + maker()->directory() +
           "' && qemu-img create -q -f qcow2 -u -b luks -F qcow2 top.qcow2 1M");
  const DevicePtr top = file_device(maker()->path("top.qcow2"));
  const auto error = failure(top, {});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->fault(), Fault::locked);
  EXPECT_TRUE(contains(error->what(), "backing file 'luks'")) << error->what();
  const OpenedImage image = open_qcow2(top, references_beneath(maker()->directory()), {key});
  const OpenedImage base = open_qcow2(maker()->path("luks"), {key});
  EXPECT_EQ(sha256(image.disk()), sha256(base.disk()));
}

/// Opens an image with these keys, within a run.
Opened open_in_run(const std::string& path, const KeyRing& ring, Budget* budget,
                   const Cancel* cancel = nullptr) {
  const DevicePtr file = file_device(path);
  const auto claim = qcow2_probe({*file, Identity()});
  const Limits limits;
  const Member member{file, &*claim, "os", "os", true, nullptr};
  return qcow2_open({{&member, 1}, ring, limits, nullptr, 0, budget, nullptr, nullptr, {}, cancel});
}

std::string error_in_run(const std::string& path, const KeyRing& ring, Budget* budget,
                         const Cancel* cancel = nullptr) {
  try {
    (void)open_in_run(path, ring, budget, cancel);
    return "(no error)";
  } catch (const Error& error) {
    return std::string(fault_name(error.fault())) + ": " + error.what();
  }
}

// The header lies in the image; cryptsetup reads a copy of it.
TEST_F(UnlockTest, AVolumeKeyOpensALuksImage) {
  NEED_PROGRAM("cryptsetup");
  const std::string path = maker()->path("luks");
  const TemporaryDirectory folder;
  const Buffer image = read_file(path);
  const qcow2::Header header = qcow2::read_header(*file_device(path));
  ASSERT_TRUE(header.crypt);
  write_file(folder / "header", Bytes(image).subspan(header.crypt->offset));
  write_file(folder / "key", as_bytes(key));
  must_run("cryptsetup luksDump -q --dump-volume-key --key-file " + (folder / "key") +
           " --volume-key-file " + (folder / "vk") + " " + (folder / "header"));
  const Buffer volume_key = read_file(folder / "vk");
  KeyRing by_passphrase;
  by_passphrase.add_for_all(Secret(as_bytes(key)));
  const Opened expected = open_in_run(path, by_passphrase, nullptr);
  const BlockDevice& disk = *expected.devices.at(0).device;

  KeyRing ring;
  ring.add_for_all({Secret(volume_key), KeyKind::volume_key});
  Budget budget{Limits{}};
  const Opened opened = open_in_run(path, ring, &budget);
  EXPECT_TRUE(read_bytes(*opened.devices.at(0).device, 0, disk.size()) ==
              read_bytes(disk, 0, disk.size()));
  EXPECT_TRUE(ring.uses().front().opened);

  KeyRing wrong;
  wrong.add_for_all({Secret(test::pattern(volume_key.size(), 3)), KeyKind::volume_key});
  EXPECT_TRUE(contains(error_in_run(path, wrong, nullptr), "locked: the volume key given"));
  // Old AES has no other key than the password.
  EXPECT_TRUE(contains(error_in_run(maker()->path("aes"), ring, nullptr), "a password is needed"));
  EXPECT_EQ(text_of(ring.uses().front().others), "a passphrase or a key file");
}

TEST_F(UnlockTest, TheRunPaysForDerivationsAndEndsThem) {
  const std::string path = maker()->path("luks");
  KeyRing ring;
  ring.add_for_all(Secret(as_bytes(key)));
  Budget budget{Limits{}};
  const std::uint64_t whole = budget.left(Budget::Kind::kdf_milliseconds);
  EXPECT_EQ(open_in_run(path, ring, &budget).devices.size(), 1U);
  EXPECT_LT(budget.left(Budget::Kind::kdf_milliseconds), whole);
  budget.take(Budget::Kind::kdf_milliseconds, UINT64_MAX);
  EXPECT_TRUE(contains(error_in_run(path, ring, &budget), "--kdf-seconds"));
  EXPECT_EQ(budget.endings().size(), 1U);
}

TEST_F(UnlockTest, ACancelledRunOpensNoImage) {
  Cancel cancel;
  cancel.request();
  EXPECT_EQ(error_in_run(maker()->path("luks"), KeyRing(), nullptr, &cancel),
            "denied: the run was cancelled");
}

}  // namespace
}  // namespace peelfs::test
