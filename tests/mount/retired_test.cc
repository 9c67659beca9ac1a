// What was written through a device must never be written again once something else is in its
// place, nor be lost in silence.
#include <sys/mman.h>

#include <linux/falloc.h>

#include <filesystem>

#include "mount/mount.h"
#include "support/fixtures.h"
#include "writable.h"

namespace peelfs::test {
namespace {

/// An ext4 filesystem of 64 MiB in fs.img that holds vm.qcow2, a disk of 16 MiB.
class Nested : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("mkfs.ext4");
    NEED_PROGRAM("debugfs");
    NEED_PROGRAM("qemu-img");
    source_ = folder_ / "fs.img";
    const std::string inner = folder_ / "vm.qcow2";
    write_file(source_, {});
    ASSERT_EQ(::truncate(source_.c_str(), 64 * mib), 0);
    must_run("mkfs.ext4 -q -F " + sh(source_) + " && qemu-img create -q -f qcow2 " + sh(inner) +
             " 16M && qemu-io -f qcow2 -c 'write -q -P 1 0 1M' " + sh(inner) +
             " && debugfs -w -R 'write " + inner + " vm.qcow2' " + sh(source_) + " 2>&1");
    mount_.emplace("-o rw " + sh(source_));
  }

  TemporaryDirectory folder_;
  std::string source_;
  std::optional<Mount> mount_;
};

TEST_F(Nested, AMappingThatOutlivesTheCloseIsFlushedBeforeTheFilesystemIsOverwritten) {
  Fd disk(*mount_ / "vm", O_RDWR);
  ASSERT_EQ(disk.error(), 0);
  auto* const memory = static_cast<std::byte*>(
      ::mmap(nullptr, 16 * mib, PROT_READ | PROT_WRITE, MAP_SHARED, disk.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(disk.close(), 0);
  std::memset(memory + 12 * mib, 'Z', 8192);  // clusters that have to be allocated
  ASSERT_EQ(::munmap(memory, 16 * mib), 0);
  {
    // The kernel reports the last close some time after the munmap.
    ASSERT_TRUE(eventually([&] { return Fd(*mount_ / "fs", O_RDWR).error() == 0; }));
    Fd container(*mount_ / "fs", O_RDWR);
    ASSERT_EQ(container.error(), 0) << mount_->log();
    const Buffer zeroes(mib);
    for (std::uint64_t at = 0; at < 64 * mib; at += mib) ASSERT_EQ(container.write(at, zeroes), 0);
    EXPECT_EQ(container.close(), 0);
  }
  const CommandResult ended = mount_->umount();
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  must_run("truncate -s 64M " + sh(folder_ / "zero"));
  const CommandResult same = run("cmp " + sh(source_) + " " + sh(folder_ / "zero"));
  EXPECT_EQ(same.exit_code, 0) << same.output;
}

TEST_F(Nested, AnFsyncOfOneWhoOnlyReadsFlushesWhatOthersWrote) {
  NEED_PROGRAM("qemu-io");
  const Fd writer(*mount_ / "vm", O_RDWR);
  ASSERT_EQ(writer.write(12 * mib, Buffer(65536, std::byte{0x5a})), 0);
  const Fd reader(*mount_ / "vm", O_RDONLY);
  ASSERT_EQ(::fsync(reader.get()), 0);
  // The state that is durable now, although the writer goes on.
  const std::string copy = folder_ / "copy.img";
  const std::string inner = folder_ / "copy.qcow2";
  // Copied by this process: a child closes the writer's descriptor when it begins, which flushes.
  std::filesystem::copy_file(source_, copy);
  must_run("debugfs -R 'dump vm.qcow2 " + inner + "' " + sh(copy) + " 2>&1");
  const std::string seen = must_run("qemu-io -f qcow2 -c 'read -P 0x5a 12M 64k' " + sh(inner));
  EXPECT_EQ(seen.find("verification failed"), std::string::npos) << seen;
}

TEST_F(Nested, AnImageFileThatHasGrownIsShownWhole) {
  NEED_PROGRAM("qemu-io");
  const std::string copy = folder_ / "copy.qcow2";
  const Fd before(*mount_ / "vm.qcow2", O_RDONLY);
  ASSERT_EQ(before.error(), 0);
  for (const std::uint64_t at : {4 * mib, 8 * mib}) {
    Fd disk(*mount_ / "vm", O_RDWR);
    ASSERT_EQ(disk.write(at, Buffer(2 * mib, std::byte{0x5a})), 0);
    ASSERT_EQ(disk.close(), 0);
    must_run("cat " + sh(*mount_ / "vm.qcow2") + " > " + sh(copy));
    must_run("qemu-img check " + sh(copy));
    const std::string seen = must_run("qemu-io -f qcow2 -c 'read -P 1 0 1M' -c 'read -P 0x5a " +
                                      std::to_string(at) + " 2M' " + sh(copy));
    EXPECT_EQ(seen.find("verification failed"), std::string::npos) << seen;
  }
  EXPECT_EQ(read_error(before), ESTALE) << "it would take a part of the file for all of it";
  // Programs that read or write the disk itself go on.
  EXPECT_EQ(Fd(*mount_ / "vm", O_RDONLY).read(4 * mib, 4096), Buffer(4096, std::byte{0x5a}));
}

TEST(Retired, SeekingInATableThatIsGoneIsRefused) {
  NEED_MOUNTS();
  NEED_PROGRAM("sfdisk");
  const TemporaryDirectory folder;
  const std::string source = folder / "d.img";
  make_disk(source);
  const Mount mount("-o rw " + sh(source));
  const Fd part(mount / "dp1", O_RDONLY);
  ASSERT_NE(::lseek(part.get(), 0, SEEK_HOLE), -1);
  must_run("sfdisk -q --delete " + sh(mount / "d") + " 1");
  for (const int whence : {SEEK_DATA, SEEK_HOLE}) {
    errno = 0;
    EXPECT_EQ(::lseek(part.get(), 0, whence), -1);
    EXPECT_EQ(errno, ESTALE);
  }
}

TEST(Zeroing, WhatFailsHalfWayLeavesNoOldPages) {
  NEED_MOUNTS();
  NEED_PROGRAM("qemu-img");
  NEED_PROGRAM("qemu-io");
  const TemporaryDirectory folder;
  const std::string base = folder / "base.qcow2";
  const std::string top = folder / "top.qcow2";
  // In this version zeroes above a backing file are written, into clusters that the host has no
  // room for.
  must_run("qemu-img create -q -f qcow2 " + sh(base) +
           " 8M && qemu-io -f qcow2 -c 'write -q -P 1 " + "0 8M' " + sh(base) +
           " && qemu-img create -q -f qcow2 -o compat=0.10 -F qcow2 -b " + sh(base) + " " +
           sh(top) + " && qemu-io -f qcow2 -c 'write -q -P 2 0 64k' " + sh(top));
  const std::string at = folder / "m";
  must_run("mkdir " + sh(at) + "; ulimit -f $(($(stat -c %s " + sh(top) + ") / 512 + 1)); " +
           program() + " mount -o rw " + sh(top) + " " + sh(at));
  {
    const Fd fd(at + "/top", O_RDWR);
    const Fd direct(at + "/top", O_RDONLY | O_DIRECT);  // now, for an open drops what is cached
    EXPECT_EQ(fd.read(8192, 4096), Buffer(4096, std::byte{2}));  // and is cached
    EXPECT_NE(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 4096, 4 * mib), 0);
    Aligned now(4096);
    EXPECT_EQ(::pread(direct.get(), now.bytes().data(), 4096, 8192), 4096);
    EXPECT_EQ(now.bytes()[0], std::byte{0}) << "it was to fail half way";
    EXPECT_TRUE(std::ranges::equal(fd.read(8192, 4096), now.bytes()));
  }
  run(program() + " umount --lazy " + sh(at));
}

/// Two disks, a and b, with a partition each. On these lies a volume group, of which a third member
/// is missing: vgspan-one is in ap1 alone.
class Group : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("sfdisk");
    for (const char* name : {"a", "b"}) {
      const std::string member = fixture_image("span-" + std::string(name));
      if (member.empty()) GTEST_SKIP() << "fixture span-" << name << " is not here";
      const std::string disk = folder_ / (name + std::string(".img"));
      must_run("truncate -s $(($(stat -Lc %s " + sh(member) + ") + 2097152)) " + sh(disk) +
               " && dd status=none bs=1M seek=1 conv=sparse,notrunc if=" + sh(member) +
               " of=" + sh(disk) + " && echo 2048,$(($(stat -Lc %s " + sh(member) +
               ") / 512)) | sfdisk -q -X dos " + sh(disk));
      sources_ += " " + sh("raw:" + disk);
    }
  }

  TemporaryDirectory folder_;
  std::string sources_;
};

TEST_F(Group, ADiskOfAMemberIsBusyWhileAVolumeOfAnotherMemberIsWritten) {
  const Mount mount("-o rw" + sources_);
  Fd volume(mount / "vgspan-one", O_RDWR);
  ASSERT_EQ(volume.error(), 0) << must_run("ls " + sh(mount.path())) << mount.log();
  ASSERT_EQ(volume.write(0, pattern(4096, 1)), 0);
  EXPECT_EQ(Fd(mount / "b", O_RDWR).error(), EBUSY);
  EXPECT_EQ(::fsync(volume.get()), 0);
  EXPECT_EQ(volume.close(), 0);
  Fd disk(mount / "b", O_RDWR);
  EXPECT_EQ(disk.error(), 0);
  EXPECT_EQ(Fd(mount / "vgspan-one", O_RDWR).error(), EBUSY) << "and the other way round";
}

TEST_F(Group, WhatAnUnlockMayCompleteIsNotMadeAnewUnderItsWriters) {
  NEED_PROGRAM("cryptsetup");
  const std::string locked = folder_ / "locked.img";
  must_run("truncate -s 20M " + sh(locked) + " && printf key | cryptsetup luksFormat -q --pbkdf " +
           "pbkdf2 --pbkdf-force-iterations 1000 " + sh(locked) + " -");
  const Mount mount("--no-prompt -o rw" + sources_ + " " + sh("raw:" + locked));
  const auto unlock = [&] {
    Secret key(as_bytes("key"));
    return request_unlock(mount.path(), "locked", std::move(key));
  };
  Fd volume(mount / "vgspan-two", O_RDWR);
  ASSERT_EQ(volume.write(0, pattern(4096, 1)), 0) << must_run("ls " + sh(mount.path()));
  try {
    unlock();
    ADD_FAILURE() << "it was unlocked";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("vgspan-two"), std::string::npos) << error.what();
  }
  EXPECT_EQ(volume.write(4096, pattern(4096, 2)), 0) << "its writer goes on";
  EXPECT_EQ(volume.close(), 0);
  EXPECT_TRUE(eventually([&] {  // the kernel says some time after the close that it is closed
    try {
      return unlock() == std::nullopt;
    } catch (const Error&) {
      return false;
    }
  }));
  EXPECT_EQ(Fd(mount / "vgspan-two", O_RDONLY).read(4096, 4096), pattern(4096, 2));
}

}  // namespace
}  // namespace peelfs::test
