// When a device was written, what lies on it is looked at afresh.
#include <sys/mman.h>

#include "support/fixtures.h"
#include "writable.h"

namespace peelfs::test {
namespace {

using Repeel = WritableDisk;

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

TEST_F(Repeel, ANewFilesystemHasItsLinksWhenMkfsReturns) {
  NEED_PROGRAM("mkfs.ext4");
  const Fd before(file("dp1"), O_RDONLY);
  struct stat was {};
  ASSERT_EQ(::stat(file("dp1").c_str(), &was), 0);
  for (int i = 0; i < 5; ++i) {
    const std::string label = "label" + std::to_string(i);
    must_run("mkfs.ext4 -q -F -L " + label + " " + sh(file("dp1")) + " && test -e " +
             sh(file("by-label/" + label)));
    EXPECT_FALSE(exists(file("by-label/label" + std::to_string(i - 1))));
  }
  const std::string json = must_run("cat " + sh(file(".peelfs/status.json")));
  EXPECT_NE(json.find("\"label4\""), std::string::npos) << json;
  struct stat is {};
  ASSERT_EQ(::stat(file("dp1").c_str(), &is), 0);
  EXPECT_EQ(is.st_ino, was.st_ino) << "the device itself is the same";
  EXPECT_EQ(read_error(before), 0);
}

TEST_F(Repeel, PartitionsComeAndGoWhenSfdiskReturns) {
  const Fd gone(file("dp6"), O_RDONLY);
  const Fd remade(file("dp1"), O_RDONLY);
  ASSERT_EQ(read_error(gone) + read_error(remade), 0);  // and their pages are cached
  const Fd disk(file("d"), O_RDONLY);
  must_run("sfdisk -q --delete " + sh(file("d")) + " 6");
  EXPECT_FALSE(exists(file("dp6")));
  EXPECT_EQ(Fd(file("dp6"), O_RDONLY).error(), ENOENT);
  EXPECT_EQ(read_error(gone), ESTALE);
  EXPECT_EQ(read_error(remade), ESTALE);
  EXPECT_EQ(read_error(disk), 0) << "the disk itself is the same";
  EXPECT_EQ(read_error(Fd(file("dp1"), O_RDONLY)), 0);
  must_run("printf '31M,4M,L\\n' | sfdisk -q --append " + sh(file("d")) + " && test $(stat -c %s " +
           sh(file("dp6")) + ") = 4194304");
  // Moved: the file of the same name shows other bytes now.
  const Buffer bytes = pattern(4096, 3);
  ASSERT_EQ(Fd(file("d"), O_RDWR).write(50 * mib, bytes), 0);
  must_run("printf '50M,4M,L\\n' | sfdisk -q -N 3 " + sh(file("d")));
  EXPECT_EQ(Fd(file("dp3"), O_RDONLY).read(0, 4096), bytes);
  struct stat status {};
  ASSERT_EQ(::stat(file("dp3").c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), 4 * mib);
  ASSERT_EQ(Fd(file("dp3"), O_RDWR).write(0, pattern(4096, 4)), 0);
  EXPECT_EQ(Fd(file("d"), O_RDONLY).read(50 * mib, 4096), pattern(4096, 4));
}

TEST_F(Repeel, NothingWrittenMeansNothingPeeled) {
  const Fd part(file("dp1"), O_RDONLY);
  ASSERT_EQ(read_error(part), 0);
  for (int i = 0; i < 3; ++i) {
    Fd disk(file("d"), O_RDWR);
    ASSERT_EQ(disk.error(), 0);
    ASSERT_EQ(::fsync(disk.get()), 0);
  }
  EXPECT_EQ(read_error(part), 0);
  Fd disk(file("d"), O_RDWR);
  ASSERT_EQ(disk.write(0, disk.read(0, 512)), 0);
  EXPECT_EQ(disk.close(), 0);
  EXPECT_EQ(read_error(part), ESTALE) << "the check itself must be able to fail";
}

TEST_F(Repeel, AnFsyncPeelsTooButTheWriterMayGoOn) {
  Fd disk(file("d"), O_RDWR);
  ASSERT_EQ(disk.write(446, Buffer(64)), 0);  // no partitions
  ASSERT_EQ(::fsync(disk.get()), 0);
  EXPECT_TRUE(eventually([&] { return !exists(file("dp1")); }));
  ASSERT_EQ(disk.write(mib, pattern(4096, 1)), 0);
  EXPECT_EQ(disk.read(mib, 4096), pattern(4096, 1));
  EXPECT_EQ(disk.close(), 0);
}

TEST_F(Repeel, ADuplicateDescriptorThatWritesOnIsPeeledAtItsEnd) {
  Fd disk(file("d"), O_RDWR);
  const int second = ::dup(disk.get());
  ASSERT_EQ(disk.close(), 0);
  const Buffer none(64);
  ASSERT_EQ(::pwrite(second, none.data(), none.size(), 446), 64);
  ASSERT_EQ(::close(second), 0);
  EXPECT_FALSE(exists(file("dp1")));
  EXPECT_EQ(Fd(file("dp1"), O_RDWR).error(), ENOENT);
}

TEST_F(Repeel, AMappingThatIsWrittenAfterTheCloseIsPeeledToo) {
  Fd disk(file("d"), O_RDWR);
  auto* const memory = static_cast<std::byte*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, disk.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(disk.close(), 0);
  std::memset(memory + 446, 0, 64);
  ASSERT_EQ(::munmap(memory, 4096), 0);
  EXPECT_TRUE(eventually([&] { return !exists(file("dp1")); }));
  EXPECT_EQ(Fd(file("dp1"), O_RDWR).error(), ENOENT);
}

TEST_F(Repeel, AnImageFormatInARawDiskIsNotFollowed) {
  NEED_PROGRAM("qemu-img");
  must_run("qemu-img create -q -f qcow2 -F raw -b " + sh(plain_) + " " + sh(folder_ / "evil"));
  must_run("dd status=none conv=notrunc if=" + sh(folder_ / "evil") + " of=" + sh(file("d")));
  const std::string listing = must_run("ls " + sh(mount_->path()));
  EXPECT_EQ(Fd(file("d"), O_RDONLY).read(0, 4),
            (Buffer{std::byte{'Q'}, std::byte{'F'}, std::byte{'I'}, std::byte{0xfb}}))
      << listing;
}

TEST(RepeelVolumes, APhysicalVolumeThatIsWipedTakesItsVolumesAlong) {
  NEED_MOUNTS();
  const std::string image = fixture_image("fslvs");
  if (image.empty()) GTEST_SKIP() << "fixture fslvs is not here";
  const TemporaryDirectory folder;
  const std::string source = folder / "fslvs.raw";
  must_run("cp --sparse=always " + sh(image) + " " + sh(source) + " && chmod 600 " + sh(source));
  const Mount mount("-o rw " + sh("raw:" + source));
  const std::string before = must_run("ls " + sh(mount.path()) + " | grep -c -e -");
  EXPECT_NE(before, "0\n");
  std::string pv = "fslvs";
  if (exists(mount / "fslvsp1")) pv = "fslvsp1";
  struct stat status {};
  ASSERT_EQ(::stat((mount / pv).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0400U) << "what is in it is shown";
  const std::string saved =
      must_run("dd status=none bs=1M count=1 if=" + sh(mount / pv) + " of=" + sh(folder / "head"));
  EXPECT_EQ(mount.umount().exit_code, 0);

  const Mount asked("-o rw,writable=" + pv + " " + sh("raw:" + source));
  const std::string volume =
      must_run("ls " + sh(asked.path()) + " | grep -e '[a-z0-9]-' | grep -v by- | head -1");
  Fd old(asked / volume.substr(0, volume.size() - 1), O_RDONLY);
  ASSERT_EQ(read_error(old), 0) << volume;
  must_run("dd status=none conv=notrunc bs=1M count=1 if=/dev/zero of=" + sh(asked / pv));
  EXPECT_EQ(read_error(old), ESTALE);
  EXPECT_FALSE(exists(asked / volume.substr(0, volume.size() - 1)));
  must_run("dd status=none conv=notrunc if=" + sh(folder / "head") + " of=" + sh(asked / pv));
  EXPECT_TRUE(exists(asked / volume.substr(0, volume.size() - 1)));
  EXPECT_EQ(read_error(old), ESTALE);
  old.close();
  EXPECT_EQ(asked.umount().exit_code, 0);
}

}  // namespace
}  // namespace peelfs::test
