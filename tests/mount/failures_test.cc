// A mount that cannot be made says why, says what to do, exits as mount(8) does, and leaves
// nothing.
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "mounted.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

class Failures : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    write_file(source_, pattern(1 << 20, 1));
    fs::create_directory(folder_ / "m");
  }
  void TearDown() override {
    if (is_mounted(folder_ / "m")) {
      ADD_FAILURE() << "still mounted";
      run("fusermount3 -u -z " + sh(folder_ / "m"));
    }
  }
  CommandResult mount(const std::string& rest) const { return run(program() + " mount " + rest); }
  /// Expects this exit code and each of the texts in the message.
  void expect(const std::string& rest, int code, const std::vector<std::string>& texts) const {
    const CommandResult result = mount(rest);
    EXPECT_EQ(result.exit_code, code) << result.output;
    for (const std::string& text : texts) {
      EXPECT_NE(result.output.find(text), std::string::npos) << text << "\nin: " << result.output;
    }
  }

  TemporaryDirectory folder_;
  std::string source_ = folder_ / "disk.img";
};

TEST_F(Failures, NoMountPoint) {
  expect(sh(source_) + " " + sh(folder_ / "nothing"), 32, {"nothing", "No such file", "mkdir"});
}

TEST_F(Failures, AMountPointThatIsNoDirectory) {
  write_file(folder_ / "file", {});
  expect(sh(source_) + " " + sh(folder_ / "file"), 1, {"file", "director"});
}

TEST_F(Failures, AMountPointOfSomebodyElse) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may mount anywhere";
  expect(sh(source_) + " /usr", 1, {"/usr", "may not mount", "user id 0", "mkdir"});
  expect(sh(source_) + " /tmp", 1, {"/tmp", "may not mount"});
}

TEST_F(Failures, NoSource) {
  expect(sh(folder_ / "nothing.img") + " " + sh(folder_ / "m"), 32,
         {"nothing.img", "No such file"});
}

TEST_F(Failures, OneSourceOfTwo) {
  expect(sh(source_) + " " + sh(folder_ / "nothing.img") + " " + sh(folder_ / "m"), 64,
         {"warning", "nothing.img"});
  EXPECT_TRUE(fs::exists(folder_ / "m/disk"));
  must_run(program() + " umount " + sh(folder_ / "m"));
}

TEST_F(Failures, AnUnknownOption) {
  expect("-o nonsense " + sh(source_) + " " + sh(folder_ / "m"), 1, {"nonsense"});
  expect("-o max_read=12x " + sh(source_) + " " + sh(folder_ / "m"), 1, {"max_read", "12x"});
}

TEST_F(Failures, TheSamePlaceTwice) {
  must_run(program() + " mount " + sh(source_) + " " + sh(folder_ / "m"));
  expect(sh(source_) + " " + sh(folder_ / "m"), 32, {"already", "disk.img", "peelfs umount"});
  EXPECT_TRUE(fs::exists(folder_ / "m/disk")) << "the first one is unharmed";
  must_run(program() + " umount " + sh(folder_ / "m"));
}

TEST_F(Failures, ADeadMountInTheWay) {
  must_run(program() + " mount -o no-auto-unmount " + sh(source_) + " " + sh(folder_ / "m"));
  const CommandResult found = run("pgrep -f 'peelfs mount -o no-auto-unmoun[t] " + source_ + "'");
  ::kill(std::stoi(found.output), SIGKILL);
  EXPECT_TRUE(eventually([&] {
    std::error_code failure;
    static_cast<void>(fs::exists(folder_ / "m/disk", failure));
    return failure == std::errc::not_connected;
  }));
  expect(sh(source_) + " " + sh(folder_ / "m"), 32, {"dead mount", "fusermount3 -u"});
  must_run("fusermount3 -u " + sh(folder_ / "m"));
}

TEST_F(Failures, AllowOtherThatTheAdministratorForbids) {
  if (::geteuid() == 0 || run("grep -q '^user_allow_other' /etc/fuse.conf").exit_code == 0) {
    GTEST_SKIP() << "allow_other is allowed here";
  }
  expect("-o allow_other " + sh(source_) + " " + sh(folder_ / "m"), 1,
         {"user_allow_other", "/etc/fuse.conf"});
}

TEST_F(Failures, NoFusermount) {
  if (::geteuid() == 0) GTEST_SKIP() << "root needs none";
  if (run("unshare -r true").exit_code != 0) GTEST_SKIP() << "no user namespaces here";
  // In a user namespace of one's own fusermount3 is no longer root's: it must fail, and say so.
  const CommandResult result = run("unshare -r --map-user=1000 " + program() + " mount " +
                                   sh(source_) + " " + sh(folder_ / "m"));
  if (result.exit_code == 0) {
    run("fusermount3 -u " + sh(folder_ / "m"));
    GTEST_SKIP() << "mounting in a user namespace works here";
  }
  EXPECT_NE(result.output.find("cannot mount"), std::string::npos) << result.output;
}

TEST_F(Failures, ALogOfEveryRequest) {
  must_run(program() + " mount -o debug,log-file=" + sh(folder_ / "log") + " " + sh(source_) + " " +
           sh(folder_ / "m"));
  run("cat " + sh(folder_ / "m/disk"));
  must_run(program() + " umount " + sh(folder_ / "m"));
  const std::string log = must_run("cat " + sh(folder_ / "log"));
  EXPECT_NE(log.find("opcode: READ"), std::string::npos) << log.substr(0, 2000);
  EXPECT_EQ(must_run("stat -c %a " + sh(folder_ / "log")), "600\n");
}

TEST_F(Failures, KernelOptionsReachTheKernel) {
  must_run(program() + " mount -o noexec,max_read=65536 " + sh(source_) + " " + sh(folder_ / "m"));
  const std::string line = must_run("grep " + sh(folder_ / "m") + " /proc/mounts");
  for (const char* const option :
       {"ro,", "nosuid", "nodev", "noexec", "default_permissions", "max_read=65536"}) {
    EXPECT_NE(line.find(option), std::string::npos) << option << " in " << line;
  }
  must_run("cmp " + sh(folder_ / "m/disk") + " " + sh(source_));
  must_run(program() + " umount " + sh(folder_ / "m"));
}

TEST_F(Failures, ALogThatCannotBeWritten) {
  expect(
      "-o log-file=" + sh(folder_ / "no/such/folder") + " " + sh(source_) + " " + sh(folder_ / "m"),
      32, {"log file", "no/such/folder"});
}

TEST_F(Failures, UmountOfWhatIsNoMountOfOurs) {
  const CommandResult nothing = run(program() + " umount " + sh(folder_ / "m"));
  EXPECT_NE(nothing.exit_code, 0);
  EXPECT_NE(nothing.output.find("no mount of peelfs"), std::string::npos) << nothing.output;
  const CommandResult other = run(program() + " umount /proc");
  EXPECT_NE(other.exit_code, 0);
  EXPECT_NE(other.output.find("type proc"), std::string::npos) << other.output;
}

}  // namespace
}  // namespace peelfs::test
