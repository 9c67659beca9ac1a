// What is written to a device file is what the same program writes to a plain copy.
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include <random>

#include "writable.h"

namespace peelfs::test {
namespace {

using Writing = WritableDisk;

TEST_F(Writing, ModesSayWhatCanBeWritten) {
  struct stat status {};
  for (const char* name : {"d", "dp1", "dp3", "dp5", "dp6"}) {
    ASSERT_EQ(::stat(file(name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode, S_IFREG | 0600U) << name;
  }
  ASSERT_EQ(::stat(file("dp2").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0400U);
  const std::string json = must_run("cat " + sh(file(".peelfs/status.json")));
  EXPECT_NE(json.find("\"ro\": false"), std::string::npos) << json;
  const Fd extended(file("dp2"), O_RDWR);
  EXPECT_EQ(extended.error(), ::geteuid() == 0 ? EROFS : EACCES);
  if (::geteuid() == 0) {
    EXPECT_NE(mount_->log().find("dp2 cannot be opened for writing"), std::string::npos)
        << mount_->log();
  }
}

TEST_F(Writing, AReadOnlyMountStaysReadOnly) {
  const Mount other(sh(plain_));
  struct stat status {};
  ASSERT_EQ(::stat((other / "plainp1").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0400U);
  EXPECT_EQ(Fd(other / "plainp1", O_RDWR).error(), EROFS);
  EXPECT_EQ(must_run("cat " + sh(other / ".peelfs/status.json")).find("\"ro\": false"),
            std::string::npos);
}

TEST_F(Writing, DdWritesWhereThePartitionLies) {
  write_file(folder_ / "data", pattern(3 * mib + 777, 5));
  const std::string data = sh(folder_ / "data");
  must_run("dd status=none conv=notrunc bs=64K seek=5 if=" + data + " of=" + sh(file("dp5")));
  must_run("dd status=none conv=notrunc bs=64K seek=" + std::to_string(p5_begin / 65536 + 5) +
           " if=" + data + " of=" + sh(plain_));
  must_run("dd status=none if=" + data + " of=" + sh(file("dp1")));  // with O_TRUNC
  must_run("dd status=none conv=notrunc bs=1M seek=1 if=" + data + " of=" + sh(plain_));
  struct stat status {};
  ASSERT_EQ(::stat(file("dp1").c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), p1_size);
  expect_same_after_umount();
}

TEST_F(Writing, EveryWayOfWritingIsTheSame) {
  std::mt19937_64 random(11);
  Buffer model(p1_size);
  const Fd buffered(file("dp1"), O_RDWR);
  const Fd direct(file("dp1"), O_RDWR | O_DIRECT);
  ASSERT_EQ(buffered.error() + direct.error(), 0);
  auto* const mapped = static_cast<std::byte*>(
      ::mmap(nullptr, p1_size, PROT_READ | PROT_WRITE, MAP_SHARED, buffered.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED) << std::strerror(errno);
  for (unsigned i = 0; i < 200; ++i) {
    std::size_t at = random() % (p1_size - mib);
    std::size_t length = random() % (i % 10 == 0 ? mib : 9000) + 1;
    if (i % 3 == 1) {
      at &= ~std::size_t{4095};
      length = (length + 4095) & ~std::size_t{4095};
    }
    const Buffer bytes = pattern(length, i);
    std::memcpy(model.data() + at, bytes.data(), length);
    if (i % 3 == 0) {
      ASSERT_EQ(buffered.write(at, bytes), 0);
    } else if (i % 3 == 1) {
      Aligned memory(bytes);
      ASSERT_EQ(direct.write(at, memory.bytes()), 0);
    } else {
      std::memcpy(mapped + at, bytes.data(), length);
      ASSERT_EQ(::msync(mapped, p1_size, MS_SYNC), 0);
    }
    const Fd other(file("dp1"), i % 2 == 0 ? O_RDONLY : O_RDONLY | O_DIRECT);
    Aligned read(2 * mib);
    const std::size_t begin = at & ~std::size_t{4095};
    const ssize_t got =
        ::pread(other.get(), read.bytes().data(), 2 * mib, static_cast<off_t>(begin));
    const auto expected = static_cast<ssize_t>(std::min<std::uint64_t>(2 * mib, p1_size - begin));
    ASSERT_EQ(got, expected);
    ASSERT_EQ(std::memcmp(read.bytes().data(), model.data() + begin, static_cast<size_t>(got)), 0)
        << i;
  }
  ::munmap(mapped, p1_size);
  write_file(folder_ / "model", model);
  must_run("dd status=none conv=notrunc bs=1M seek=1 if=" + sh(folder_ / "model") +
           " of=" + sh(plain_));
  must_run("cmp " + sh(folder_ / "model") + " " + sh(file("dp1")));
}

TEST_F(Writing, TheEndIsThatOfABlockDevice) {
  Fd fd(file("dp6"), O_RDWR);
  const Buffer bytes = pattern(8192, 1);
  EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), p6_size - 4096), 4096);
  EXPECT_EQ(fd.write(p6_size, bytes), ENOSPC);
  EXPECT_EQ(fd.write(p6_size + (1ULL << 40), bytes), ENOSPC);
  EXPECT_EQ(fd.read(p6_size - 4096, 8192), Buffer(bytes.begin(), bytes.begin() + 4096));
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_END), static_cast<off_t>(p6_size));
  const Fd appending(file("dp6"), O_WRONLY | O_APPEND);
  EXPECT_EQ(::write(appending.get(), bytes.data(), 1), -1);
  EXPECT_EQ(errno, ENOSPC);
  Aligned memory(bytes);
  const Fd direct(file("dp6"), O_RDWR | O_DIRECT);
  // The kernel makes EIO of a short direct write, so it is refused with the truth instead.
  EXPECT_EQ(direct.write(p6_size - 4096, memory.bytes()), ENOSPC);
  EXPECT_EQ(fd.read(p6_size - 4096, 8192), Buffer(bytes.begin(), bytes.begin() + 4096));
  EXPECT_EQ(direct.write(p6_size, memory.bytes()), ENOSPC);
  EXPECT_EQ(Fd(file("dp6"), O_RDONLY).read(0, 2 * p6_size).size(), p6_size);
  EXPECT_EQ(mount_->log().find("error"), std::string::npos)
      << "what dd meets at the end of a disk is no error of ours: " << mount_->log();
}

TEST_F(Writing, AttributesAreTakenOrRefused) {
  Fd fd(file("dp1"), O_RDWR);
  const Buffer bytes = pattern(4096, 1);
  ASSERT_EQ(fd.write(0, bytes), 0);
  EXPECT_EQ(::ftruncate(fd.get(), p1_size), 0);
  EXPECT_EQ(::ftruncate(fd.get(), 100), 0);
  EXPECT_EQ(::ftruncate(fd.get(), p1_size + 1), -1);
  EXPECT_EQ(errno, EFBIG);
  EXPECT_EQ(::truncate(file("dp1").c_str(), 0), 0);
  EXPECT_EQ(Fd(file("dp1"), O_WRONLY | O_TRUNC).error(), 0);
  struct stat status {};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), p1_size);
  EXPECT_EQ(fd.read(0, 4096), bytes) << "truncation must not lose a byte";
  EXPECT_EQ(Fd(file("dp1"), O_RDONLY).read(0, 4096), bytes);
  EXPECT_EQ(::fchmod(fd.get(), 0600), 0);
  EXPECT_EQ(::fchmod(fd.get(), 0644), -1);
  EXPECT_EQ(errno, EPERM);
  if (::geteuid() == 0) {
    EXPECT_EQ(::fchown(fd.get(), 1, 1), -1);
    EXPECT_EQ(errno, EPERM);
  }
  EXPECT_EQ(::futimens(fd.get(), nullptr), 0);
  fd.close();
  must_run("cp " + sh(folder_ / "plain.img") + " " + sh(file("d")));
  EXPECT_NE(run("touch " + sh(file("new"))).exit_code, 0);
  EXPECT_NE(run("rm -f " + sh(file("dp1"))).exit_code, 0);
  EXPECT_NE(run("mkdir " + sh(file("new"))).exit_code, 0);
}

TEST_F(Writing, TimeAndBlocksMove) {
  struct stat before {};
  ASSERT_EQ(::stat(file("dp1").c_str(), &before), 0);
  Fd fd(file("dp1"), O_RDWR);
  ASSERT_EQ(fd.write(0, pattern(4 * mib, 1)), 0);
  struct stat after {};
  ASSERT_EQ(::stat(file("dp1").c_str(), &after), 0);
  EXPECT_TRUE(after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
              (after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
               after.st_mtim.tv_nsec > before.st_mtim.tv_nsec));
  ASSERT_EQ(::stat(file("d").c_str(), &before), 0);
  EXPECT_GE(before.st_blocks, static_cast<blkcnt_t>(4 * mib / 512)) << "of what shares the bytes";
  EXPECT_EQ(must_run("cp --sparse=auto " + sh(file("dp1")) + " " + sh(folder_ / "copy") +
                     " && cmp " + sh(file("dp1")) + " " + sh(folder_ / "copy")),
            "");
}

TEST_F(Writing, HolesArePunchedAndRangesZeroed) {
  Fd fd(file("dp1"), O_RDWR);
  Buffer model = pattern(8 * mib, 3);
  ASSERT_EQ(fd.write(0, model), 0);
  struct stat before {};
  ASSERT_EQ(::stat(source_.c_str(), &before), 0);
  const auto zeroed = [&](int mode, std::uint64_t offset, std::uint64_t length) {
    EXPECT_EQ(::fallocate(fd.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)),
              0)
        << std::strerror(errno);
    std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{});
    EXPECT_EQ(fd.read(0, model.size()), model);
  };
  zeroed(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, mib, 2 * mib);
  struct stat after {};
  ASSERT_EQ(::stat(source_.c_str(), &after), 0);
  EXPECT_LE(after.st_blocks, before.st_blocks - static_cast<blkcnt_t>(mib / 512));
  zeroed(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * mib + 17, 5000);
  if (::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE, 0, 512) == 0) {
    zeroed(FALLOC_FL_ZERO_RANGE, 0, 512);
    zeroed(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 5 * mib, mib + 1);
    EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE, p1_size - 4096, 8192), -1);
    EXPECT_EQ(errno, EFBIG);
  } else {
    EXPECT_EQ(errno, EOPNOTSUPP) << "a host that cannot";
  }
  EXPECT_EQ(
      ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, p1_size - 4096, 1 << 20),
      0);
  for (const int mode : {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_COLLAPSE_RANGE}) {
    EXPECT_EQ(::fallocate(fd.get(), mode, 0, 4096), -1) << mode;
    EXPECT_EQ(errno, EOPNOTSUPP) << mode;
  }
  write_file(folder_ / "model", model);
  must_run("cmp -n " + std::to_string(model.size()) + " -i 0:1048576 " + sh(folder_ / "model") +
           " " + sh(file("d")));
}

TEST_F(Writing, FilesystemToolsWriteTheSameBytes) {
  NEED_PROGRAM("mkfs.ext4");
  const std::string copy = folder_ / "p1.img";
  must_run("dd status=none bs=1M skip=1 count=20 if=" + sh(plain_) + " of=" + sh(copy));
  const std::string same_clock = "E2FSPROGS_FAKE_TIME=1700000000 E2FSCK_TIME=1700000000 ";
  for (const std::string& command : std::vector<std::string>{
           "mkfs.ext4 -q -F -U 11111111-2222-3333-4444-555555555555 "
           "-E hash_seed=11111111-2222-3333-4444-666666666666,nodiscard",
           "tune2fs -L changed", "debugfs -w -R 'mkdir /some'", "e2fsck -fy -D",
           "tune2fs -O ^has_journal", "e2fsck -fy", "resize2fs -f"}) {
    for (const std::string& target : {copy, file("dp1")}) {
      const CommandResult result = run(same_clock + command + " " + sh(target) + " " +
                                       (command.starts_with("resize2fs") ? "16M" : ""));
      EXPECT_LE(result.exit_code, 1) << command << " " << target << "\n" << result.output;
    }
    // resize2fs cuts a file off behind the filesystem; a device cannot be.
    const CommandResult same =
        run("cmp -n $(stat -c %s " + sh(copy) + ") " + sh(copy) + " " + sh(file("dp1")));
    EXPECT_EQ(same.exit_code, 0) << command << ": " << same.output;
  }
  EXPECT_EQ(run("e2fsck -fn " + sh(file("dp1"))).exit_code, 0);
  must_run("mkswap -U 11111111-2222-3333-4444-777777777777 " + sh(file("dp5")));
  EXPECT_EQ(must_run("stat -c %s " + sh(copy)), "16777216\n");
  must_run("dd status=none conv=notrunc bs=1M seek=1 if=" + sh(file("dp1")) + " of=" + sh(plain_));
  must_run("dd status=none bs=1M skip=22 count=8 if=" + sh(plain_) + " of=" + sh(folder_ / "p5") +
           " && mkswap -U 11111111-2222-3333-4444-777777777777 " + sh(folder_ / "p5") +
           " && dd status=none conv=notrunc bs=1M seek=22 if=" + sh(folder_ / "p5") +
           " of=" + sh(plain_));
  expect_same_after_umount();
}

TEST(WritingContainers, ALuksVolumeIsWrittenInsideAndNotOutside) {
  NEED_MOUNTS();
  NEED_PROGRAM("cryptsetup");
  NEED_PROGRAM("qemu-img");
  const TemporaryDirectory folder;
  const std::string source = folder / "l.img";
  write_file(folder / "key", Bytes());
  must_run("printf secret >" + sh(folder / "key"));
  write_file(source, {});
  ASSERT_EQ(::truncate(source.c_str(), 16 * mib), 0);
  must_run("cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --key-file " +
           sh(folder / "key") + " " + sh(source));
  const std::string arguments = "--key-file " + sh(folder / "key") + " " + sh(source);
  {
    const Mount mount("-o rw " + arguments);
    struct stat status {};
    ASSERT_EQ(::stat((mount / "l").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0400U);
    EXPECT_NE(Fd(mount / "l", O_WRONLY).error(), 0);
    must_run("mkfs.ext4 -q -F -L inside " + sh(mount / "l_crypt"));
    EXPECT_EQ(run("e2fsck -fn " + sh(mount / "l_crypt")).exit_code, 0);
    EXPECT_EQ(must_run("cat " + sh(mount / "by-label/inside") + " | sha256sum"),
              must_run("cat " + sh(mount / "l_crypt") + " | sha256sum"));
    must_run("cp " + sh(mount / "l_crypt") + " " + sh(folder / "inside"));
    EXPECT_EQ(mount.umount().exit_code, 0);
  }
  // What qemu decrypts is what was written, and a filesystem.
  must_run("qemu-img convert --object secret,id=s,file=" + sh(folder / "key") +
           " --image-opts driver=luks,key-secret=s,file.filename=" + sh(source) + " -O raw " +
           sh(folder / "qemu"));
  must_run("cmp " + sh(folder / "qemu") + " " + sh(folder / "inside"));
  EXPECT_EQ(run("e2fsck -fn " + sh(folder / "qemu")).exit_code, 0);
  const Mount asked("-o rw,writable=l " + arguments);
  EXPECT_EQ(Fd(asked / "l", O_WRONLY).error(), 0);
}

TEST(WritingFull, AFullHostSaysSo) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  const std::string source = folder / "d.img";
  write_file(source, {});
  ASSERT_EQ(::truncate(source.c_str(), 64 * mib), 0);
  // The shell's unit is 512 bytes or 1 KiB: the source may grow to 8 or 16 MiB.
  must_run("mkdir " + sh(folder / "m") + "; ulimit -f 16384; " + program() + " mount -o rw " +
           sh("raw:" + source) + " " + sh(folder / "m"));
  {
    const Fd fd(folder / "m/d", O_RDWR);
    ASSERT_EQ(fd.error(), 0);
    EXPECT_EQ(fd.write(mib, pattern(mib, 1)), 0);
    EXPECT_EQ(fd.write(32 * mib, pattern(mib, 1)), EFBIG);
    EXPECT_EQ(fd.read(mib, mib), pattern(mib, 1)) << "and goes on serving";
  }
  EXPECT_EQ(run(program() + " umount " + sh(folder / "m")).exit_code, 0);
}

TEST(WritingFull, AFullTmpfsSaysSo) {
  NEED_MOUNTS();
  NEED_ROOT();
  const TemporaryDirectory folder;
  const std::string small = folder / "small";
  must_run("mkdir " + sh(small));
  if (::mount("none", small.c_str(), "tmpfs", 0, "size=4m") != 0) {
    GTEST_SKIP() << "tmpfs cannot be mounted here";
  }
  write_file(small + "/d.img", {});
  ASSERT_EQ(::truncate((small + "/d.img").c_str(), 64 * mib), 0);
  {
    const Mount mount("-o rw " + sh("raw:" + small + "/d.img"));
    const Fd fd(mount / "d", O_RDWR);
    EXPECT_EQ(fd.write(0, pattern(mib, 1)), 0);
    int failure = 0;
    for (std::uint64_t at = mib; at < 8 * mib && failure == 0; at += mib) {
      failure = fd.write(at, pattern(mib, 2));
    }
    EXPECT_EQ(failure, ENOSPC);
    EXPECT_NE(mount.log().find("No space left"), std::string::npos) << mount.log();
    EXPECT_EQ(fd.read(0, mib), pattern(mib, 1));
  }
  EXPECT_EQ(::umount2(small.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace peelfs::test
