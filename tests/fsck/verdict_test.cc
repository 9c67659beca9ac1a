// What `peelfs fsck` says of each filesystem, beside what its checker says on a flat copy.
#include "fsck/fleet.h"
#include "support/fixtures.h"

namespace peelfs::test {
namespace {

using FsckVerdict = FsckFleet;

TEST_F(FsckVerdict, CleanOnesAndDamagedOnes) {
  SKIP_WITHOUT("debugfs");
  make_ext4("good.img");
  make_damaged_ext4("bad.img");
  remember();
  const Checked checked = fsck(images_.path());
  EXPECT_EQ(checked.exit_code, 4) << checked.errors;
  EXPECT_EQ(checked.state("good"), "clean");
  EXPECT_EQ(checked.state("bad"), "errors") << checked.reason("bad");
  EXPECT_EQ(checked.devices.at("bad").at("exit"), 4);
  EXPECT_EQ(fsck(images_ / "good.img").exit_code, 0);
}

TEST_F(FsckVerdict, TheTableHasALineForEach) {
  make_ext4("good.img");
  must_run("truncate -s 8M " + (images_ / "swap.img") + " && mkswap " + (images_ / "swap.img"));
  remember();
  const CommandResult done =
      run(place() + PEELFS_PROGRAM " fsck " + images_.path() + " </dev/null");
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_TRUE(contains(done.output, "SOURCE   DEVICE FSTYPE SIZE STATE TIME\n")) << done.output;
  EXPECT_TRUE(contains(done.output, "good.img good   ext4    16M clean ")) << done.output;
  EXPECT_TRUE(contains(done.output, "swap.img swap   swap     8M -        -\n")) << done.output;
}

TEST_F(FsckVerdict, AJournalIsReplayedFirst) {
  const std::string image = fixture_image("dirtyext4");
  if (image.empty()) GTEST_SKIP() << "dirtyext4 is not here";
  must_run("cp --sparse=always " + image + " " + (images_ / "dirty.raw"));
  remember();
  const Checked checked = fsck(images_ / "dirty.raw");
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_EQ(checked.state("vgdirty-ext4"), "replayed") << checked.reason("vgdirty-ext4");
  EXPECT_TRUE(checked.devices.at("vgdirty-ext4").at("journal-replayed").get<bool>());
  // e2fsck on a flat copy: it replays, and finds nothing then.
  must_run(std::string(PEELFS_PROGRAM) + " cat " + (images_ / "dirty.raw") + " vgdirty-ext4 > " +
           (other_ / "flat"));
  const CommandResult bare = run("PATH=$PATH:/sbin:/usr/sbin e2fsck -fy " + (other_ / "flat"));
  EXPECT_TRUE(contains(bare.output, "recovering journal")) << bare.output;
  EXPECT_EQ(bare.exit_code & ~1, 0) << bare.output;
}

TEST_F(FsckVerdict, AllDevicesOfABtrfsAreCheckedAsOne) {
  SKIP_WITHOUT("mkfs.btrfs");
  const std::string one = images_ / "one.img";
  const std::string two = images_ / "two.img";
  must_run("truncate -s 128M " + one + " " + two + " && mkfs.btrfs -q -d raid1 -m raid1 " + one +
           " " + two);
  remember();
  const Checked both = fsck(one + " " + two);
  EXPECT_EQ(both.exit_code, 0) << both.errors;
  EXPECT_EQ(both.devices.size(), 1U);
  EXPECT_EQ(both.state("one"), "clean") << both.reason("one");
  EXPECT_EQ(both.devices.at("one").at("others"), nlohmann::json({"two"}));
  const Checked half = fsck(one);
  EXPECT_EQ(half.exit_code, 8);
  EXPECT_EQ(half.state("one"), "skipped");
  EXPECT_TRUE(contains(half.reason("one"), "1 of them is in none of the sources"))
      << half.reason("one");
}

TEST_F(FsckVerdict, AVolumeGroupOnSeveralDisks) {
  std::string sources;
  for (const char* const name : {"span-a", "span-b", "span-c"}) {
    const std::string image = fixture_image(name);
    if (image.empty()) GTEST_SKIP() << name << " is not here";
    sources += " " + image;
  }
  const Checked checked = fsck(sources);
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_EQ(checked.state("vgspan-one"), "clean");
  EXPECT_EQ(checked.state("vgspan-three"), "clean");
  EXPECT_EQ(checked.devices.at("vgspan-three").at("sources").size(), 3U);
}

TEST_F(FsckVerdict, WhatIsLockedIsALineOfItsOwn) {
  SKIP_WITHOUT("qemu-img");
  const std::string plain = other_ / "plain";
  must_run("truncate -s 16M " + plain + " && mke2fs -q -F -t ext4 " + plain);
  make_luks(images_ / "secret.img", plain, "sesame");
  write_file(other_ / "key", as_bytes("sesame"));
  remember();
  const Checked locked = fsck("--no-prompt " + (images_ / "secret.img"));
  EXPECT_EQ(locked.exit_code, 8);
  EXPECT_EQ(locked.state("secret"), "skipped");
  EXPECT_TRUE(contains(locked.reason("secret"), "locked")) << locked.reason("secret");
  const Checked opened = fsck("--key-file " + (other_ / "key") + " " + (images_ / "secret.img"));
  EXPECT_EQ(opened.exit_code, 0) << opened.errors;
  EXPECT_EQ(opened.state("secret_crypt"), "clean") << opened.reason("secret_crypt");
}

TEST_F(FsckVerdict, ATruncatedImageIsSaid) {
  SKIP_WITHOUT("qemu-img");
  const std::string flat = make_ext4("flat.img");
  must_run("qemu-img convert -O qcow2 " + flat + " " + (images_ / "cut.qcow2") +
           " && truncate -s 150K " + (images_ / "cut.qcow2"));
  remember();
  const Checked checked = fsck(images_ / "cut.qcow2");
  EXPECT_EQ(checked.exit_code, 8) << checked.errors;
  EXPECT_EQ(checked.state("cut.qcow2"), "skipped");
  EXPECT_TRUE(contains(checked.reason("cut.qcow2"), "may be truncated"))
      << checked.reason("cut.qcow2");
}

TEST_F(FsckVerdict, ARunningGuestIsLeftAlone) {
  SKIP_WITHOUT("qemu-io");
  make_ext4("good.img");
  const std::string flat = make_ext4("flat.img");
  must_run("qemu-img convert -O qcow2 " + flat + " " + (images_ / "guest.qcow2") + " && rm " +
           flat);
  remember();
  Terminal guest("exec qemu-io " + (images_ / "guest.qcow2"));
  guest.wait_for("qemu-io>");
  const Checked checked = fsck(images_.path());
  const Checked lenient = fsck("--skip-busy " + images_.path());
  guest.type("quit\n");
  guest.finish();
  EXPECT_EQ(checked.exit_code, 8);
  EXPECT_EQ(checked.state("guest"), "skipped");
  EXPECT_TRUE(contains(checked.reason("guest"), "qemu-io")) << checked.reason("guest");
  EXPECT_EQ(checked.state("good"), "clean");
  EXPECT_EQ(lenient.exit_code, 0);
  EXPECT_EQ(fsck(images_.path()).exit_code, 0);
}

// It holds no image's write lock, but one that keeps others from relying on it: that shows only
// when the image is mounted. The images that are mounted beside it are checked all the same.
TEST_F(FsckVerdict, AGuestThatStartsMeanwhileSpoilsNoOther) {
  SKIP_WITHOUT("python3");
  for (int i = 0; i < 24; ++i) make_ext4("g" + std::to_string(i) + ".img", "8M");
  remember();
  Terminal guest(
      "exec python3 -c 'import fcntl, struct, time\n"
      "f = open(\"" +
      (images_ / "g7.img") +
      "\", \"rb\")\n"
      "fcntl.fcntl(f, 37, struct.pack(\"hhqqhh\", fcntl.F_RDLCK, 0, 103, 1, 0, 0))\n"
      "print(\"locked\", flush=True)\n"
      "time.sleep(60)'");
  ASSERT_TRUE(guest.wait_for("locked"));
  const Checked checked = fsck("-j 1 " + images_.path());
  const Checked lenient = fsck("-j 1 --skip-busy " + images_.path());
  guest.type("\x03");
  guest.finish();
  EXPECT_EQ(checked.exit_code, 8) << checked.errors;
  EXPECT_EQ(lenient.exit_code, 0) << lenient.errors;
  EXPECT_EQ(checked.devices.size(), 24U);
  for (const auto& [name, device] : checked.devices) {
    EXPECT_EQ(device.at("state"), name == "g7" ? "skipped" : "clean") << device.dump();
  }
  EXPECT_TRUE(contains(checked.reason("g7"), "in use")) << checked.reason("g7");
  EXPECT_TRUE(checked.devices.at("g7").at("busy").get<bool>());
}

TEST_F(FsckVerdict, GuestsWithinGuests) {
  const std::string image = fixture_image("variant3");
  if (image.empty()) GTEST_SKIP() << "variant3 is not here";
  write_file(other_ / "key", as_bytes("fixture-pass-1"));
  const Checked checked = fsck("--key-file " + (other_ / "key") + " " + image);
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  for (const char* const name : {"variant3_crypt", "guest-fallocp1", "gvgf-root", "gvgs-home"}) {
    EXPECT_EQ(checked.state(name), "clean") << name << ": " << checked.reason(name);
  }
}

// The outer journal holds what the inner image's bytes become.
TEST_F(FsckVerdict, TheOuterJournalIsReplayedBeforeTheInnerOne) {
  const std::string dirty = fixture_image("dirtyext4");
  if (dirty.empty() || !have_program("debugfs")) GTEST_SKIP() << "dirtyext4 or debugfs is not here";
  const std::string outer = images_ / "outer.img";
  must_run("mkdir " + (other_ / "in") + " && cp --sparse=always " + dirty + " " +
           (other_ / "in/guest.raw") + " && truncate -s 96M " + outer +
           " && mke2fs -q -F -t ext4 -d " + (other_ / "in") + " " + outer);
  // A transaction that makes a file: the superblock says that it must be replayed.
  must_run("printf 'jo -c\\njw -b 33 /dev/zero\\njc\\n' | debugfs -w " + outer + " 2>&1");
  remember();
  const Checked checked = fsck(outer);
  EXPECT_EQ(checked.state("vgdirty-ext4"), "replayed") << checked.reason("vgdirty-ext4");
  EXPECT_NE(checked.state("outer"), "skipped") << checked.reason("outer");
  EXPECT_TRUE(checked.devices.at("outer").at("journal-replayed").get<bool>());
}

TEST_F(FsckVerdict, OnlyWhatIsNamed) {
  make_ext4("a.img");
  make_ext4("b.img");
  remember();
  const Checked checked = fsck(images_.path() + " -- b");
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_EQ(checked.devices.size(), 1U);
  EXPECT_EQ(checked.state("b"), "clean");
  EXPECT_EQ(fsck(images_.path() + " -- c").exit_code, 16);
}

TEST_F(FsckVerdict, ANamedContainerStandsForAllWithinIt) {
  SKIP_WITHOUT("debugfs");
  SKIP_WITHOUT("sfdisk");
  const std::string disk = images_ / "disk.img";
  make_disk(disk);
  make_ext4("other.img");
  remember();
  const Checked checked = fsck(images_.path() + " -- disk");
  EXPECT_EQ(checked.state("diskp1"), "clean");
  EXPECT_EQ(checked.state("other"), "(none)");
}

TEST_F(FsckVerdict, AFilesystemWithoutItsSuperblockIsNotPassedOver) {
  const std::string lost = make_ext4("lost.img", "64M");
  must_run("dd status=none conv=notrunc if=/dev/zero bs=1k count=1 seek=1 of=" + lost);
  must_run("truncate -s 0 " + (images_ / "empty.img"));
  remember();
  const Checked checked = fsck(images_.path());
  EXPECT_EQ(checked.exit_code, 12);
  EXPECT_EQ(checked.state("lost"), "errors") << checked.reason("lost");
  EXPECT_EQ(checked.state("empty"), "skipped") << checked.reason("empty");
}

TEST_F(FsckVerdict, WhatTheKernelHasRecordedIsSaid) {
  SKIP_WITHOUT("debugfs");
  must_run("debugfs -w -R 'ssv state 3' " + make_ext4("err.img") + " 2>&1");
  remember();
  const Checked checked = fsck(images_ / "err.img");
  EXPECT_TRUE(contains(checked.devices.at("err").at("remarks").dump(), "recorded errors"))
      << checked.devices.at("err").dump();
}

TEST_F(FsckVerdict, AnXfsWithALogElsewhereIsNotCalledDamaged) {
  SKIP_WITHOUT("mkfs.xfs");
  must_run("cd " + images_.path() +
           " && truncate -s 320M x.img && truncate -s 80M log.img && PATH=$PATH:/sbin:/usr/sbin "
           "mkfs.xfs -q "
           "-l logdev=log.img,size=64m x.img");
  remember();
  const Checked checked = fsck(images_ / "x.img");
  EXPECT_EQ(checked.exit_code, 8);
  EXPECT_EQ(checked.state("x"), "failed") << checked.reason("x");
}

// An image file that only the journal of the outer filesystem knows of: the plan did not have it.
TEST_F(FsckVerdict, WhatAReplayBringsInIsNotPassedOver) {
  SKIP_WITHOUT("debugfs");
  const std::string inner = make_ext4("in.img", "8M");
  const std::string outer = images_ / "outer.img";
  must_run("mkdir " + (other_ / "t") + " && mv " + inner + " " + (other_ / "t/in.img") +
           " && truncate -s 64M " + outer +
           " && mke2fs -q -F -t ext4 -b 4096 -O ^metadata_csum -d " + (other_ / "t") + " " + outer);
  const std::string block =
      must_run("debugfs -R 'bmap <2> 0' " + outer + " 2>/dev/null | tr -d '\\n'");
  const std::string root = other_ / "root";
  must_run("dd status=none bs=4096 count=1 skip=" + block + " if=" + outer + " of=" + root);
  must_run("debugfs -w -R 'unlink /in.img' " + outer + " 2>&1");
  must_run("printf 'jo\njw -b " + block + " " + root + "\njc\n' | debugfs -w " + outer + " 2>&1");
  remember();
  const Checked checked = fsck(outer);
  EXPECT_EQ(checked.exit_code & 8, 8) << checked.errors;
  ASSERT_TRUE(checked.devices.contains("outer"));
  EXPECT_TRUE(checked.devices.at("outer").at("journal-replayed").get<bool>());
  EXPECT_TRUE(contains(checked.devices.at("outer").at("left-out").dump(), "not checked: in"))
      << checked.devices.at("outer").dump();
}

TEST_F(FsckVerdict, OnlyWhatIsDue) {
  SKIP_WITHOUT("tune2fs");
  const std::string due = make_ext4("due.img");
  make_ext4("fresh.img");
  must_run("PATH=$PATH:/sbin:/usr/sbin tune2fs -c 3 -C 7 " + due);
  remember();
  const Checked checked = fsck("--due " + images_.path());
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_EQ(checked.state("due"), "clean");
  EXPECT_EQ(checked.devices.at("due").at("due"),
            "it was mounted 7 times since its last check, which is due after 3");
  EXPECT_EQ(checked.state("fresh"), "listed");
  EXPECT_EQ(checked.reason("fresh"), "no check is due");
}

TEST_F(FsckVerdict, EachKindByItsOwnChecker) {
  struct Kind {
    const char* make;
    const char* tool;
    const char* device;
  };
  const std::vector<Kind> kinds{
      {"mkfs.xfs -q", "xfs_repair", "xfs"},  {"mkfs.vfat", "fsck.fat", "vfat"},
      {"mkfs.exfat", "fsck.exfat", "exfat"}, {"mkfs.ntfs -q -F", "ntfsfix", "ntfs"},
      {"mkfs.f2fs -q", "fsck.f2fs", "f2fs"}, {"mkreiserfs -q -ff", "reiserfsck", "reiserfs"},
      {"mkfs.jfs -q", "jfs_fsck", "jfs"}};
  std::set<std::string> made;
  for (const Kind& kind : kinds) {
    const std::string program = std::string(kind.make).substr(0, std::string(kind.make).find(' '));
    if (!have_program(program) || !have_program(kind.tool)) continue;
    const std::string path = images_ / (std::string(kind.device) + ".img");
    must_run("truncate -s 320M " + path + " && PATH=$PATH:/sbin:/usr/sbin " + kind.make + " " +
             path);
    made.insert(kind.device);
  }
  if (made.empty()) GTEST_SKIP() << "no mkfs of these is installed";
  remember();
  const Checked checked = fsck(images_.path());
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  for (const std::string& name : made) {
    EXPECT_EQ(checked.state(name), "clean") << name << ": " << checked.reason(name);
    EXPECT_EQ(checked.devices.at(name).at("fstype"), name);
  }
  if (made.contains("ntfs")) {
    EXPECT_TRUE(contains(checked.reason("ntfs"), "chkdsk")) << "ntfsfix does not look at all of it";
  }
}

TEST_F(FsckVerdict, AWrongCommandLineIsUsage) {
  make_ext4("a.img");
  remember();
  for (const char* const wrong : {"-j 0 ", "-j x ", "--junit= ", "--log= ", "--nonsense "}) {
    EXPECT_EQ(fsck(wrong + (images_ / "a.img")).exit_code, 16) << wrong;
  }
  EXPECT_EQ(fsck("").exit_code, 16);
  EXPECT_EQ(fsck(images_ / "none.img").exit_code, 8);
}

}  // namespace
}  // namespace peelfs::test
