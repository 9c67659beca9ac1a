// A qcow2 image that lies in an ext filesystem is written to: it allocates clusters, so its file
// grows, so the filesystem allocates blocks.
#include <gtest/gtest.h>

#include <map>

#include "ext/ext.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "peelfs/io.h"
#include "qcow2/overlay.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

Opened open_ext(const DevicePtr& device, Claim& claim) {
  claim = ext_probe({*device, {}}).value();
  const Member member{device, &claim, "disk", "disk", false, nullptr};
  const KeyRing keys;
  const Limits limits;
  return ext_open({{&member, 1}, keys, limits, nullptr, 0, nullptr, nullptr, &standard_formats()});
}

TEST(NestedWrite, Qcow2InExt) {
  for (const char* program : {"mke2fs", "debugfs", "e2fsck", "qemu-img"}) {
    if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
  }
  for (const std::string kind : {"ext2", "ext4"}) {
    const TemporaryDirectory folder;
    const std::string image = folder / "image", inner = folder / "dumped.qcow2";
    must_run("mkdir " + (folder / "tree") + " && qemu-img create -q -f qcow2 " +
             (folder / "tree/os43.qcow2") + " 8M && truncate -s 32M " + image +
             " && /sbin/mke2fs -q -F -t " + kind + " -d " + (folder / "tree") + " " + image);
    Buffer whole;
    {
      Claim claim;
      const Opened opened = open_ext(writable_file_device(image), claim);
      ASSERT_EQ(opened.devices.size(), 1U);
      const DevicePtr disk = qcow2::open_overlay(opened.devices[0].device, nullptr, "os43");
      whole = check_write_contract(*disk);
    }
    must_run("/sbin/e2fsck -fn " + image);
    must_run("/sbin/debugfs -R 'dump /os43.qcow2 " + inner + "' " + image + " 2>/dev/null");
    must_run("qemu-img check " + inner);
    must_run("qemu-img convert -O raw " + inner + " " + (folder / "raw"));
    EXPECT_TRUE(read_file(folder / "raw") == whole) << kind;
  }
}

class FullHost : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* program : {"mke2fs", "debugfs", "e2fsck", "qemu-img"}) {
      if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
    }
  }

  std::string at(const std::string& name) const { return folder_ / name; }

  /// A filesystem of `size` that holds what is in the folder `tree`. @param kind for mke2fs -t
  void make_ext(const std::string& image, const std::string& tree, const std::string& size,
                const std::string& kind = "ext4") const {
    must_run("truncate -s " + size + " " + at(image) + " && /sbin/mke2fs -q -F -t " + kind +
             " -m 0 -d " + at(tree) + " " + at(image));
  }

  /// Writes scattered over the disk, so that data and tables compete for the last blocks, until
  /// nothing more is taken; nothing is flushed meanwhile.
  void fill(const BlockDevice& disk, std::size_t step) {
    bool full = false;
    for (std::uint64_t i = 0; i < disk.size() / step; ++i) {
      const std::uint64_t offset = i * 2731 % (disk.size() / step) * step;
      Buffer bytes = pattern(step, i);
      try {
        write(disk, offset, bytes);
        accepted_[offset] = std::move(bytes);
      } catch (const Error& error) {
        ASSERT_EQ(error.error_number(), ENOSPC) << error.what();
        full = true;
      }
    }
    EXPECT_TRUE(full);
    EXPECT_GT(accepted_.size() * step, 4U << 20U);
  }

  /// Takes a file out of a filesystem that e2fsck finds clean.
  void dump(const std::string& image, const std::string& file) const {
    must_run("/sbin/e2fsck -fn " + at(image));
    must_run("/sbin/debugfs -R 'dump /" + file + " " + at(file) + "' " + at(image) +
             " 2>/dev/null");
    must_run("qemu-img check " + at(file));
  }

  /// Everything that was accepted is there, however full it was.
  void check(const std::string& image) const {
    must_run("qemu-img convert -O raw " + at(image) + " " + at("raw"));
    const Buffer raw = read_file(at("raw"));
    std::size_t lost = 0;
    for (const auto& [offset, bytes] : accepted_) {
      lost +=
          std::equal(bytes.begin(), bytes.end(), raw.begin() + static_cast<std::ptrdiff_t>(offset))
              ? 0
              : 1;
    }
    EXPECT_EQ(lost, 0U) << "of " << accepted_.size();
  }

  const TemporaryDirectory folder_;
  std::map<std::uint64_t, Buffer> accepted_;
};

/// Small clusters need many tables: an L2 table for 64 clusters, a refcount block for 256.
class FullHostFilesystem : public FullHost, public ::testing::WithParamInterface<const char*> {};

TEST_P(FullHostFilesystem, RefusesBeforeItAccepts) {
  must_run("mkdir " + at("tree") + " && qemu-img create -q -f qcow2 -o cluster_size=" + GetParam() +
           " " + at("tree/os43.qcow2") + " 32M");
  make_ext("image", "tree", "12M");
  {
    Claim claim;
    const Opened opened = open_ext(writable_file_device(at("image")), claim);
    ASSERT_EQ(opened.devices.size(), 1U);
    const DevicePtr disk = qcow2::open_overlay(opened.devices[0].device, nullptr, "os43");
    ASSERT_NO_FATAL_FAILURE(fill(*disk, 4096));
    EXPECT_NO_THROW(disk->flush());
  }
  dump("image", "os43.qcow2");
  check("os43.qcow2");
}

INSTANTIATE_TEST_SUITE_P(ClusterSizes, FullHostFilesystem, ::testing::Values("512", "65536"));

/// A filesystem between two others, and how long what is written to it is.
struct Middle {
  const char* kind;
  std::size_t step;
};
void PrintTo(const Middle& middle, std::ostream* out) {
  *out << middle.kind << " in pieces of " << middle.step;
}

/// The tables of the filesystem in the middle are written for the first time, too, in an image that
/// has to allocate for them. Whole clusters leave the file in one piece; parts of them leave holes
/// in it, and its map needs nodes.
class FullHostTwoDeep : public FullHost, public ::testing::WithParamInterface<Middle> {};

TEST_P(FullHostTwoDeep, RefusesBeforeItAccepts) {
  must_run("mkdir " + at("inner") + " " + at("outer") + " && qemu-img create -q -f qcow2 " +
           at("inner/os43.qcow2") + " 32M");
  make_ext("middle", "inner", "64M", GetParam().kind);
  must_run("qemu-img convert -O qcow2 -o cluster_size=4096 " + at("middle") + " " +
           at("outer/disk.qcow2"));
  make_ext("image", "outer", "16M");
  {
    Claim outer_claim;
    Claim inner_claim;
    const Opened outer = open_ext(writable_file_device(at("image")), outer_claim);
    ASSERT_EQ(outer.devices.size(), 1U);
    const Opened inner =
        open_ext(qcow2::open_overlay(outer.devices[0].device, nullptr, "disk"), inner_claim);
    ASSERT_EQ(inner.devices.size(), 1U);
    const DevicePtr disk = qcow2::open_overlay(inner.devices[0].device, nullptr, "os43");
    ASSERT_NO_FATAL_FAILURE(fill(*disk, GetParam().step));
    EXPECT_NO_THROW(disk->flush());
  }
  dump("image", "disk.qcow2");
  must_run("qemu-img convert -O raw " + at("disk.qcow2") + " " + at("middle"));
  dump("middle", "os43.qcow2");
  check("os43.qcow2");
}

INSTANTIATE_TEST_SUITE_P(Pieces, FullHostTwoDeep,
                         ::testing::Values(Middle{"ext4", 65536}, Middle{"ext4", 4096},
                                           Middle{"ext4 -b 1024", 4096}, Middle{"ext2", 4096},
                                           Middle{"ext2 -b 1024", 4096}));

}  // namespace
}  // namespace peelfs::test
