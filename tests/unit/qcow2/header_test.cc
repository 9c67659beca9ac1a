// Every way in which the header can be wrong, and what the message says of it.
#include <gtest/gtest.h>

#include <functional>

#include "image_maker.h"
#include "peelfs/error.h"
#include "qcow2/qcow2.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

using ::testing::Test;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class HeaderTest : public Test {
 protected:
  static void SetUpTestSuite() {
    if (!have_program("qemu-img")) return;
    const TemporaryDirectory directory;
    const std::string path = directory / "image.qcow2";
    must_run("qemu-img create -q -f qcow2 -o cluster_size=8192 " + path + " 16M && qemu-io -c " +
             "'write -P 5 0 16k' -c 'write -P 6 15M 8k' " + path);
    image() = read_file(path);
    const std::string old = directory / "old.qcow2";
    must_run("qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=4096 " + old + " 4M");
    version_2() = read_file(old);
  }
  void SetUp() override { NEED_PROGRAM("qemu-img"); }
  static Buffer& image() {
    static Buffer bytes;
    return bytes;
  }
  static Buffer& version_2() {
    static Buffer bytes;
    return bytes;
  }

  /// Spoils the image and expects that opening it fails with all of `parts` in the message.
  static void expect_refusal(const std::function<void(Spoiled&)>& spoil,
                             const std::vector<std::string>& parts) {
    Spoiled spoiled(image());
    spoil(spoiled);
    const std::string message = open_error(spoiled.device());
    for (const std::string& part : parts) {
      EXPECT_TRUE(contains(message, part)) << message << "\nlacks: " << part;
    }
  }
  /// Spoils the image and expects that it opens, with a trouble of that state.
  static void expect_note(const std::function<void(Spoiled&)>& spoil, const std::string& state,
                          const std::string& part) {
    Spoiled spoiled(image());
    spoil(spoiled);
    const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
    ASSERT_TRUE(opened.opened.devices.at(0).trouble);
    EXPECT_EQ(state_name(opened.opened.devices[0].trouble->state), state);
    EXPECT_TRUE(contains(opened.opened.devices[0].trouble->reason, part))
        << opened.opened.devices[0].trouble->reason;
    EXPECT_EQ(read_bytes(opened.disk(), 0, 512), Buffer(512, std::byte{5}));
  }
};

TEST_F(HeaderTest, ProbeKnowsTheMagicOnly) {
  const Identity identity;
  const auto probe = [&](Buffer bytes) {
    const MemoryDevice device(std::move(bytes));
    return qcow2_probe({device, identity});
  };
  EXPECT_FALSE(probe({}));
  EXPECT_FALSE(probe(Buffer(7, std::byte{'Q'})));
  EXPECT_FALSE(probe(Buffer(4096)));
  EXPECT_EQ(probe(image())->format, "qcow2");
  Spoiled version_1(image());
  version_1.put32(4, 1);
  EXPECT_EQ(probe(version_1.bytes())->format, "qcow");
}

TEST_F(HeaderTest, CutOff) {
  for (const std::size_t length : {8U, 71U, 80U, 103U}) {
    Buffer bytes(image().begin(), image().begin() + length);
    const std::string message = open_error(std::make_shared<MemoryDevice>(bytes));
    EXPECT_TRUE(contains(message, "qcow2 header is cut off")) << message;
    EXPECT_TRUE(contains(message, std::to_string(length) + " bytes")) << message;
  }
  // Everything but the L1 table's cluster is there.
  const Spoiled whole(image());
  Buffer bytes(image().begin(), image().begin() + whole.get64(40));
  const std::string message = open_error(std::make_shared<MemoryDevice>(bytes));
  EXPECT_TRUE(contains(message, "the active L1 table's place is wrong")) << message;
  EXPECT_TRUE(contains(message, "truncated")) << message;
}

TEST_F(HeaderTest, Version) {
  expect_refusal([](Spoiled& s) { s.put32(4, 1); }, {"version 1", "2 or 3", "qemu-img convert"});
  expect_refusal([](Spoiled& s) { s.put32(4, 4); }, {"version 4", "expected 2 or 3"});
  expect_refusal([](Spoiled& s) { s.put32(4, 0xffffffff); }, {"version 4294967295"});
}

TEST_F(HeaderTest, ClusterBits) {
  for (const std::uint32_t bits : {0U, 8U, 22U, 63U, 64U, 0xffffffffU}) {
    expect_refusal([&](Spoiled& s) { s.put32(20, bits); },
                   {"cluster_bits", "found " + std::to_string(bits), "9 to 21"});
  }
}

TEST_F(HeaderTest, HeaderLength) {
  for (const std::uint32_t length : {0U, 72U, 103U, 105U, 8200U}) {
    expect_refusal([&](Spoiled& s) { s.put32(100, length); },
                   {"header_length", "found " + std::to_string(length), "multiple of 8"});
  }
  expect_refusal([](Spoiled& s) { s.put32(100, 0xfffffff8U); },
                 {"header_length", "found (an absurd number)", "multiple of 8"});
}

TEST_F(HeaderTest, RefcountOrder) {
  expect_refusal([](Spoiled& s) { s.put32(96, 7); }, {"refcount_order", "found 7", "0 to 6"});
}

TEST_F(HeaderTest, UnknownIncompatibleFeaturesAreNamed) {
  expect_refusal([](Spoiled& s) { s.put64(72, 1ULL << 5U | 1ULL << 63U); },
                 {"does not know", "bit 5", "bit 63", "0x8000000000000020"});
  // The first entry of qemu's feature name table becomes the unknown bit's.
  expect_refusal(
      [](Spoiled& s) {
        s.put64(72, 1ULL << 17U);
        std::size_t at = 104;
        while (s.get32(at) != 0x6803f857) at += 8;
        s.put8(at + 9, 17);
        const std::string name = "warp drive";
        for (std::size_t i = 0; i < 46; ++i) {
          s.put8(at + 10 + i, i < name.size() ? static_cast<std::uint8_t>(name[i]) : 0);
        }
      },
      {"'warp drive' (bit 17)"});
  // A name that fills its field has no NUL, and may be hostile.
  expect_refusal(
      [](Spoiled& s) {
        s.put64(72, 1ULL << 17U);
        std::size_t at = 104;
        while (s.get32(at) != 0x6803f857) at += 8;
        s.put8(at + 9, 17);
        for (std::size_t i = 0; i < 46; ++i) s.put8(at + 10 + i, 0x1b);
      },
      {"\\x1b\\x1b' (bit 17)"});
}

TEST_F(HeaderTest, UnknownOtherFeaturesAreIgnored) {
  Spoiled spoiled(image());
  spoiled.put64(80, ~0ULL);
  spoiled.put64(88, ~0ULL);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  EXPECT_FALSE(opened.opened.devices.at(0).trouble);
  EXPECT_EQ(read_bytes(opened.disk(), 0, 512), Buffer(512, std::byte{5}));
}

TEST_F(HeaderTest, DirtyAndCorruptAreSaid) {
  expect_note([](Spoiled& s) { s.put64(72, 1); }, "note", "marked dirty");
  expect_note([](Spoiled& s) { s.put64(72, 2); }, "note", "marked corrupt");
  expect_note([](Spoiled& s) { s.put64(72, 3); }, "note", "marked dirty");
}

TEST_F(HeaderTest, RefcountTable) {
  expect_note([](Spoiled& s) { s.put64(48, 4097); }, "note", "refcount table's place is wrong");
  expect_note([](Spoiled& s) { s.put64(48, 0); }, "note", "refcount table's place is wrong");
  expect_note([](Spoiled& s) { s.put32(56, 0xffffffff); }, "note", "reading does not need it");
  expect_note([](Spoiled& s) { s.put64(48, 1ULL << 40U); }, "note", "qemu-img check");
}

TEST_F(HeaderTest, Compression) {
  expect_refusal([](Spoiled& s) { s.put8(104, 1); },
                 {"compression_type contradicts", "compression_type 1 with the bit clear"});
  expect_refusal([](Spoiled& s) { s.put64(72, 8); },
                 {"compression_type contradicts", "compression_type 0 with the bit set"});
  expect_refusal(
      [](Spoiled& s) {
        s.put64(72, 8);
        s.put8(104, 2);
      },
      {"compression type 2", "0 (zlib) or 1 (zstd)"});
  // Without the additional field there is no compression type: the bytes at its offset do not
  // count.
  expect_refusal(
      [](Spoiled& s) {
        s.put64(72, 8);
        s.put32(100, 104);
        s.put8(104, 1);
      },
      {"compression_type"});
}

TEST_F(HeaderTest, ExtendedL2NeedsLargeClusters) {
  expect_refusal([](Spoiled& s) { s.put64(72, 16); },
                 {"extended L2 entries", "cluster_bits 13", "14 or more"});
}

TEST_F(HeaderTest, CryptMethod) {
  expect_refusal([](Spoiled& s) { s.put32(32, 3); }, {"crypt_method 3", "2 (LUKS)"});
  expect_refusal([](Spoiled& s) { s.put32(32, 2); },
                 {"LUKS encryption without the full disk encryption header", "0x537be77"});
}

TEST_F(HeaderTest, L1Table) {
  expect_refusal([](Spoiled& s) { s.put32(36, 1); },
                 {"L1 table is too small", "found 1 entries", "expected 2"});
  expect_refusal([](Spoiled& s) { s.put32(36, 0); }, {"L1 table is too small"});
  expect_refusal([](Spoiled& s) { s.put32(36, 0xffffffff); },
                 {"active L1 table is too large", "found (an absurd number) entries", "32 MiB"});
  expect_refusal([](Spoiled& s) { s.put64(40, s.get64(40) + 512); },
                 {"active L1 table's place is wrong", "multiple of the cluster size 8192"});
  expect_refusal([](Spoiled& s) { s.put64(40, 0); },
                 {"active L1 table's place is wrong", "offset 0x0", "behind the header"});
  expect_refusal([](Spoiled& s) { s.put64(40, 1ULL << 40U); },
                 {"active L1 table's place is wrong", "0x10000000000"});
  expect_refusal([](Spoiled& s) { s.put64(40, ~0ULL << 13U); }, {"place is wrong"});
}

TEST_F(HeaderTest, Size) {
  expect_refusal([](Spoiled& s) { s.put64(24, ~0ULL); },
                 {"L1 table is too small", "for (an absurd number) bytes"});
  Spoiled empty(image());
  empty.put64(24, 0);
  empty.put32(36, 0);
  EXPECT_EQ(open_qcow2(empty.device(), nullptr).disk().size(), 0U);
  // Larger than the clusters that are there, but described by the table: all of it is a hole.
  Spoiled odd(image());
  odd.put64(24, (16U << 20U) - 100);
  const OpenedImage opened = open_qcow2(odd.device(), nullptr);
  EXPECT_EQ(opened.disk().size(), (16U << 20U) - 100);
  check_contract(opened.disk());
}

TEST_F(HeaderTest, Extensions) {
  const auto first_extension = [](Spoiled& s) { return std::size_t{s.get32(100)}; };
  expect_refusal([&](Spoiled& s) { s.put32(first_extension(s) + 4, 0xffffffff); },
                 {"extension 0x6803f857 leaves the extension area", "4294967295 bytes", "0x2000"});
  const auto put_extensions = [&](Spoiled& s, std::uint32_t type, std::uint32_t length) {
    std::size_t at = first_extension(s);
    for (int i = 0; i < 2; ++i) {
      s.put32(at, type);
      s.put32(at + 4, length);
      at += 8 + (length + 7) / 8 * 8;
    }
    s.put32(at, 0);
    s.put32(at + 4, 0);
  };
  for (const std::uint32_t type : {0xe2792acaU, 0x44415441U, 0x0537be77U}) {
    expect_refusal([&](Spoiled& s) { put_extensions(s, type, 16); }, {"appears twice"});
  }
  expect_refusal([&](Spoiled& s) { put_extensions(s, 0x0537be77, 8); },
                 {"too short", "expected 16 bytes"});
  // Unknown ones are skipped.
  Spoiled unknown(image());
  put_extensions(unknown, 0x11111111, 21);
  EXPECT_FALSE(open_qcow2(unknown.device(), nullptr).opened.devices.at(0).trouble);
}

TEST_F(HeaderTest, BackingFileName) {
  const auto name = [](Spoiled& s, std::uint64_t offset, std::uint32_t size) {
    s.put64(8, offset);
    s.put32(16, size);
  };
  expect_refusal([&](Spoiled& s) { name(s, 2000, 1024); },
                 {"backing file name", "1024 bytes at offset 0x7d0", "at most 1023"});
  expect_refusal([&](Spoiled& s) { name(s, 8186, 7); }, {"outside of the first cluster"});
  expect_refusal([&](Spoiled& s) { name(s, 1ULL << 50U, 7); }, {"outside of the first cluster"});
  expect_refusal([&](Spoiled& s) { name(s, 80, 7); }, {"between offset 112"});
}

TEST_F(HeaderTest, Version2HasNoFeatures) {
  // What follows the 72 bytes is extensions, here a terminated list.
  Spoiled spoiled(version_2());
  spoiled.put32(72, 0);
  spoiled.put64(80, ~0ULL);
  spoiled.put64(88, ~0ULL);
  spoiled.put32(96, 99);
  EXPECT_FALSE(open_qcow2(spoiled.device(), nullptr).opened.devices.at(0).trouble);
}

TEST_F(HeaderTest, Version2WithTheBackingNameRightBehindTheHeader) {
  const TemporaryDirectory directory;
  write_file(directory / "base", Buffer(4U << 20U, std::byte{9}));
  Spoiled spoiled(version_2());
  spoiled.put64(8, 72);
  spoiled.put32(16, 4);
  for (std::size_t i = 0; i < 4; ++i) spoiled.put8(72 + i, static_cast<std::uint8_t>("base"[i]));
  const OpenedImage opened = open_qcow2(spoiled.device(), references_beneath(directory.path()));
  EXPECT_FALSE(opened.opened.devices.at(0).trouble);
  EXPECT_EQ(read_bytes(opened.disk(), 100, 4), Buffer(4, std::byte{9}));
}

}  // namespace
}  // namespace peelfs::test
