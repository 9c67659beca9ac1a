// What programs that peelfs starts, and its own daemon, do not get: keys, and descriptors.
#include "cli/overlays.h"
#include "try/loop_device.h"

namespace peelfs::test {
namespace {

class Inheritance : public Overlays {
 protected:
  void SetUp() override {
    Overlays::SetUp();
    if (IsSkipped()) return;
    must_run("truncate -s 4M " + (folder_ / "plain"));
    make_luks(folder_ / "locked.img", folder_ / "plain", "sesame-open");
    write_file(folder_ / "key", as_bytes("sesame-open"));
  }
  /// What a command finds of the key, when the key is given in this way.
  std::string found(const std::string& way, const std::string& around) const {
    const std::string look =
        "sh -c 'cat; tr \"\\0\" \"\\n\" </proc/self/environ; cat /proc/[0-9]*/environ 2>/dev/null; "
        "for f in 3 4 5 6 7 8 9 10 11 12 13 14 15; do "
        "if [ -e /proc/self/fd/$f ]; then echo open $f; cat <&$f; fi; done; "
        ": {}'";
    const CommandResult done =
        run("TMPDIR=" + (folder_ / "tmp") + " " + around + " " + PEELFS_PROGRAM " try " + way +
            " --drop " + (folder_ / "locked.img") + " locked_crypt -- " + look);
    EXPECT_EQ(done.exit_code, 0) << way << done.output;
    return done.output;
  }
};

TEST_F(Inheritance, NoKeyReachesTheCommand) {
  struct Way {
    std::string option, before, behind;
  };
  const std::string key = folder_ / "key";
  for (const Way& way :
       {Way{"--key fd:7", "", "7<" + key}, Way{"--key-file -", "", "<" + key},
        Way{"--key fd:0", "", "<" + key}, Way{"--key-file /dev/stdin", "", "<" + key},
        Way{"--key-file " + key, "", "<" + key},
        Way{"--key env:PEELFS_TEST_KEY", "PEELFS_TEST_KEY=sesame-open", ""}}) {
    const std::string text =
        found(way.option + " " + way.behind + (way.behind.starts_with("<") ? "" : " </dev/null"),
              way.before);
    EXPECT_FALSE(contains(text, "sesame")) << way.option << ": " << text;
    EXPECT_FALSE(contains(text, "open ")) << way.option << ": " << text;
  }
}

TEST_F(Inheritance, TheCommandHasThreeDescriptors) {
  const Outputs done =
      try_it("--drop " + disk_ + " diskp1 -- sh -c 'ls /proc/$$/fd; : {}' 7</etc/passwd 9>" +
             (folder_ / "nine"));
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_EQ(done.output, "0\n1\n2\n");
}

/// A source that is open as descriptor 0, 1 or 2 is reached past every path.
// The first process of the world says how the command ended, and `try --commit` believes it.
TEST_F(Inheritance, TheCommandCannotLookIntoTheProcessThatWatchesIt) {
  const auto done = try_it("--drop " + disk_ +
                           " diskp1 -- sh -c 'head -c 1 /proc/1/environ > /dev/null && echo "
                           "looked; : > /proc/1/mem && echo wrote; : {}'");
  EXPECT_FALSE(contains(done.output, "looked")) << done.output << done.errors;
  EXPECT_FALSE(contains(done.output, "wrote")) << done.output << done.errors;
}

TEST_F(Inheritance, NoDescriptorLeadsToASource) {
  for (const char* const fd : {"0", "1"}) {
    const std::string number = fd;
    const Outputs done =
        try_it("--drop " + disk_ + " diskp1 -- sh -c 'printf X >&" + number +
               "; printf X >/proc/self/fd/" + number + "; : {}' " + number + "<>" + disk_);
    EXPECT_EQ(done.exit_code, 0) << number << done.errors;
    EXPECT_TRUE(contains(done.errors, "descriptor " + number + ", not " + disk_)) << done.errors;
    untouched();
  }
  const Outputs folder =
      try_it("--drop " + disk_ + " diskp1 -- sh -c 'printf X | dd conv=notrunc " +
             "of=/proc/self/fd/0/disk.img; : {}' <" + folder_.path());
  EXPECT_EQ(folder.exit_code, 0) << folder.errors;
  untouched();
}

TEST_F(Inheritance, NoDescriptorLeadsToALoopDeviceOfASource) {
  const LoopDevice loop(disk_);
  if (!loop) GTEST_SKIP() << "no loop devices";
  const Outputs done =
      try_it("--drop " + disk_ + " diskp1 -- sh -c 'printf X >&0; : {}' 0<>" + loop.path());
  must_run("sync " + loop.path());
  EXPECT_TRUE(contains(done.errors, "not " + loop.path())) << done.errors;
  untouched();
}

/// What a mount of peelfs that a source lies in takes its bytes from.
TEST_F(Inheritance, TheOriginalOfAnOriginalIsOutOfReach) {
  must_run(std::string(PEELFS_PROGRAM) + " --rw " + disk_ + " " + at_);
  const auto attempt = [&](const std::string& line) {
    return try_it("--drop " + at_ + "/diskp1 diskp1 -- sh -c '" + line + "; : {}'");
  };
  for (const std::string& target : {disk_, at_ + "/disk", at_ + "/diskp1", at_ + "/diskp2"}) {
    const Outputs done = attempt("printf X | dd conv=notrunc of=" + target);
    EXPECT_EQ(done.exit_code, 0) << done.errors;
    EXPECT_TRUE(contains(done.errors, "Read-only file system")) << target << done.errors;
    untouched();
  }
  const Outputs shortened = attempt("truncate -s 0 " + disk_);
  EXPECT_EQ(shortened.exit_code, 0) << shortened.errors;
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  untouched();
}

TEST_F(Inheritance, TheCommandKeepsItsInputAndItsVariables) {
  ::setenv("PEELFS_TEST_OTHER", "stays", 1);
  const Outputs done =
      try_it("--drop " + disk_ + " diskp1 -- sh -c 'cat; echo $PEELFS_TEST_OTHER; : {}' <" +
             (folder_ / "key"));
  ::unsetenv("PEELFS_TEST_OTHER");
  EXPECT_EQ(done.output, "sesame-openstays\n") << done.errors;
}

/// A program that waits for the end of a pipe that peelfs was started with does not wait for the
/// mount.
TEST_F(Inheritance, TheDaemonKeepsNoDescriptor) {
  const std::string mount = std::string(PEELFS_PROGRAM) + " ";
  const CommandResult ended = run("timeout 20 sh -c '{ " + mount + disk_ + " " + at_ +
                                  " 9>&1 >/dev/null 2>&1; } | cat; echo through'");
  EXPECT_EQ(ended.exit_code, 0) << "the daemon holds the other end of the pipe";
  EXPECT_TRUE(contains(ended.output, "through"));
  EXPECT_TRUE(is_mounted(at_));
}

TEST_F(Inheritance, SourcesAndKeysByDescriptorStillWork) {
  must_run(std::string(PEELFS_PROGRAM) + " --key fd:8 locked.img=/dev/fd/7 " + at_ + " 7<" +
           (folder_ / "locked.img") + " 8<" + (folder_ / "key"));
  EXPECT_TRUE(fs::exists(at_ + "/locked.img_crypt")) << must_run("ls " + at_);
}

}  // namespace
}  // namespace peelfs::test
