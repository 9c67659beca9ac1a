// What peelfs writes because it was named as an output is never what it reads.
#include "cli/overlays.h"

namespace peelfs::test {
namespace {

std::string text_of(const std::string& path) {
  const auto bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class OutputFiles : public Overlays {
 protected:
  Outputs export_with_map(const std::string& map, const std::string& more = "") const {
    return peelfs_apart("export " + more + " --map-file " + map + " " + disk_ + " diskp2 " + copy_);
  }
  /// Every name in the folder: nothing may be left behind.
  std::string names() const { return must_run("ls -A " + folder_.path()); }
  const std::string copy_ = folder_ / "copy";
};

class MapFileOutput : public OutputFiles {};

TEST_F(MapFileOutput, IsNoFileThatIsReadFrom) {
  must_run("ln " + disk_ + " " + (folder_ / "hard"));
  const std::string before = names();
  for (const char* const more : {"", "--force"}) {
    for (const char* const name : {"disk.img", "hard"}) {
      const Outputs refused = export_with_map(folder_ / name, more);
      EXPECT_EQ(refused.exit_code, 2) << name;
      EXPECT_TRUE(contains(refused.errors, "read from")) << refused.errors;
    }
  }
  untouched();
  EXPECT_EQ(names(), before);
}

TEST_F(MapFileOutput, IsNoBackingFileOverlayOrKey) {
  const std::string top = folder_ / "top.qcow2";
  must_run("qemu-img create -q -f qcow2 -b disk.img -F raw " + top);
  const Outputs backing =
      peelfs_apart("export --force --map-file " + disk_ + " " + top + " topp2 " + copy_);
  EXPECT_EQ(backing.exit_code, 2);
  EXPECT_TRUE(contains(backing.errors, "read from")) << backing.errors;
  untouched();

  write_through_mount();
  const std::string found = ov_ + "/disk.qcow2";
  const std::string before = sha256(read_file(found));
  const Outputs over = export_with_map(found, "--force --overlay " + ov_);
  EXPECT_EQ(over.exit_code, 2);
  EXPECT_EQ(sha256(read_file(found)), before) << over.errors;

  const std::string key = folder_ / "key";
  must_run("printf secret >" + key);
  const Outputs secret = export_with_map(key, "--force --key-file " + key);
  EXPECT_EQ(secret.exit_code, 2);
  EXPECT_EQ(text_of(key), "secret") << secret.errors;
}

TEST_F(MapFileOutput, IsNotTheCopyItself) {
  const std::string before = names();
  const Outputs refused = export_with_map(folder_ / "./copy");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "the same")) << refused.errors;
  EXPECT_EQ(names(), before);
}

TEST_F(MapFileOutput, ReplacesOnlyMapFiles) {
  const std::string mine = folder_ / "mine";
  must_run("echo mine >" + mine + " && mkdir " + (folder_ / "dir") + " && mkfifo " +
           (folder_ / "fifo") + " && ln -s mine " + (folder_ / "link"));
  const std::string before = names();
  for (const char* const name : {"mine", "dir", "fifo", "link"}) {
    const Outputs refused = export_with_map(folder_ / name);
    EXPECT_EQ(refused.exit_code, 2) << name << refused.errors;
  }
  EXPECT_EQ(export_with_map(folder_ / "fifo", "--force").exit_code, 2);
  EXPECT_EQ(names(), before);
  EXPECT_EQ(text_of(mine), "mine\n");
  EXPECT_EQ(export_with_map(mine, "--force").exit_code, 0);
  EXPECT_TRUE(contains(text_of(mine), "# Mapfile")) << text_of(mine);
  // It is one now.
  must_run("rm " + copy_);
  EXPECT_EQ(export_with_map(mine).exit_code, 0);
}

TEST_F(MapFileOutput, LeavesWhatLiesBesideItAlone) {
  const std::string map = folder_ / "map";
  must_run("echo mine >" + map + ".new");
  EXPECT_EQ(export_with_map(map).exit_code, 0);
  EXPECT_EQ(text_of(map + ".new"), "mine\n");
  EXPECT_TRUE(contains(names(), "map\nmap.new\n")) << names();
}

TEST_F(MapFileOutput, CannotBeWrittenIsSaidBeforeTheCopy) {
  const std::string before = names();
  const Outputs refused = export_with_map(folder_ / "no/where");
  EXPECT_EQ(refused.exit_code, 2) << refused.errors;
  EXPECT_EQ(names(), before);
}

class CatOutput : public OutputFiles {};

TEST_F(CatOutput, IsNoSource) {
  const Outputs refused = peelfs_apart("cat " + disk_ + " diskp2 >>" + disk_);
  EXPECT_EQ(refused.exit_code, 2);
  untouched();
}

class LogFile : public OutputFiles {
 protected:
  Outputs mount_with_log(const std::string& log, const std::string& source) const {
    const CommandResult result = run("timeout 60 " PEELFS_PROGRAM " -o debug,log-file=" + log +
                                     " " + source + " " + at_ + " 2>&1");
    return {result.exit_code, "", result.output};
  }
};

TEST_F(LogFile, IsNoSourceBackingFileOrOverlay) {
  must_run("ln -s disk.img " + (folder_ / "link") + " && ln " + disk_ + " " + (folder_ / "hard"));
  for (const char* const name : {"disk.img", "link", "hard"}) {
    const Outputs refused = mount_with_log(folder_ / name, disk_);
    EXPECT_EQ(refused.exit_code, 1) << name << refused.errors;
    EXPECT_FALSE(is_mounted(at_)) << name;
    if (is_mounted(at_)) peelfs("umount " + at_);
  }
  untouched();
  const std::string top = folder_ / "top.qcow2";
  must_run("qemu-img create -q -f qcow2 -b disk.img -F raw " + top);
  const Outputs backing = mount_with_log(disk_, top);
  EXPECT_EQ(backing.exit_code, 1) << backing.errors;
  EXPECT_FALSE(is_mounted(at_));
  untouched();
  write_through_mount();
  const std::string overlay = ov_ + "/disk.qcow2";
  const std::string before = sha256(read_file(overlay));
  EXPECT_EQ(mount_with_log(overlay, "--overlay " + ov_ + " " + disk_).exit_code, 1);
  EXPECT_FALSE(is_mounted(at_));
  EXPECT_EQ(sha256(read_file(overlay)), before);
}

TEST_F(LogFile, IsNoFifoAndDoesNotHang) {
  must_run("mkfifo " + (folder_ / "fifo"));
  const Outputs refused = mount_with_log(folder_ / "fifo", disk_);
  EXPECT_EQ(refused.exit_code, 1) << refused.errors;
  EXPECT_TRUE(contains(refused.errors, "FIFO")) << refused.errors;
  EXPECT_FALSE(is_mounted(at_));
}

TEST_F(LogFile, IsWrittenAndAppendedTo) {
  const std::string log = folder_ / "log";
  must_run("echo first >" + log);
  EXPECT_EQ(mount_with_log(log, disk_).exit_code, 0);
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
  EXPECT_TRUE(contains(text_of(log), "first\n")) << text_of(log);
  EXPECT_TRUE(contains(text_of(log), "peelfs[")) << text_of(log);
  EXPECT_EQ(mount_with_log("/dev/null", disk_).exit_code, 0);
  EXPECT_EQ(peelfs("umount " + at_).exit_code, 0);
}

class TryCommit : public OutputFiles {
 protected:
  void SetUp() override {
    OutputFiles::SetUp();
    if (IsSkipped()) return;
    must_run("cd " + folder_.path() + " && qemu-img create -q -f qcow2 -o data_file=d.raw " +
             "i.qcow2 4M && qemu-io -f qcow2 -c 'write -P 1 0 4M' i.qcow2");
  }
  const std::string image_ = folder_ / "i.qcow2";
  /// A command that says that it ran, and writes.
  std::string writing() const {
    return " i -- sh -c 'echo RAN; printf MARK | dd of={} bs=1 seek=5000 conv=notrunc status=none'";
  }
};

TEST_F(TryCommit, IsRefusedBeforeTheCommandRuns) {
  const std::string before = sha256(read_file(image_)) + sha256(read_file(folder_ / "d.raw"));
  const Outputs refused = try_it("--commit " + image_ + writing());
  EXPECT_EQ(refused.exit_code, 125);
  EXPECT_FALSE(contains(refused.output, "RAN")) << refused.output;
  EXPECT_TRUE(contains(refused.errors, "--allow-reference")) << refused.errors;
  EXPECT_TRUE(nothing_kept()) << refused.errors;
  EXPECT_EQ(sha256(read_file(image_)) + sha256(read_file(folder_ / "d.raw")), before);
  const Outputs done =
      try_it("--commit --allow-reference " + (folder_ / "d.raw") + " " + image_ + writing());
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(contains(done.output, "RAN")) << done.output;
  EXPECT_TRUE(nothing_kept()) << done.errors;
}

TEST_F(TryCommit, ThatFailsSaysWhereTheChangesAre) {
  // The overlay stays below the limit on the size of files; the place in the source does not.
  const CommandResult failed = run("trap '' XFSZ; ulimit -f 2000; " +
                                   command_line("try --commit " + disk_ +
                                                " diskp2 -- sh -c 'printf MARK | dd of={} bs=1 "
                                                "seek=5000 conv=notrunc status=none' 2>&1"));
  EXPECT_EQ(failed.exit_code, 125) << failed.output;
  ASSERT_FALSE(kept().empty()) << failed.output;
  EXPECT_TRUE(contains(failed.output, "kept in " + kept().front())) << failed.output;
}

TEST_F(TryCommit, NothingIsKeptWhereNothingWasMounted) {
  must_run("mkdir -m 0700 " + (folder_ / "keep") + " && cp " + disk_ + " " +
           (folder_ / "keep/disk.qcow2"));
  const Outputs failed = try_it("--keep " + (folder_ / "keep") + " " + disk_ + " diskp2 -- true");
  EXPECT_EQ(failed.exit_code, 125) << failed.errors;
  EXPECT_FALSE(contains(failed.errors, "kept in")) << failed.errors;
}

}  // namespace
}  // namespace peelfs::test
