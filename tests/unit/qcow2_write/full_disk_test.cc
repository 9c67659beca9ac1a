// Internal snapshots on a disk that is full, at each page that they would need.
#include <gtest/gtest.h>

#include "../qcow2/qcow2_support.h"
#include "qcow2/overlay.h"
#include "support/scarce.h"

namespace peelfs {
namespace {

using test::must_run;
using test::Scarcity;
using test::TemporaryDirectory;

class FullDisk : public ::testing::Test {
 protected:
  /// @param options of qemu-img create; then: qemu-io and qemu-img commands on $I
  Buffer make(const std::string& options, const std::string& then) const {
    must_run("I=" + path_ + "; rm -f $I; qemu-img create -q -f qcow2 -o " + options + " $I 3M && " +
             then);
    return test::read_file(path_);
  }
  std::string content(const Buffer& image, const std::string& snapshot = "") const {
    test::write_file(path_, image);
    const std::string which = snapshot.empty() ? "" : "-l " + snapshot + " ";
    must_run("qemu-img convert -f qcow2 " + which + "-O raw " + path_ + " " + raw_);
    return test::sha256(test::read_file(raw_));
  }
  /// Not dirty, nothing leaked.
  void expect_clean(const Buffer& image) const {
    test::write_file(path_, image);
    must_run("qemu-img check -q -f qcow2 " + path_ + " 2>&1");
    ASSERT_EQ(std::to_integer<int>(image.at(79)) & 3, 0) << "dirty or corrupt";
  }

  using Change = void (*)(const DevicePtr& file, const std::string& name);
  /// Lets the change meet a full disk at its first page, its second, ... until it succeeds.
  /// @return how often it did not
  unsigned try_all(const Buffer& before, Change change, const std::string& name) const {
    const std::string disk = content(before);
    const auto storage = std::make_shared<Scarcity>();
    for (unsigned pages = 0; pages < 4000; ++pages) {
      SCOPED_TRACE("with " + std::to_string(pages) + " pages");
      storage->put(before);
      storage->allow(pages);
      bool made = false;
      try {
        change(test::device_on(storage), name);
        made = true;
      } catch (const Error& error) {
        EXPECT_EQ(error.error_number(), ENOSPC) << error.what();
      }
      const Buffer after = storage->bytes();
      // Where nothing is changed but what lies behind, one look in eight is enough.
      if (!made && pages % 8 != 0 && std::equal(before.begin(), before.end(), after.begin())) {
        continue;
      }
      expect_clean(after);
      if (HasFatalFailure()) return pages;
      if (made) return pages;
      EXPECT_EQ(content(after), disk);
      EXPECT_EQ(qcow2::list_snapshots(*test::device_on(storage)).size(),
                qcow2::list_snapshots(*test::file_device(path_)).size());
      // And it is usable: the same succeeds once there is space.
      storage->allow(100'000);
      change(test::device_on(storage), name);
      expect_clean(storage->bytes());
      if (HasFailure()) return pages;
    }
    ADD_FAILURE() << "it never succeeds";
    return 0;
  }

  /// Every change of an image with two snapshots.
  void every_change(const std::string& options) const {
    const Buffer image =
        make(options,
             "qemu-io -c 'write -P 1 0 600k' -c 'write -P 2 1M 64k' $I >/dev/null && "
             "qemu-img snapshot -c a $I && qemu-io -c 'write -P 3 300k 200k' $I >/dev/null && "
             "qemu-img snapshot -c b $I && qemu-io -c 'write -P 4 450k 700k' $I >/dev/null");
    const std::string a = content(image, "a"), now = content(image);
    EXPECT_GT(try_all(image, qcow2::create_snapshot, "c"), 0U);
    EXPECT_EQ(content(test::read_file(path_), "c"), now);
    EXPECT_GT(try_all(image, qcow2::revert_to_snapshot, "a"), 0U);
    EXPECT_EQ(content(test::read_file(path_)), a);
    (void)try_all(image, qcow2::delete_snapshot, "a");
    EXPECT_EQ(content(test::read_file(path_)), now);
    (void)try_all(image, qcow2::delete_snapshot, "b");
    EXPECT_EQ(content(test::read_file(path_), "a"), a);
  }

  const TemporaryDirectory folder_;
  const std::string path_ = folder_ / "image.qcow2";
  const std::string raw_ = folder_ / "raw";
};

TEST_F(FullDisk, ASnapshotThatFindsNoSpaceLeavesTheImageAsItWas) {
  every_change("cluster_size=65536");
}

TEST_F(FullDisk, SmallClusters) {
  every_change("cluster_size=4096,refcount_bits=64");
}

TEST_F(FullDisk, ExtendedEntries) {
  every_change("cluster_size=16384,extended_l2=on");
}

// One cluster of wide counts counts 64 clusters, and one cluster of table names 64 of those: 2 MiB.
// A snapshot of an image that ends just before lets the table move.
TEST_F(FullDisk, TheRefcountTableMoves) {
  unsigned moved = 0;
  for (unsigned clusters = 3958; clusters < 3968; ++clusters) {
    const Buffer image = make(
        "cluster_size=512,refcount_bits=64",
        "qemu-io -f qcow2 -c 'write -P 1 0 " + std::to_string(clusters * 512) + "' $I >/dev/null");
    const auto storage = std::make_shared<Scarcity>();
    storage->put(image);
    qcow2::create_snapshot(test::device_on(storage), "s");
    const Buffer after = storage->bytes();
    expect_clean(after);
    if (HasFatalFailure()) return;
    if (std::equal(image.begin() + 48, image.begin() + 60, after.begin() + 48)) continue;
    if (moved++ != 0) continue;
    EXPECT_GT(try_all(image, qcow2::create_snapshot, "s"), 0U);
  }
  EXPECT_GT(moved, 0U);
}

}  // namespace
}  // namespace peelfs
