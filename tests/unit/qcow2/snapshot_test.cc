// Internal snapshots: names, sizes, and every way in which their table can be wrong.
#include <gtest/gtest.h>

#include "engine/missing.h"
#include "image_maker.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Three snapshots: "one" (the disk all 1), "two" (2), "three" (3); now it is 4.
class SnapshotTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!have_program("qemu-img")) return;
    for (const bool old : {false, true}) {
      const TemporaryDirectory directory;
      std::string command = "cd '" + directory.path() +
                            "' && qemu-img create -q -f qcow2 -o compat=" + (old ? "0.10" : "1.1") +
                            ",cluster_size=4096 image 64k";
      int value = 0;
      for (const char* name : {"one", "two", "three", ""}) {
        command += " && qemu-io -c 'write -P " + std::to_string(++value) + " 0 64k' image";
        if (*name != 0) command += " && qemu-img snapshot -c " + std::string(name) + " image";
      }
      must_run(command);
      image(old) = read_file(directory / "image");
    }
  }
  void SetUp() override { NEED_PROGRAM("qemu-img"); }
  static Buffer& image(bool old = false) {
    static Buffer images[2];
    return images[old ? 1 : 0];
  }
  /// Where entry `index` of the snapshot table begins.
  static std::size_t entry(const Spoiled& s, std::size_t index) {
    std::size_t at = s.get64(64);
    for (; index > 0; --index) {
      const std::uint32_t sizes = s.get32(at + 12);
      at += (40 + s.get32(at + 36) + (sizes >> 16U) + (sizes & 0xffffU) + 7) / 8 * 8;
    }
    return at;
  }
  static std::size_t name_of(const Spoiled& s, std::size_t index) {
    const std::size_t at = entry(s, index);
    return at + 40 + s.get32(at + 36) + (s.get32(at + 12) >> 16U);
  }
  static unsigned value(const BlockDevice& device) {
    return std::to_integer<unsigned>(read_bytes(device, 100, 1).at(0));
  }
  static std::string reason(const Inner& inner) {
    return inner.trouble ? text_of(*inner.trouble) : "";
  }
};

TEST_F(SnapshotTest, NamesAndContents) {
  for (const bool old : {false, true}) {
    const OpenedImage opened = open_qcow2(std::make_shared<MemoryDevice>(image(old)), nullptr);
    ASSERT_EQ(opened.opened.devices.size(), 4U);
    EXPECT_EQ(value(opened.disk()), 4U);
    const char* names[] = {"os", "os@one", "os@two", "os@three"};
    for (unsigned i = 1; i < 4; ++i) {
      const Inner& inner = opened.opened.devices[i];
      EXPECT_EQ(inner.name, names[i]);
      EXPECT_EQ(inner.kind, "snapshot");
      EXPECT_EQ(inner.path, std::vector<std::string>{std::string(names[i]).substr(2)});
      EXPECT_EQ(value(*inner.device), i);
      EXPECT_FALSE(inner.trouble);
    }
  }
}

TEST_F(SnapshotTest, EqualAndMissingNames) {
  Spoiled spoiled(image());
  // "two" becomes "one": three bytes each.
  for (std::size_t i = 0; i < 3; ++i) {
    spoiled.put8(name_of(spoiled, 1) + i, static_cast<std::uint8_t>("one"[i]));
  }
  // "three" loses its name.
  spoiled.put16(entry(spoiled, 2) + 14, 0);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  ASSERT_EQ(opened.opened.devices.size(), 4U);
  EXPECT_EQ(opened.opened.devices[1].name, "os@one");
  EXPECT_EQ(opened.opened.devices[2].name, "os@one.2");
  EXPECT_EQ(opened.opened.devices[3].name, "os@3");
  EXPECT_EQ(value(*opened.opened.devices[3].device), 3U);
}

TEST_F(SnapshotTest, EntryWithoutASizeHasTheImages) {
  // As old images have it: the extra data is turned into a part of the ID.
  Spoiled spoiled(image());
  const std::size_t at = entry(spoiled, 0);
  const std::uint32_t extra = spoiled.get32(at + 36);
  spoiled.put32(at + 36, 0);
  spoiled.put16(at + 12, static_cast<std::uint16_t>(extra + 1));
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  EXPECT_EQ(opened.opened.devices.at(1).device->size(), 65536U);
  EXPECT_EQ(value(*opened.opened.devices[1].device), 1U);
}

TEST_F(SnapshotTest, TooManySnapshots) {
  Spoiled spoiled(image());
  spoiled.put32(60, 65537);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  ASSERT_EQ(opened.opened.devices.size(), 1U);
  EXPECT_EQ(value(opened.disk()), 4U);
  EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "degraded: not all snapshots"));
  EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "found 65537, expected at most 65536"));
  spoiled.put32(60, 0xffffffff);
  const OpenedImage absurd = open_qcow2(spoiled.device(), nullptr);
  EXPECT_TRUE(contains(reason(absurd.opened.devices[0]), "found (an absurd number), expected"))
      << reason(absurd.opened.devices[0]);
}

TEST_F(SnapshotTest, TableOutOfTheFile) {
  for (const std::uint64_t offset : {0ULL, 4097ULL, 1ULL << 40U, ~0ULL << 12U}) {
    Spoiled spoiled(image());
    spoiled.put64(64, offset);
    const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
    ASSERT_EQ(opened.opened.devices.size(), 1U);
    EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "the snapshot table's place is wrong"))
        << reason(opened.opened.devices[0]);
    EXPECT_FALSE(contains(reason(opened.opened.devices[0]), "0xfffffffffffff000"));
  }
}

TEST_F(SnapshotTest, TableCutOff) {
  // One more than there are: what follows them is zeroes and, at some point, the end of the file.
  Spoiled spoiled(image());
  const std::size_t end = entry(spoiled, 2) + 20;
  Buffer bytes = spoiled.bytes();
  // The table moves to the end and is cut within its third entry.
  const std::size_t begin = (bytes.size() + 4095) / 4096 * 4096;
  const std::size_t table = spoiled.get64(64);
  bytes.resize(begin);
  bytes.insert(bytes.end(), spoiled.bytes().begin() + static_cast<std::ptrdiff_t>(table),
               spoiled.bytes().begin() + static_cast<std::ptrdiff_t>(end));
  Spoiled moved(std::move(bytes));
  moved.put64(64, begin);
  const OpenedImage opened = open_qcow2(moved.device(), nullptr);
  ASSERT_EQ(opened.opened.devices.size(), 3U);
  EXPECT_EQ(value(*opened.opened.devices[2].device), 2U);
  EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "snapshot 3 of 3"));
  EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "cut off"));
}

TEST_F(SnapshotTest, HugeExtraData) {
  Spoiled spoiled(image());
  spoiled.put32(entry(spoiled, 1) + 36, 0xffffffff);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  ASSERT_EQ(opened.opened.devices.size(), 2U);
  EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "the snapshot table is too large"));
  EXPECT_TRUE(contains(reason(opened.opened.devices[0]), "ends at byte (an absurd number) of it"))
      << reason(opened.opened.devices[0]);
}

TEST_F(SnapshotTest, L1TableOutOfTheFile) {
  const std::vector<std::pair<std::uint64_t, std::string>> cases{
      {4097, "snapshot 'two' L1 table's place is wrong"},
      {0, "behind the header"},
      {1ULL << 40U, "in a file of"}};
  for (const auto& [offset, part] : cases) {
    Spoiled spoiled(image());
    spoiled.put64(entry(spoiled, 1), offset);
    const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
    ASSERT_EQ(opened.opened.devices.size(), 4U);
    EXPECT_TRUE(contains(reason(opened.opened.devices[2]), "damaged"));
    EXPECT_TRUE(contains(reason(opened.opened.devices[2]), part))
        << reason(opened.opened.devices[2]);
    EXPECT_NE(read_error(*opened.opened.devices[2].device, 0), "");
    EXPECT_EQ(value(*opened.opened.devices[3].device), 3U);
    EXPECT_EQ(value(opened.disk()), 4U);
  }
}

TEST_F(SnapshotTest, L1TableTooLarge) {
  Spoiled spoiled(image());
  spoiled.put32(entry(spoiled, 1) + 8, 0xffffffff);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  EXPECT_TRUE(contains(reason(opened.opened.devices.at(2)), "too large"));
  EXPECT_FALSE(contains(reason(opened.opened.devices.at(2)), "4294967295"));
}

TEST_F(SnapshotTest, L1TableTooSmall) {
  Spoiled spoiled(image());
  spoiled.put64(entry(spoiled, 1) + 48, 64U << 20U);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  const Inner& snapshot = opened.opened.devices.at(2);
  EXPECT_EQ(snapshot.device->size(), 64U << 20U);
  EXPECT_TRUE(contains(reason(snapshot), "degraded"));
  EXPECT_TRUE(contains(reason(snapshot), "1 entries where its disk needs 32"));
  EXPECT_EQ(value(*snapshot.device), 2U);
  EXPECT_TRUE(contains(read_error(*snapshot.device, 32U << 20U), "L1 entry 16 does not exist"));
  const Presence there = presence(*snapshot.device, 32U << 20U, 32U << 20U);
  EXPECT_TRUE(there.missing);
  EXPECT_EQ(there.length, 32U << 20U);

  // Nor does a hole at the end of the table go on behind it, where zeroes happen to follow.
  spoiled.put64(spoiled.get64(entry(spoiled, 1)), 0);
  const OpenedImage empty = open_qcow2(spoiled.device(), nullptr);
  EXPECT_EQ(empty.opened.devices.at(2).device->map(0, 64U << 20U).length, 2U << 20U);
}

TEST_F(SnapshotTest, AbsurdSize) {
  Spoiled spoiled(image());
  spoiled.put64(entry(spoiled, 1) + 48, ~0ULL);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  EXPECT_TRUE(contains(reason(opened.opened.devices.at(2)), "absurd"));
  // The digits of the size would help no person, and a file of that size would only break programs
  // that look at it.
  EXPECT_FALSE(contains(reason(opened.opened.devices.at(2)), "18446744073709551615"));
  EXPECT_EQ(opened.opened.devices.at(2).device->size(), opened.disk().size());
}

TEST_F(SnapshotTest, ExternalDataFileHasNoSnapshots) {
  const TemporaryDirectory directory;
  must_run("cd '" + directory.path() +
           "' && qemu-img create -q -f qcow2 -o data_file=data,cluster_size=4096 image 64k");
  Spoiled spoiled(directory / "image");
  // qemu refuses to make one: the table of the other image is put behind the end.
  const Spoiled other(image());
  const std::size_t begin = (spoiled.bytes().size() + 4095) / 4096 * 4096;
  spoiled.bytes().resize(begin);
  const std::size_t table = other.get64(64);
  for (std::size_t i = 0; i < 256; ++i) spoiled.bytes().push_back(Buffer(image()).at(table + i));
  spoiled.put64(64, begin);
  spoiled.put32(60, 1);
  const OpenedImage opened = open_qcow2(spoiled.device(), references_beneath(directory.path()));
  ASSERT_EQ(opened.opened.devices.size(), 2U);
  EXPECT_TRUE(contains(reason(opened.opened.devices[1]), "unsupported"));
  EXPECT_TRUE(contains(reason(opened.opened.devices[1]), "external data file"));
}

TEST_F(SnapshotTest, MemoryStateIsNotPartOfTheDisk) {
  // qemu writes VM state behind the disk: more L1 entries than the disk needs are fine.
  Spoiled spoiled(image());
  spoiled.put32(36, 2);
  const OpenedImage opened = open_qcow2(spoiled.device(), nullptr);
  EXPECT_EQ(opened.disk().size(), 65536U);
  EXPECT_EQ(value(opened.disk()), 4U);
}

}  // namespace
}  // namespace peelfs::test
