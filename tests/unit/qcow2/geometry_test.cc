// Huge sparse images: offsets beyond 32 bits, L1 tables of many clusters, and memory that stays
// small.
#include <gtest/gtest.h>

#include <fstream>

#include "image_maker.h"
#include "qcow2/read/block_cache.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1ULL << 20U;
constexpr std::uint64_t gib = 1ULL << 30U;
constexpr std::uint64_t tib = 1ULL << 40U;

/// Bytes of this process that are in memory; always 0 with a sanitizer, whose own memory would
/// count.
std::uint64_t resident() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 0;
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return 0;
#endif
#endif
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t pages = 0;
  statm >> size >> pages;
  return pages * 4096;
}

std::uint64_t grown_since(std::uint64_t before) {
  const std::uint64_t now = resident();
  return now - std::min(before, now);
}

struct Geometry {
  std::uint64_t size;
  std::uint64_t cluster;
  std::string more;
};

class GeometryTest : public ::testing::TestWithParam<Geometry> {
 protected:
  void SetUp() override { NEED_PROGRAM("qemu-io"); }
};

TEST_P(GeometryTest, DataAtTheEnds) {
  const auto& [size, cluster, more] = GetParam();
  const TemporaryDirectory directory;
  const std::string path = directory / "huge.qcow2";
  std::vector<std::uint64_t> places{0, size / 3 / 4096 * 4096, size / 2, size - 8192, size - 4096};
  for (const std::uint64_t edge : {2 * tib, 4 * gib, 2 * gib}) {
    if (edge >= size) continue;
    places.push_back(edge - 4096);
    places.push_back(edge);
  }
  std::string writes;
  std::string reads;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::string range =
        " -P " + std::to_string(i + 1) + " " + std::to_string(places[i]) + " 4096'";
    writes += " -c 'write" + range;
    reads += " -c 'read" + range;
  }
  must_run("qemu-img create -q -f qcow2 -o cluster_size=" + std::to_string(cluster) + more + " " +
           path + " " + std::to_string(size) + " && qemu-io" + writes + " " + path);
  ASSERT_EQ(must_run("qemu-io -r" + reads + " " + path).find("verification failed"),
            std::string::npos);

  const std::uint64_t before = resident();
  const OpenedImage image = open_qcow2(path);
  EXPECT_EQ(image.disk().size(), size);
  for (std::size_t i = 0; i < places.size(); ++i) {
    EXPECT_EQ(read_bytes(image.disk(), places[i], 4096),
              Buffer(4096, static_cast<std::byte>(i + 1)))
        << places[i];
  }
  // Opened and read at a dozen places, without the tables between them.
  EXPECT_LT(grown_since(before), 16 * mib);

  // The holes, in few steps: what is allocated is what was written, by cluster.
  std::uint64_t data = 0;
  std::uint64_t steps = 0;
  for (std::uint64_t at = 0; at < size; ++steps) {
    const peelfs::Run run = block_status(image.disk(), at, size - at);
    if (run.data) data += run.length;
    at += run.length;
  }
  EXPECT_LE(data, places.size() * std::max<std::uint64_t>(cluster, 4096));
  EXPECT_GE(data, places.size() * 4096 / 2);
  EXPECT_LT(steps, 2000U);
  EXPECT_LE(qcow2::process_caches().tables.used(), 32 * mib);
  EXPECT_LT(grown_since(before), 64 * mib);
  EXPECT_LT(image.disk().allocated_bytes(), 64 * mib);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, GeometryTest,
    ::testing::Values(Geometry{8 * tib, 65536, ""}, Geometry{8 * tib, 65536, ",extended_l2=on"},
                      Geometry{8 * tib, 4096, ""},            // an L1 table of 32 MiB, the most
                      Geometry{10 * gib, 512, ""},            // likewise
                      Geometry{3 * tib + 4096, 2097152, ""},  // an L1 table of two entries
                      Geometry{1 * tib, 65536, ",preallocation=off,refcount_bits=64"}));

TEST(LargeTables, ThousandsOfL2TablesStayInBoundedMemory) {
  NEED_PROGRAM("qemu-img");
  // 768 L2 tables of 64 KiB, 48 MiB in all, in a hole of the image file: they map nothing.
  const TemporaryDirectory directory;
  const std::string path = directory / "image.qcow2";
  must_run("qemu-img create -q -f qcow2 " + path + " 1T");
  Spoiled image(path);
  for (std::uint64_t i = 0; i < 768; ++i) image.put64(image.l1_entry(i), (i + 16) << 16U);
  write_file(path, image.bytes());
  must_run("truncate -s 128M " + path);
  const std::uint64_t before = resident();
  const OpenedImage opened = open_qcow2(path);
  for (std::uint64_t at = 0; at < tib;) {
    const Extent extent = opened.disk().map(at, tib - at);
    ASSERT_EQ(extent.kind, ExtentKind::zero);
    at += extent.length;
  }
  EXPECT_GT(qcow2::process_caches().tables.used(), 16 * mib);
  EXPECT_LE(qcow2::process_caches().tables.used(), 32 * mib);
  EXPECT_LT(grown_since(before), 64 * mib);
}

TEST(LargeTables, CompressedClustersStayInBoundedMemory) {
  NEED_PROGRAM("qemu-img");
  const TemporaryDirectory directory;
  must_run("cd " + directory.path() + " && yes 'all work and no play' | head -c 80M > source && " +
           "qemu-img convert -c -f raw -O qcow2 -o cluster_size=2M source image.qcow2");
  const OpenedImage image = open_qcow2(directory / "image.qcow2");
  for (std::uint64_t at = 1000; at < image.disk().size(); at += mib) {
    read_bytes(image.disk(), at, 100);
  }
  EXPECT_LE(qcow2::process_caches().clusters.used(), 32 * mib);
}

TEST(Extents, ContiguousClustersAreOneExtent) {
  NEED_PROGRAM("qemu-img");
  const TemporaryDirectory directory;
  const std::string path = directory / "image.qcow2";
  must_run("qemu-img create -q -f qcow2 -o preallocation=metadata " + path + " 256M");
  const OpenedImage image = open_qcow2(path);
  EXPECT_EQ(image.disk().map(0, 256 * mib).length, 256 * mib);
  EXPECT_EQ(image.disk().map(12345, 1000).length, 1000U);
}

}  // namespace
}  // namespace peelfs::test
