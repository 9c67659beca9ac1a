// Images whose file is the disk of another image: both walk through their tables on one thread.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>

#include "peelfs/io.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

/// How qemu-img is told to write one image. Small clusters: an L2 table has few entries, so that
/// many of them are read while runs are collected.
struct Kind {
  const char* name;
  const char* options;  ///< of qemu-img convert, without input and output
  const char* key;      ///< empty: none
};

constexpr Kind kCompressed{"compressed", "-c -o cluster_size=512", ""};
constexpr Kind kCompressed4K{"compressed 4K", "-c -o cluster_size=4096", ""};
constexpr Kind kEncrypted{
    "encrypted",
    "--object secret,id=s,data=secret -o cluster_size=512,encrypt.format=luks,"
    "encrypt.key-secret=s,encrypt.iter-time=10",
    "secret"};

void convert(const Kind& kind, const std::string& from, const std::string& to) {
  must_run("qemu-img convert -f raw -O qcow2 " + std::string(kind.options) + " " + from + " " + to);
}

OpenedImage opened(const DevicePtr& file, const Kind& kind) {
  return *kind.key == 0 ? open_qcow2(file, nullptr) : open_qcow2(file, nullptr, {kind.key});
}

class NestedImages : public ::testing::TestWithParam<std::pair<Kind, Kind>> {};

TEST_P(NestedImages, ReadTheSameWhetherTheirTablesAreCachedOrNot) {
  NEED_PROGRAM("qemu-img");
  const auto& [outer, inner] = GetParam();
  const TemporaryDirectory folder;
  const std::string raw = folder / "raw", middle = folder / "middle", image = folder / "image";
  Buffer bytes = pattern(1U << 20U, 1);
  // What can be compressed, and differs from cluster to cluster.
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (at % 512 >= 32) bytes[at] = bytes[at - at % 512];
  }
  write_file(raw, bytes);
  convert(inner, raw, middle);
  convert(outer, middle, image);

  std::mt19937 dice(7);  // NOLINT(cert-msc51-cpp): the same test each time
  for (int round = 0; round < 40; ++round) {
    // Opened anew, so that no table is cached.
    const OpenedImage below = opened(file_device(image), outer);
    const OpenedImage above = opened(below.opened.devices.at(0).device, inner);
    for (int i = 0; i < 8; ++i) {
      const std::size_t length = 1 + dice() % 200'000;
      const std::size_t offset = dice() % (bytes.size() - length);
      const Buffer found = read_bytes(above.disk(), offset, length);
      ASSERT_TRUE(std::equal(found.begin(), found.end(),
                             bytes.begin() + static_cast<std::ptrdiff_t>(offset)))
          << length << " bytes at " << offset << ", round " << round;
    }
  }
  const OpenedImage below = opened(file_device(image), outer);
  EXPECT_EQ(difference(opened(below.opened.devices.at(0).device, inner).disk(), raw), "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, NestedImages,
                         ::testing::Values(std::pair(kCompressed, kCompressed),
                                           std::pair(kCompressed4K, kCompressed),
                                           std::pair(kCompressed, kEncrypted),
                                           std::pair(kEncrypted, kCompressed),
                                           std::pair(kEncrypted, kEncrypted)));

}  // namespace
}  // namespace peelfs::test
