// A mount that allows writing, but is not written to: the sources keep their bytes and times. And
// how the first write changes the header of an image.
#include "writable.h"

namespace peelfs::test {
namespace {

class Untouched : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("qemu-img");
    NEED_PROGRAM("qemu-io");
  }

  struct Seen {
    std::string digest;
    timespec modified{}, changed{};
    bool operator==(const Seen& other) const {
      return digest == other.digest && modified.tv_sec == other.modified.tv_sec &&
             modified.tv_nsec == other.modified.tv_nsec && changed.tv_sec == other.changed.tv_sec &&
             changed.tv_nsec == other.changed.tv_nsec;
    }
  };
  static Seen seen(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return {sha256(read_file(path)), status.st_mtim, status.st_ctim};
  }

  /// Opens every device for writing where that is possible, reads it, syncs it, and closes it.
  static unsigned use_without_writing(const Mount& mount) {
    unsigned writable = 0;
    const std::string names = must_run("ls " + sh(mount.path()));
    for (std::size_t at = 0; at < names.size();) {
      const std::size_t end = names.find('\n', at);
      const std::string path = mount / names.substr(at, end - at);
      at = end + 1;
      struct stat status {};
      if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      const Fd both(path, O_RDWR);
      const Fd reading(path, O_RDONLY);
      const Fd& fd = both.error() == 0 ? both : reading;
      if (both.error() == 0) ++writable;
      (void)fd.read(0, 1U << 20U);
      (void)fd.read(static_cast<std::uint64_t>(status.st_size) / 2, 1U << 20U);
      EXPECT_EQ(::fsync(fd.get()), 0) << path << ": " << std::strerror(errno);
      EXPECT_EQ(::ftruncate(both.get(), status.st_size) == 0 || both.error() != 0, true);
    }
    return writable;
  }

  void expect_untouched(const std::vector<std::string>& paths, unsigned at_least) {
    std::vector<Seen> before;
    std::string arguments = "-o rw";
    for (const std::string& path : paths) {
      before.push_back(seen(path));
      arguments += " " + sh(path);
    }
    for (unsigned round = 0; round < 2; ++round) {
      Mount mount(arguments);
      ASSERT_TRUE(mount.mounted()) << mount.result().output;
      EXPECT_GE(use_without_writing(mount), at_least) << must_run("ls -l " + sh(mount.path()));
      EXPECT_EQ(mount.umount().exit_code, 0);
    }
    for (std::size_t i = 0; i < paths.size(); ++i) {
      EXPECT_TRUE(seen(paths[i]) == before[i]) << paths[i] << " was touched";
    }
  }

  std::string image() const { return folder_ / "i.qcow2"; }
  /// With two persistent bitmaps.
  void make_with_bitmaps(const std::string& options = "") const {
    must_run("qemu-img create -q -f qcow2 " + options + " " + sh(image()) +
             " 8M && qemu-io -f qcow2 -c 'write -P 7 1M 3M' " + sh(image()) +
             " >/dev/null && qemu-img bitmap --add -g 4096 " + sh(image()) +
             " one && qemu-img bitmap --add " + sh(image()) + " two");
  }
  std::string bitmaps() const {
    return must_run("qemu-img info --output=json " + sh(image()) +
                    " | grep -c granularity || true");
  }

  TemporaryDirectory folder_;
};

TEST_F(Untouched, AnImageWithBitmaps) {
  make_with_bitmaps();
  expect_untouched({image()}, 1);
  EXPECT_EQ(bitmaps(), "2\n");
  must_run("qemu-img check " + sh(image()));
}

TEST_F(Untouched, TheFirstWriteTakesBitmapsAwayAndLeaksNothing) {
  make_with_bitmaps();
  {
    const Mount mount("-o rw " + sh(image()));
    ASSERT_TRUE(mount.mounted()) << mount.result().output;
    {
      const Fd fd(mount / "i", O_RDWR);
      // In place: nothing else of the image would change.
      ASSERT_EQ(fd.write(2 * mib + 17, pattern(5, 1)), 0);
    }
    EXPECT_EQ(mount.umount().exit_code, 0);
  }
  ASSERT_TRUE(eventually([&] { return run("qemu-img check " + sh(image())).exit_code == 0; }))
      << run("qemu-img check " + sh(image())).output;
  EXPECT_EQ(bitmaps(), "0\n");
}

TEST_F(Untouched, AnImageWithLeaksInAPartition) {
  NEED_PROGRAM("sfdisk");
  make_with_bitmaps();
  must_run("truncate -s 24M " + sh(folder_ / "disk.raw") + " && echo 'start=2048' | sfdisk -q " +
           sh(folder_ / "disk.raw") +
           " >/dev/null && dd status=none conv=notrunc bs=1M seek=1 if=" + sh(image()) +
           " of=" + sh(folder_ / "disk.raw"));
  expect_untouched({folder_ / "disk.raw"}, 1);
}

TEST_F(Untouched, AnImageInAFilesystemAndAnEncryptedOne) {
  NEED_PROGRAM("mke2fs");
  make_with_bitmaps("-o extended_l2=on");
  must_run("mkdir " + sh(folder_ / "tree") + " && cp " + sh(image()) + " " +
           sh(folder_ / "tree/inner.qcow2") + " && truncate -s 32M " + sh(folder_ / "fs.raw") +
           " && mke2fs -q -F -t ext4 -d " + sh(folder_ / "tree") + " " + sh(folder_ / "fs.raw"));
  expect_untouched({folder_ / "fs.raw", image()}, 3);
}

TEST_F(Untouched, AnImageWithADataFile) {
  must_run("cd " + sh(folder_.path()) +
           " && qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on i.qcow2 4M && "
           "qemu-io -f qcow2 -c 'write -P 3 1M 1M' i.qcow2 >/dev/null");
  const Seen data = seen(folder_ / "d.raw");
  expect_untouched({image()}, 0);
  EXPECT_TRUE(seen(folder_ / "d.raw") == data);
}

TEST_F(Untouched, AnOverlay) {
  make_with_bitmaps();
  const std::string options = "-o overlay=" + sh(folder_ / "ov") + " " + sh(image());
  must_run("mkdir -m 700 " + sh(folder_ / "ov"));
  {
    const Mount mount(options);
    ASSERT_TRUE(mount.mounted()) << mount.result().output;
    ASSERT_EQ(Fd(mount / "i", O_RDWR).write(12345, pattern(70'000, 1)), 0);
    EXPECT_EQ(mount.umount().exit_code, 0);
  }
  const std::string overlay = folder_ / "ov/i.qcow2";
  const Seen before = seen(overlay), source = seen(image());
  {
    const Mount mount(options);
    ASSERT_TRUE(mount.mounted()) << mount.result().output;
    EXPECT_GE(use_without_writing(mount), 1U);
    EXPECT_EQ(mount.umount().exit_code, 0);
  }
  EXPECT_TRUE(seen(overlay) == before);
  EXPECT_TRUE(seen(image()) == source);
}

}  // namespace
}  // namespace peelfs::test
