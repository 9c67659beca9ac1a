// mount, umount and unlock as commands; how the mount behaves is tests/mount's subject.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "cli/program.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class MountVerbs : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_IF_CANNOT_MOUNT();
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    disk_ = folder_ / "disk.img";
    second_ = make_disk(disk_);
    at_ = folder_ / "at";
    fs::create_directory(at_);
  }
  void TearDown() override {
    if (at_.empty() || !is_mounted(at_)) return;
    run(PEELFS_PROGRAM " umount " + at_ + " || fusermount3 -u -z " + at_);
  }
  TemporaryDirectory folder_;
  std::string disk_, second_, at_;
};

TEST_F(MountVerbs, ReadyWhenItReturnsAndReleasedWhenUmountReturns) {
  const Outputs mounted = peelfs_apart(disk_ + " " + at_);
  ASSERT_EQ(mounted.exit_code, 0) << mounted.errors;
  EXPECT_EQ(mounted.output + mounted.errors, "");
  EXPECT_EQ(must_run("sha256sum " + at_ + "/diskp2").substr(0, 64), second_);
  EXPECT_TRUE(contains(must_run("grep ' " + at_ + " ' /proc/self/mounts"), disk_ + " "));
  EXPECT_EQ(must_run("cat " + at_ + "/.peelfs/status.json"),
            peelfs_apart("ls --json " + disk_).output);
  ASSERT_EQ(peelfs("umount " + at_).exit_code, 0);
  EXPECT_FALSE(is_mounted(at_));
  EXPECT_EQ(run("PATH=$PATH:/usr/sbin fuser " + disk_ + " 2>/dev/null").output, "");
}

TEST_F(MountVerbs, ForegroundEndsByCtrlC) {
  Terminal terminal("exec " PEELFS_PROGRAM " -f " + disk_ + " " + at_);
  ASSERT_TRUE(wait_until([&] { return fs::exists(at_ + "/diskp1"); })) << terminal.screen();
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 0) << terminal.screen();
  EXPECT_FALSE(is_mounted(at_));
}

TEST_F(MountVerbs, WhatCannotBeMounted) {
  struct Wrong {
    std::string arguments, says;
    int exit_code;
  };
  must_run("touch " + (folder_ / "file"));
  const std::string other = folder_ / "none";
  for (const Wrong& wrong :
       std::vector<Wrong>{{disk_ + " " + other, "mkdir " + other, 32},
                          {disk_ + " " + (folder_ / "file"), "is not a directory", 1},
                          {disk_, "peelfs ls " + disk_, 1},
                          {other + " " + at_, "No such file", 32},
                          {"-o bogus " + disk_ + " " + at_, "'bogus'", 1},
                          {"--key-file " + other + " " + disk_ + " " + at_, "No such file", 32},
                          {"=x " + at_, "", 1}}) {
    const Outputs result = peelfs_apart(wrong.arguments);
    EXPECT_EQ(result.exit_code, wrong.exit_code) << wrong.arguments << ": " << result.errors;
    EXPECT_TRUE(contains(result.errors, wrong.says)) << wrong.arguments << ": " << result.errors;
    EXPECT_FALSE(is_mounted(at_)) << wrong.arguments;
  }
}

TEST_F(MountVerbs, AMissingSourceAmongOthersMountsTheRest) {
  const Outputs result = peelfs_apart(disk_ + " " + (folder_ / "none") + " " + at_);
  EXPECT_EQ(result.exit_code, 64) << result.errors;
  EXPECT_TRUE(contains(result.errors, "No such file")) << result.errors;
  EXPECT_TRUE(fs::exists(at_ + "/diskp1"));
}

TEST_F(MountVerbs, RelativePathsSurviveTheDaemon) {
  must_run("cd " + folder_.path() + " && " PEELFS_PROGRAM " disk.img at");
  EXPECT_EQ(must_run("sha256sum " + at_ + "/diskp2").substr(0, 64), second_);
  must_run("cd " + folder_.path() + " && " PEELFS_PROGRAM " umount at");
  EXPECT_FALSE(is_mounted(at_));
}

TEST_F(MountVerbs, UmountOfWhatIsNoMount) {
  const Outputs result = peelfs_apart("umount " + at_);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(contains(result.errors, at_)) << result.errors;
  ASSERT_EQ(peelfs(disk_ + " " + at_).exit_code, 0);
  const Outputs some = peelfs_apart("umount " + (folder_ / "none") + " " + at_);
  EXPECT_EQ(some.exit_code, 1) << some.errors;
  EXPECT_FALSE(is_mounted(at_));
}

TEST_F(MountVerbs, UmountOfABusyMountNamesWhoHoldsIt) {
  ASSERT_EQ(peelfs(disk_ + " " + at_).exit_code, 0);
  const Outputs busy = [&] {
    Outputs result = peelfs_apart("umount " + at_ + " 9<" + at_ + "/diskp1");
    return result;
  }();
  EXPECT_EQ(busy.exit_code, 2) << busy.errors;
  EXPECT_TRUE(contains(busy.errors, "busy") || contains(busy.errors, "in use")) << busy.errors;
  EXPECT_TRUE(is_mounted(at_));
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
}

TEST_F(MountVerbs, LazyUmountOfABusyMount) {
  ASSERT_EQ(peelfs(disk_ + " " + at_).exit_code, 0);
  EXPECT_EQ(peelfs("umount -l " + at_ + " 9<" + at_ + "/diskp1").exit_code, 0);
  EXPECT_FALSE(is_mounted(at_));
}

class UnlockVerb : public MountVerbs {
 protected:
  void SetUp() override {
    MountVerbs::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    SKIP_WITHOUT("qemu-img");
    luks_ = folder_ / "vol";
    if (shared_ == nullptr) {
      shared_ = new TemporaryDirectory;
      make_luks(*shared_ / "vol", disk_, "open-sesame");
    }
    must_run("cp " + (*shared_ / "vol") + " " + luks_);
    write_file(folder_ / "key", as_bytes("open-sesame"));
    write_file(folder_ / "wrong", as_bytes("open-barley"));
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }

  inline static TemporaryDirectory* shared_ = nullptr;  // qemu-img takes seconds to make a keyslot
  std::string luks_;
};

TEST_F(UnlockVerb, WithAKeyFile) {
  const Outputs mounted = peelfs_apart(luks_ + " " + at_);
  ASSERT_EQ(mounted.exit_code, 0) << mounted.errors;
  EXPECT_TRUE(contains(mounted.errors, "peelfs unlock " + at_ + " vol")) << mounted.errors;
  EXPECT_FALSE(fs::exists(at_ + "/vol_crypt"));
  const Outputs wrong =
      peelfs_apart("unlock --key-file " + (folder_ / "wrong") + " " + at_ + " vol");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_TRUE(contains(wrong.errors, "stays locked")) << wrong.errors;
  EXPECT_EQ(peelfs("unlock --key-file " + (folder_ / "key") + " " + at_ + " vol").exit_code, 0);
  EXPECT_EQ(must_run("sha256sum " + at_ + "/vol_cryptp2").substr(0, 64), second_);
  const Outputs again = peelfs_apart("unlock --key-file " + (folder_ / "key") + " " + at_ + " vol");
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_TRUE(contains(again.errors, "not locked")) << again.errors;
  EXPECT_EQ(peelfs("unlock " + at_).exit_code, 0) << "nothing is locked any more";
}

TEST_F(UnlockVerb, ByStandardInputAndForAll) {
  ASSERT_EQ(peelfs(luks_ + " " + at_).exit_code, 0);
  EXPECT_EQ(
      run("printf open-sesame | { " PEELFS_PROGRAM " unlock --key-file - " + at_ + "; }").exit_code,
      0);
  EXPECT_TRUE(fs::exists(at_ + "/vol_cryptp1"));
}

TEST_F(UnlockVerb, ByAsking) {
  ASSERT_EQ(peelfs(luks_ + " " + at_).exit_code, 0);
  Terminal terminal(PEELFS_PROGRAM " unlock " + at_);
  ASSERT_TRUE(terminal.wait_for("Passphrase for vol: "));
  terminal.type("wrong\n");
  ASSERT_TRUE(terminal.wait_for("Passphrase for vol: "));
  terminal.type("open-sesame\n");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_TRUE(fs::exists(at_ + "/vol_cryptp1"));
  EXPECT_FALSE(contains(terminal.screen(), "sesame"));
}

TEST_F(UnlockVerb, NobodyToAskAndNoKey) {
  ASSERT_EQ(peelfs(luks_ + " " + at_).exit_code, 0);
  const Outputs result = peelfs_apart("unlock " + at_ + " vol");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(contains(result.errors, "--key-file")) << result.errors;
  EXPECT_EQ(peelfs_apart("unlock --key-file " + (folder_ / "key") + " " + at_ + " none").exit_code,
            2);
}

TEST_F(UnlockVerb, MountAsksBeforeItGoesToTheBackground) {
  Terminal terminal(PEELFS_PROGRAM " " + luks_ + " " + at_);
  ASSERT_TRUE(terminal.wait_for("Passphrase for vol "));
  ASSERT_TRUE(terminal.wait_for("): "));
  EXPECT_FALSE(is_mounted(at_));
  terminal.type("open-sesame\n");
  EXPECT_EQ(terminal.finish(), 0) << terminal.screen();
  EXPECT_EQ(must_run("sha256sum " + at_ + "/vol_cryptp2").substr(0, 64), second_);
}

TEST_F(UnlockVerb, CtrlCAtThePromptMountsNothing) {
  Terminal terminal("exec " PEELFS_PROGRAM " " + luks_ + " " + at_);
  ASSERT_TRUE(terminal.wait_for("Passphrase for vol "));
  terminal.type("\x03");
  EXPECT_NE(terminal.finish(), 0);
  EXPECT_FALSE(is_mounted(at_));
}

TEST_F(UnlockVerb, NoSecretInTheListOfProcesses) {
  ASSERT_EQ(
      run("PASS=open-sesame " PEELFS_PROGRAM " --key vol=env:PASS " + luks_ + " " + at_).exit_code,
      0);
  EXPECT_TRUE(fs::exists(at_ + "/vol_cryptp1"));
  const std::string all = must_run(
      "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; tr '\\0' ' ' <$p/environ; "
      "done 2>/dev/null | grep -c 'open-[s]esame' || true");
  EXPECT_EQ(all, "0\n");
}

TEST_F(UnlockVerb, AKeyOnADescriptor) {
  ASSERT_EQ(peelfs("--key vol=fd:7 " + luks_ + " " + at_ + " 7<" + (folder_ / "key")).exit_code, 0);
  EXPECT_TRUE(fs::exists(at_ + "/vol_cryptp1"));
}

/// /etc/fstab by a helper that a symbolic link makes; mount(8) looks for it in /sbin only.
class Fstab : public MountVerbs {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: mount(8) takes no fstab from others";
    MountVerbs::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    SKIP_WITHOUT("mount");
    if (fs::exists(fs::symlink_status(kHelper))) {
      if (fs::read_symlink(kHelper) != fs::path(PEELFS_PROGRAM)) {
        GTEST_SKIP() << kHelper << " belongs to an installed peelfs";
      }
    } else {
      std::error_code problem;
      fs::create_symlink(PEELFS_PROGRAM, kHelper, problem);
      if (problem) GTEST_SKIP() << "cannot create " << kHelper << ": " << problem.message();
      ours_ = true;
    }
    table_ = folder_ / "fstab";
  }
  void TearDown() override {
    MountVerbs::TearDown();
    if (ours_) fs::remove(kHelper);
  }
  std::size_t mounts() const {
    std::size_t found = 0;
    const std::string all = text_of_mounts();
    for (std::size_t at = all.find(" " + at_ + " "); at != std::string::npos;
         at = all.find(" " + at_ + " ", at + 1)) {
      ++found;
    }
    return found;
  }
  static std::string text_of_mounts() { return must_run("cat /proc/self/mounts"); }

  static constexpr const char* kHelper = "/sbin/mount.fuse.peelfs";
  std::string table_;
  bool ours_ = false;
};

TEST_F(Fstab, MountAllTwiceMountsOnce) {
  must_run("cp " + disk_ + " '" + (folder_ / "b c.img") + "'");
  const std::string field = disk_ + "|" + folder_.path() + "/b\\040c.img";
  write_file(table_, as_bytes(field + " " + at_ +
                              " fuse.peelfs defaults,nofail,x-systemd.automount 0 0\n"));
  must_run("mount -a -T " + table_);
  EXPECT_EQ(mounts(), 1U);
  EXPECT_TRUE(fs::exists(at_ + "/diskp1"));
  EXPECT_TRUE(fs::exists(at_ + "/b\\x20cp1") || fs::exists(at_ + "/b cp1"))
      << must_run("ls " + at_);
  must_run("mount -a -T " + table_);
  EXPECT_EQ(mounts(), 1U) << text_of_mounts();
  must_run("umount " + at_);
  EXPECT_EQ(mounts(), 0U);
}

TEST_F(Fstab, OneEntryByItsDirectoryWithAKey) {
  SKIP_WITHOUT("qemu-img");
  make_luks(folder_ / "vol", disk_, "open-sesame");
  write_file(folder_ / "key", as_bytes("open-sesame"));
  write_file(table_, as_bytes((folder_ / "vol") + " " + at_ +
                              " fuse.peelfs noauto,user,key-file=" + (folder_ / "key") + " 0 0\n"));
  must_run("mount -T " + table_ + " " + at_);
  EXPECT_EQ(must_run("sha256sum " + at_ + "/vol_cryptp2").substr(0, 64), second_);
  must_run("umount " + at_);
}

TEST_F(Fstab, AnUnknownOptionIsAnError) {
  write_file(table_, as_bytes(disk_ + " " + at_ + " fuse.peelfs noauto,frobnicate 0 0\n"));
  const CommandResult result = run("mount -T " + table_ + " " + at_);
  EXPECT_NE(result.exit_code, 0);
  EXPECT_TRUE(contains(result.output, "frobnicate")) << result.output;
  EXPECT_EQ(mounts(), 0U);
}

}  // namespace
}  // namespace peelfs::test
