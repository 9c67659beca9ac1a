// Every way in which L1 and L2 tables and compressed data can be wrong. What the damage does not
// touch stays readable.
#include <gtest/gtest.h>

#include <functional>

#include "engine/missing.h"
#include "image_maker.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t cluster = 65536;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// An image with two L2 tables; guest clusters 0 to 3 hold 1 to 4, cluster 8192 (the first of the
/// second table) holds 5, cluster 4 is compressed, cluster 6 is zero.
class TableTest : public ::testing::Test {
 protected:
  static void make(Buffer& bytes, const std::string& options) {
    const TemporaryDirectory directory;
    const std::string path = directory / "image.qcow2";
    write_file(directory / "noise", pattern(8192, 1));
    must_run("cd " + directory.path() + " && qemu-img create -q -f qcow2 " + options +
             " image.qcow2 1G && qemu-io -c 'write -c -P 77 256k 64k' -c 'write -P 1 0 64k' -c "
             "'write -P 2 64k 64k' -c 'write -P 3 128k 64k' -c 'write -P 4 192k 64k' -c "
             "'write -P 5 512M 64k' -c 'write -z 384k 64k' image.qcow2");
    bytes = read_file(path);
  }
  static void SetUpTestSuite() {
    if (!have_program("qemu-img")) return;
    make(standard(), "");
    make(extended(), "-o extended_l2=on");
    make(old(), "-o compat=0.10");
    make(zstd(), "-o compression_type=zstd");
  }
  void SetUp() override { NEED_PROGRAM("qemu-img"); }
  static Buffer& standard() {
    static Buffer bytes;
    return bytes;
  }
  static Buffer& extended() {
    static Buffer bytes;
    return bytes;
  }
  static Buffer& old() {
    static Buffer bytes;
    return bytes;
  }
  static Buffer& zstd() {
    static Buffer bytes;
    return bytes;
  }

  /// Spoils the image and expects that reading at `offset` fails with all of `parts`, and that the
  /// byte at `sound` reads as `value`.
  static void expect_damage(const Buffer& bytes, const std::function<void(Spoiled&)>& spoil,
                            std::uint64_t offset, const std::vector<std::string>& parts,
                            std::uint64_t sound, unsigned value) {
    Spoiled spoiled(bytes);
    spoil(spoiled);
    const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
    const std::string message = read_error(image.disk(), offset);
    EXPECT_NE(message, "") << "nothing fails";
    for (const std::string& part : parts) {
      EXPECT_TRUE(contains(message, part)) << message << "\nlacks: " << part;
    }
    EXPECT_EQ(read_error(image.disk(), sound), "");
    EXPECT_EQ(read_bytes(image.disk(), sound, 1).at(0), static_cast<std::byte>(value));
    // Damage behind the bytes asked for does not take them away.
    if (sound < offset) {
      EXPECT_EQ(image.disk().map(sound, 1).length, 1U);
      EXPECT_GE(image.disk().map(sound, offset - sound + 512).length, 1U);
    }
  }
  static constexpr std::uint64_t second_table = 512ULL << 20U;
};

TEST_F(TableTest, TheImageItself) {
  for (const Buffer* bytes : {&standard(), &extended(), &old(), &zstd()}) {
    const OpenedImage image = open_qcow2(std::make_shared<MemoryDevice>(*bytes), nullptr);
    for (unsigned i = 0; i < 4; ++i) {
      EXPECT_EQ(read_bytes(image.disk(), i * cluster, cluster),
                Buffer(cluster, static_cast<std::byte>(i + 1)));
    }
    EXPECT_EQ(read_bytes(image.disk(), 4 * cluster, cluster), Buffer(cluster, std::byte{77}));
    EXPECT_EQ(read_bytes(image.disk(), 6 * cluster, cluster), Buffer(cluster, std::byte{0}));
    EXPECT_EQ(read_bytes(image.disk(), second_table, 1).at(0), std::byte{5});
  }
}

TEST_F(TableTest, L1EntryReservedBits) {
  for (const unsigned bit : {0U, 8U, 56U, 62U}) {
    expect_damage(
        standard(),
        [&](Spoiled& s) { s.put64(s.l1_entry(1), s.get64(s.l1_entry(1)) | 1ULL << bit); },
        second_table, {"L1 entry 1", "reserved bits", "guest offset 0x20000000", "bits 9 to 55"}, 0,
        1);
  }
}

TEST_F(TableTest, L1EntryOutOfTheFile) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l1_entry(1), 1ULL << 40U); }, second_table,
      {"L1 entry 1", "out of the file", "0x10000000000", "file's end"}, 0, 1);
}

TEST_F(TableTest, L1EntryUnaligned) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l1_entry(1), s.get64(s.l1_entry(1)) + 512); },
      second_table, {"L1 entry 1", "not aligned", "multiple of the cluster size 65536"}, 0, 1);
}

TEST_F(TableTest, L2TableOnOtherMetadata) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l1_entry(1), s.get64(40)); }, second_table,
      {"L1 entry 1", "other metadata", "the active L1 table"}, 0, 1);
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l1_entry(1), s.get64(48)); }, second_table + cluster,
      {"other metadata", "the refcount table"}, 0, 1);
}

TEST_F(TableTest, L2TableCutOff) {
  // The second table moves to the end of the file, where only its first two entries have room.
  const auto spoil = [](Spoiled& s) {
    const std::size_t begin = (s.bytes().size() + cluster - 1) / cluster * cluster;
    const std::uint64_t entry = s.get64(s.l2_entry(1, 0));
    s.bytes().resize(begin + 16);
    s.put64(begin, entry);
    s.put64(begin + 8, 0);
    s.put64(s.l1_entry(1), begin | 1ULL << 63U);
  };
  expect_damage(standard(), spoil, second_table + 2 * cluster,
                {"L1 entry 1", "end of the file cuts off", "65536 bytes before"}, second_table, 5);
}

/// What an entry of a table describes is taken away as a whole: walking it goes in one step, and
/// neighbours are one range.
TEST_F(TableTest, WhatDamagedTablesTakeAwayIsOneRange) {
  constexpr std::uint64_t half = second_table;
  const auto expect = [](const Spoiled& spoiled, std::uint64_t offset, bool missing,
                         std::uint64_t length) {
    const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
    const Presence there = presence(image.disk(), offset, image.disk().size() - offset);
    EXPECT_EQ(there.missing, missing) << offset;
    EXPECT_EQ(there.length, length) << offset;
    EXPECT_EQ(read_error(image.disk(), offset) != "", missing) << offset;
  };
  Spoiled sound(standard());
  expect(sound, half, false, cluster);
  for (const std::uint64_t entry : {std::uint64_t{1} << 40U, std::uint64_t{1} << 62U,
                                    std::uint64_t{65536 + 512}, sound.get64(40), sound.get64(48)}) {
    Spoiled second(standard());
    second.put64(second.l1_entry(1), entry);
    expect(second, half, true, half);
    expect(second, half + 12345, true, half - 12345);
    expect(second, 0, false, 4 * cluster);
    Spoiled both(second);
    both.put64(both.l1_entry(0), std::uint64_t{1} << 40U);
    expect(both, 4096, true, 2 * half - 4096);
  }
  // Clusters, too: those of a table that is there, in a file that is cut off.
  Spoiled clusters(standard());
  clusters.put64(clusters.l2_entry(0, 1), 1ULL << 63U | 1ULL << 40U);
  clusters.put64(clusters.l2_entry(0, 2), 1ULL << 63U | 1ULL << 41U);
  expect(clusters, 0, false, cluster);
  expect(clusters, cluster + 1, true, 2 * cluster - 1);
  expect(clusters, 3 * cluster, false, cluster);
}

/// The image lies on something of which parts are gone: a table in them is gone as a whole.
TEST_F(TableTest, ATableOnWhatIsMissingIsOneRange) {
  Spoiled spoiled(standard());
  const std::uint64_t table = spoiled.l2_entry(1, 0);
  const std::uint64_t size = spoiled.bytes().size();
  const DevicePtr whole = spoiled.device();
  const DevicePtr file = make_concat(
      {{whole, 0, table}, {nullptr, 0, cluster}, {whole, table + cluster, size - table - cluster}},
      Error(Fault::missing, "gone"), "a file with a gap");
  const OpenedImage image = open_qcow2(file, nullptr);
  EXPECT_EQ(read_bytes(image.disk(), 0, 1).at(0), std::byte{1});
  EXPECT_TRUE(contains(read_error(image.disk(), second_table), "gone"));
  const Presence there = presence(image.disk(), second_table + 512, second_table - 512);
  EXPECT_TRUE(there.missing);
  EXPECT_EQ(there.length, second_table - 512);
}

TEST_F(TableTest, L1TableCutOff) {
  // The L1 table moves behind the end of what was the file, with one entry left.
  Spoiled spoiled(standard());
  const std::size_t begin = (spoiled.bytes().size() + cluster - 1) / cluster * cluster;
  const std::uint64_t entry = spoiled.get64(spoiled.l1_entry(0));
  spoiled.bytes().resize(begin + 8);
  spoiled.put64(begin, entry);
  spoiled.put64(40, begin);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
  EXPECT_EQ(read_bytes(image.disk(), 0, 1).at(0), std::byte{1});
  const std::string message = read_error(image.disk(), second_table);
  EXPECT_TRUE(contains(message, "L1 entry 1 lies beyond the end of the file")) << message;
}

TEST_F(TableTest, L2EntryReservedBits) {
  for (const unsigned bit : {1U, 8U, 56U, 61U}) {
    expect_damage(
        standard(),
        [&](Spoiled& s) { s.put64(s.l2_entry(0, 1), s.get64(s.l2_entry(0, 1)) | 1ULL << bit); },
        cluster, {"L2 entry 0x", "reserved bits", "guest offset 0x10000"}, 0, 1);
  }
  // With extended entries the zero bit is reserved too.
  expect_damage(
      extended(),
      [](Spoiled& s) { s.put64(s.l2_entry(0, 1, 16), s.get64(s.l2_entry(0, 1, 16)) | 1); }, cluster,
      {"L2 entry 0x", "reserved bits"}, 0, 1);
}

TEST_F(TableTest, ZeroClusterInVersion2) {
  expect_damage(
      old(), [](Spoiled& s) { s.put64(s.l2_entry(0, 1), 1); }, cluster,
      {"L2 entry 0x1 is a zero cluster", "version 2"}, 0, 1);
}

TEST_F(TableTest, ClusterUnaligned) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 1), s.get64(s.l2_entry(0, 1)) + 512); },
      cluster, {"L2 entry", "not aligned", "multiple of the cluster size 65536"}, 0, 1);
  // Also where nothing is read from it.
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 6), 513); }, 6 * cluster,
      {"L2 entry 0x201", "not aligned"}, 0, 1);
}

TEST_F(TableTest, ClusterOutOfTheFile) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 1), 1ULL << 63U | 1ULL << 40U); }, cluster,
      {"out of the file", "0x10000000000", "data's end"}, 0, 1);
}

TEST_F(TableTest, ClusterWithoutPlace) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 1), 1ULL << 63U); }, cluster,
      {"marked as in use but has no place"}, 0, 1);
}

TEST_F(TableTest, ClusterOnMetadata) {
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 1), 1ULL << 63U | s.get64(40)); }, cluster,
      {"leads into metadata", "the active L1 table"}, 0, 1);
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 1), 1ULL << 63U | s.get64(48)); }, cluster,
      {"leads into metadata", "the refcount table"}, 0, 1);
}

TEST_F(TableTest, FileThatEndsInsideOfItsLastCluster) {
  // As qemu writes with subclusters: what is behind the end reads as zero.
  Spoiled spoiled(standard());
  const std::size_t begin = (spoiled.bytes().size() + cluster - 1) / cluster * cluster;
  spoiled.bytes().resize(begin + 700, std::byte{0xee});
  spoiled.put64(spoiled.l2_entry(0, 1), 1ULL << 63U | begin);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
  Buffer expected(cluster);
  std::fill_n(expected.begin(), 700, std::byte{0xee});
  EXPECT_EQ(read_bytes(image.disk(), cluster, cluster), expected);
  EXPECT_FALSE(block_status(image.disk(), cluster + 700, 100).data);
  EXPECT_EQ(image.disk().map(cluster, cluster).length, 700U);
}

TEST_F(TableTest, FileThatEndsInsideOfItsLastClusterOfSubclusters) {
  // All 32 are allocated, and the file has one and a half of them: so we write a cluster whose rest
  // is zero, and qemu reads zeroes there.
  Spoiled spoiled(extended());
  const std::size_t begin = (spoiled.bytes().size() + cluster - 1) / cluster * cluster;
  spoiled.bytes().resize(begin + 3000, std::byte{0xee});
  const std::size_t entry = spoiled.l2_entry(0, 1, 16);
  spoiled.put64(entry, 1ULL << 63U | begin);
  spoiled.put64(entry + 8, 0xffff'ffffULL);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
  Buffer expected(cluster);
  std::fill_n(expected.begin(), 3000, std::byte{0xee});
  EXPECT_EQ(read_bytes(image.disk(), cluster, cluster), expected);
  EXPECT_FALSE(block_status(image.disk(), cluster + 5000, 100).data);
  EXPECT_EQ(image.disk().map(cluster, cluster).length, 3000U);
  const TemporaryDirectory directory;
  write_file(directory / "i.qcow2", spoiled.bytes());
  must_run("cd " + directory.path() + " && qemu-img convert -O raw i.qcow2 raw");
  Buffer theirs = read_file(directory / "raw");
  theirs.erase(theirs.begin(), theirs.begin() + cluster);
  theirs.resize(cluster);
  EXPECT_EQ(theirs, expected);

  // A cluster that begins behind the end was cut off, for every bitmap.
  for (const std::uint64_t bits : {0xffff'ffffULL, 0x1ULL, 0x8000'0000ULL}) {
    expect_damage(
        extended(),
        [&](Spoiled& s) {
          const std::size_t at = s.l2_entry(0, 1, 16);
          s.put64(at, 1ULL << 63U | (s.bytes().size() + cluster - 1) / cluster * cluster);
          s.put64(at + 8, bits);
        },
        cluster + (bits == 0x8000'0000ULL ? cluster - 1 : 0), {"leads out of the file"}, 0, 1);
  }
}

TEST_F(TableTest, SubclusterBitmap) {
  const auto bitmap = [](Spoiled& s, std::size_t index) { return s.l2_entry(0, index, 16) + 8; };
  expect_damage(
      extended(), [&](Spoiled& s) { s.put64(bitmap(s, 1), s.get64(bitmap(s, 1)) | 1ULL << 63U); },
      cluster, {"contradicts itself", "subcluster bitmap 0x80000000ffffffff", "both allocated"}, 0,
      1);
  expect_damage(
      extended(), [&](Spoiled& s) { s.put64(s.l2_entry(0, 1, 16), 0); }, cluster,
      {"has subclusters but no place", "offset is 0"}, 0, 1);
  // Half of the cluster unallocated, a quarter zero.
  Spoiled mixed(extended());
  mixed.put64(bitmap(mixed, 1), 0x0000ff00'000000ffULL);
  const OpenedImage image = open_qcow2(mixed.device(), nullptr);
  Buffer expected(cluster);
  std::fill_n(expected.begin(), cluster / 4, std::byte{2});
  EXPECT_EQ(read_bytes(image.disk(), cluster, cluster), expected);
  EXPECT_EQ(image.disk().map(cluster, cluster).length, cluster / 4);
}

TEST_F(TableTest, CompressedCluster) {
  const std::uint64_t at = 4 * cluster;
  expect_damage(
      standard(),
      [](Spoiled& s) { s.put64(s.l2_entry(0, 4), s.get64(s.l2_entry(0, 4)) | 1ULL << 50U); }, at,
      {"out of the file", "compressed data at"}, 0, 1);
  expect_damage(
      standard(), [](Spoiled& s) { s.put64(s.l2_entry(0, 4), 1ULL << 62U | 16); }, at,
      {"leads into metadata", "the header"}, 0, 1);
  // Into the data of another cluster, which is no deflate stream of a whole cluster.
  expect_damage(
      standard(),
      [](Spoiled& s) {
        s.put64(s.l2_entry(0, 4),
                1ULL << 62U | (s.get64(s.l2_entry(0, 0)) & 0x00ffffffffffffffULL));
      },
      at, {"compressed cluster (zlib) is damaged", "65536 bytes out of", "guest offset 0x40000"}, 0,
      1);
  expect_damage(
      zstd(),
      [](Spoiled& s) {
        s.put64(s.l2_entry(0, 4),
                1ULL << 62U | (s.get64(s.l2_entry(0, 0)) & 0x00ffffffffffffffULL));
      },
      at, {"compressed cluster (zstd) is damaged", "65536 bytes out of"}, 0, 1);
  // With subclusters the bitmap of a compressed cluster is reserved.
  expect_damage(
      extended(), [](Spoiled& s) { s.put64(s.l2_entry(0, 4, 16) + 8, 1); }, at,
      {"reserved bits", "bitmap 0x1"}, 0, 1);
}

TEST_F(TableTest, CompressedClusterOfSmallClustersHasReservedOffsetBits) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image.qcow2";
  must_run("qemu-img create -q -f qcow2 -o cluster_size=512 " + path + " 1M && qemu-io -c " +
           "'write -c -P 77 512 512' " + path);
  Spoiled spoiled(path);
  spoiled.put64(spoiled.l2_entry(0, 1), spoiled.get64(spoiled.l2_entry(0, 1)) | 1ULL << 57U);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
  EXPECT_TRUE(contains(read_error(image.disk(), 512), "offset bits beyond 55"));
}

TEST_F(TableTest, CompressedDataThatIsCutOff) {
  // zlib: the stream ends before it made a cluster. The image ends inside of the compressed bytes.
  for (const Buffer* bytes : {&standard(), &zstd()}) {
    Spoiled spoiled(*bytes);
    const std::size_t begin = (spoiled.bytes().size() + 511) / 512 * 512;
    const std::uint64_t old_place = spoiled.get64(spoiled.l2_entry(0, 4)) & ((1ULL << 54U) - 1);
    spoiled.bytes().resize(begin + 12);
    for (std::size_t i = 0; i < 12; ++i) {
      spoiled.bytes()[begin + i] = spoiled.bytes()[old_place + i];
    }
    spoiled.put64(spoiled.l2_entry(0, 4), 1ULL << 62U | begin);
    const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
    EXPECT_TRUE(contains(read_error(image.disk(), 4 * cluster), "is damaged"));
    EXPECT_EQ(read_bytes(image.disk(), 3 * cluster, 1).at(0), std::byte{4});
  }
}

TEST_F(TableTest, HugeDeclaredWindowDoesNotAllocate) {
  // A zstd frame that demands a window of 128 MiB and holds nothing.
  Spoiled spoiled(zstd());
  const std::size_t begin = (spoiled.bytes().size() + 511) / 512 * 512;
  spoiled.bytes().resize(begin + 512);
  spoiled.put32(begin, 0x28b52ffd);
  spoiled.put8(begin + 4, 0x00);
  spoiled.put8(begin + 5, 0x88);
  spoiled.put32(begin + 6, 0x01000000);
  spoiled.put64(spoiled.l2_entry(0, 4), 1ULL << 62U | begin);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
  EXPECT_TRUE(contains(read_error(image.disk(), 4 * cluster), "is damaged"));
}

TEST_F(TableTest, DamageBehindDoesNotShortenTheAnswerToNothing) {
  Spoiled spoiled(standard());
  spoiled.put64(spoiled.l2_entry(0, 2), 2);
  const OpenedImage image = open_qcow2(spoiled.device(), nullptr);
  EXPECT_EQ(read_bytes(image.disk(), 0, 2 * cluster).size(), 2 * cluster);
  EXPECT_NE(read_error(image.disk(), 0, 2 * cluster + 1), "");
  EXPECT_EQ(read_bytes(image.disk(), 3 * cluster, 1).at(0), std::byte{4});
}

}  // namespace
}  // namespace peelfs::test
