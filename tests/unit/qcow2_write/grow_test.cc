// Disks of images made larger: qemu finds them sound, of the new size, with the old bytes and
// zeroes behind; and so at every power cut on the way.
#include "qcow2/grow.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "peelfs/host_file.h"
#include "qcow2/header.h"
#include "support/recording.h"

namespace peelfs::qcow2 {
namespace {

using test::must_run;

constexpr std::uint64_t mib = 1U << 20U;

struct Kind {
  std::string name;
  std::string create;
  std::uint64_t size = 0;
  std::uint64_t grown = 0;
  std::string prepare;  ///< a shell command; $I is the image
  bool snapshot = false;
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"within_the_table", "", 5 * mib + 512, 20 * mib, ""},
      {"longer_table", "-o cluster_size=512", mib, 20 * mib, ""},
      {"table_of_one_cluster", "-o cluster_size=4k", 8 * mib, 40 * mib, ""},
      {"version_2", "-o compat=0.10,cluster_size=4k", 4 * mib, 20 * mib, ""},
      {"extended", "-o extended_l2=on,cluster_size=16k", 8 * mib, 40 * mib, ""},
      {"one_bit_counts", "-o refcount_bits=1,cluster_size=512", mib, 9 * mib, ""},
      {"full_table", "-o cluster_size=512,preallocation=metadata", mib, 9 * mib, ""},
      {"snapshot", "-o cluster_size=4k", 4 * mib, 20 * mib, "qemu-img snapshot -c one $I", true},
      {"bitmaps", "-o cluster_size=4k", 4 * mib, 20 * mib,
       "qemu-img bitmap --add -g 4096 $I one && qemu-img bitmap --add $I two"},
      {"compressed", "-o cluster_size=4k", 4 * mib, 20 * mib,
       "qemu-io -f qcow2 -c 'write -c -P 9 2M 4k' $I"},
      {"empty", "", 0, 9 * mib, ""},
  };
  return all;
}

class Grow : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    const Kind& kind = GetParam();
    must_run("qemu-img create -q -f qcow2 " + kind.create + " " + image_ + " " +
             std::to_string(kind.size));
    if (kind.size != 0) {
      must_run("qemu-io -f qcow2 -c 'write -P 7 300k 200k' -c 'write -P 8 " +
               std::to_string(kind.size - 512) + " 512' " + image_);
    }
    if (!kind.prepare.empty()) must_run("I=" + image_ + "; " + kind.prepare);
    before_ = bytes_of(image_, "");
  }
  Buffer bytes_of(const std::string& image, const std::string& options) const {
    must_run("qemu-img convert -O raw " + options + " " + image + " " + (folder_ / "raw"));
    return test::read_file(folder_ / "raw");
  }
  /// Whether the disk has the old bytes and nothing behind.
  bool right(const std::string& image) const {
    Buffer found = bytes_of(image, "");
    const std::uint64_t size = found.size();
    for (std::size_t at = before_.size(); at < found.size(); ++at) {
      if (found[at] != std::byte{0}) return false;
    }
    found.resize(before_.size());
    return found == before_ && (size == GetParam().size || size == GetParam().grown);
  }

  test::TemporaryDirectory folder_;
  const std::string image_ = folder_ / "image.qcow2";
  Buffer before_;
};

TEST_P(Grow, QemuSeesTheOldBytesAndZeroes) {
  const Kind& kind = GetParam();
  const Buffer snapshot = kind.snapshot ? bytes_of(image_, "-l snapshot.name=one") : Buffer();
  {
    const DevicePtr file =
        make_storage_device(HostFile::open(image_, HostFile::Access::read_write));
    EXPECT_FALSE(cannot_grow(*file, kind.grown).has_value());
    grow_image(file, kind.grown);
  }
  const auto check = test::run("qemu-img check " + image_);
  EXPECT_EQ(check.exit_code, 0) << "neither damage nor leaks: " << check.output;
  EXPECT_EQ(read_header(*make_storage_device(HostFile::open(image_))).size(), kind.grown);
  EXPECT_TRUE(right(image_));
  if (kind.snapshot) {
    // qemu shows a snapshot with the image's size.
    Buffer found = bytes_of(image_, "-l snapshot.name=one");
    found.resize(snapshot.size());
    EXPECT_TRUE(found == snapshot);
  }
  // It can be used up to its new end.
  must_run("qemu-io -f qcow2 -c 'write -P 3 " + std::to_string(kind.grown - 512) + " 512' " +
           image_);
  EXPECT_EQ(test::run("qemu-img check " + image_).exit_code, 0);

  const std::string digest = test::sha256(test::read_file(image_));
  grow_image(make_storage_device(HostFile::open(image_, HostFile::Access::read_write)), kind.size);
  EXPECT_EQ(test::sha256(test::read_file(image_)), digest) << "it never shrinks";
}

TEST_P(Grow, APowerCutLeavesTheOldSizeOrTheNew) {
  const Kind& kind = GetParam();
  Buffer bytes = test::read_file(image_);
  bytes.resize(round_up(bytes.size(), 4U << 20U) + (4U << 20U));  // room for tables
  const auto disk = std::make_shared<test::RecordingDevice>(bytes);
  grow_image(disk, kind.grown);
  std::mt19937_64 random(7);
  std::set<std::string> seen;
  std::set<std::uint64_t> sizes;
  const std::string path = folder_ / "cut.qcow2";
  for (std::size_t at = 0; at <= disk->position(); ++at) {
    for (unsigned turn = 0; turn < 4; ++turn) {
      const Buffer state = disk->after_power_cut(at, random, turn == 0);
      if (!seen.insert(test::sha256(state)).second) continue;
      test::write_file(path, state);
      const auto check = test::run("qemu-img check " + path);
      ASSERT_TRUE(check.exit_code == 0 || check.exit_code == 3) << at << "\n" << check.output;
      ASSERT_TRUE(right(path)) << at;
      sizes.insert(read_header(*make_storage_device(HostFile::open(path))).size());
      // What is left can be made larger again.
      grow_image(make_storage_device(HostFile::open(path, HostFile::Access::read_write)),
                 kind.grown);
      const auto again = test::run("qemu-img check " + path);
      ASSERT_TRUE(again.exit_code == 0 || again.exit_code == 3) << at << "\n" << again.output;
      ASSERT_TRUE(right(path)) << at;
    }
  }
  EXPECT_EQ(sizes, (std::set<std::uint64_t>{kind.size, kind.grown}));
}

INSTANTIATE_TEST_SUITE_P(Every, Grow, ::testing::ValuesIn(kinds()),
                         [](const auto& kind) { return kind.param.name; });

class GrowRefuses : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  }
  /// @param prepare a shell command; $I is the image
  void expect(const std::string& create, const std::string& prepare, std::uint64_t size,
              const std::string& reason) const {
    const std::string image = folder_ / "image.qcow2";
    must_run("cd " + folder_.path() + " && rm -f *.qcow2 *.raw && qemu-img create -q -f qcow2 " +
             create + " image.qcow2 4M");
    if (!prepare.empty()) must_run("I=" + image + "; " + prepare);
    const std::string digest = test::sha256(test::read_file(image));
    const DevicePtr file = make_storage_device(HostFile::open(image, HostFile::Access::read_write));
    const auto problem = cannot_grow(*file, size);
    ASSERT_TRUE(problem.has_value()) << reason;
    EXPECT_NE(std::string(problem->what()).find(reason), std::string::npos) << problem->what();
    EXPECT_THROW(grow_image(file, size), Error);
    EXPECT_EQ(test::sha256(test::read_file(image)), digest);
  }
  test::TemporaryDirectory folder_;
};

TEST_F(GrowRefuses, WhatHasNoSafeWay) {
  expect("-o data_file=data.raw", "", 8 * mib, "external data file");
  expect("-o compat=0.10", "qemu-img snapshot -c one $I", 8 * mib, "compat=1.1");
  expect("-o cluster_size=512", "", 1ULL << 40U, "cluster_size=2M");
  expect("", "printf '\\1' | dd of=$I bs=1 seek=79 conv=notrunc status=none", 8 * mib, "dirty");
}

}  // namespace
}  // namespace peelfs::qcow2
