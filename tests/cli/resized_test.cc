// Disks, partitions and keys that were changed in an overlay, as a guest does it: what diff says,
// and what commit makes of it.
#include <nlohmann/json.hpp>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

class Resized : public Overlays {
 protected:
  /// Puts the partition table of another disk into the overlay.
  void put_table(const std::string& table) const {
    must_run("cp " + disk_ + " " + (folder_ / "edited") + " && truncate -s 80M " +
             (folder_ / "edited") + " && printf '" + table + "' | sfdisk -q --no-reread " +
             (folder_ / "edited"));
    must_run(std::string(PEELFS_PROGRAM) + " -o writable=disk --overlay " + ov_ + " " + disk_ +
             " " + at_);
    must_run("dd if=" + (folder_ / "edited") + " of=" + at_ +
             "/disk bs=512 count=1 conv=notrunc,fsync status=none");
    must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  }
  Outputs ls() const { return with("ls", disk_); }
};

TEST_F(Resized, AGuestThatGrowsIntoALargerDisk) {
  SKIP_WITHOUT("resize2fs");
  SKIP_WITHOUT("e2fsck");
  write_through_mount();
  must_run("qemu-img resize -q -f qcow2 " + ov_ + "/disk.qcow2 80M");
  // Partition 2 goes, partition 1 and its filesystem grow to the new end.
  put_table("label: dos\\nstart=2048,size=161792,type=83\\n");
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + disk_ + " " + at_);
  must_run("resize2fs -f " + at_ + "/diskp1 && e2fsck -fy " + at_ + "/diskp1");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);

  const Outputs listed = ls();
  EXPECT_EQ(listed.exit_code, 0) << listed.errors;
  EXPECT_FALSE(contains(listed.output + listed.errors, "truncated")) << listed.output;
  EXPECT_TRUE(contains(listed.output, "80M")) << listed.output;

  const Outputs diff = with("diff", disk_);
  EXPECT_EQ(diff.exit_code, 0) << diff.errors;
  EXPECT_TRUE(contains(diff.output, "disk      grown from 16M to 80M; ")) << diff.output;
  EXPECT_TRUE(contains(diff.output, "of it behind the old end")) << diff.output;
  EXPECT_TRUE(contains(diff.output, "diskp1  grown from 8M to 79M; ")) << diff.output;
  EXPECT_TRUE(contains(diff.output, "diskp2    is gone")) << diff.output;
  // Its own end, which no other device has.
  const Outputs dump = with("diff", "--hexdump 83885000,64 " + disk_ + " disk");
  EXPECT_EQ(dump.exit_code, 0) << dump.errors;
  EXPECT_FALSE(contains(dump.output, "\n-")) << dump.output;
  EXPECT_TRUE(contains(dump.output, "+0004fffbc8")) << dump.output;

  const std::string image = sha256(read_file(ov_ + "/disk.qcow2"));
  const Outputs refused = with("commit", disk_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "--grow")) << refused.errors;
  untouched();
  EXPECT_EQ(sha256(read_file(ov_ + "/disk.qcow2")), image);

  must_run("qemu-img convert -O raw " + ov_ + "/disk.qcow2 " + (folder_ / "want"));
  const Outputs done = with("commit", "--grow " + disk_);
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(contains(done.output, "made 64M larger")) << done.output;
  EXPECT_EQ(sha256(read_file(disk_)), sha256(read_file(folder_ / "want")));
  EXPECT_TRUE(fs::is_empty(ov_));
  must_run(std::string(PEELFS_PROGRAM) + " cat --force " + disk_ + " diskp1 >" + (folder_ / "p1") +
           " && e2fsck -fn " + (folder_ / "p1"));
}

TEST_F(Resized, PartitionsThatWereMovedResizedOrAdded) {
  write_through_mount();
  put_table(
      "label: dos\\nstart=2048,size=8192,type=83\\nstart=20480,size=8192,type=83\\n"
      "start=10240,size=2048,type=83\\n");
  const Outputs diff = with("diff", disk_);
  EXPECT_EQ(diff.exit_code, 0) << diff.errors;
  EXPECT_TRUE(contains(diff.output, "diskp1  shrunk from 8M to 4M")) << diff.output;
  EXPECT_TRUE(contains(diff.output, "diskp2  moved from byte 9437184 to 10485760 of disk"))
      << diff.output;
  EXPECT_TRUE(contains(diff.output, "diskp3  is new, 1M")) << diff.output;
  const auto json = nlohmann::json::parse(with("diff", "--json " + disk_).output);
  bool seen = false;
  for (const auto& device : json.at("devices")) {
    if (device.at("name") != "diskp2") continue;
    seen = true;
    EXPECT_EQ(device.at("moved").at("to").at("start"), 10485760);
    EXPECT_EQ(device.at("old_size"), device.at("size"));
  }
  EXPECT_TRUE(seen);
  untouched();
}

TEST_F(Resized, SnapshotsAreNotDroppedUnasked) {
  write_through_mount();
  EXPECT_EQ(with("checkpoint", "before-repair").exit_code, 0);
  const Outputs refused = with("commit", disk_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "'before-repair'")) << refused.errors;
  EXPECT_TRUE(contains(refused.errors, "--drop-snapshots")) << refused.errors;
  untouched();
  const Outputs done = with("commit", "--drop-snapshots " + disk_);
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(contains(done.output, "is removed with 1 internal snapshot")) << done.output;
}

TEST_F(Resized, VerboseShowsEveryName) {
  SKIP_WITHOUT("debugfs");
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + disk_ + " " + at_);
  must_run("for i in $(seq 40); do echo \"write /etc/hostname file$i\"; done | debugfs -w -f - " +
           at_ + "/diskp1");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  const Outputs some = with("diff", disk_);
  EXPECT_TRUE(contains(some.output, "more; -v shows them all")) << some.output;
  const Outputs all = with("diff", "-v " + disk_);
  EXPECT_FALSE(contains(all.output, "shows them all")) << all.output;
  for (int i = 1; i <= 40; ++i) EXPECT_TRUE(contains(all.output, "/file" + std::to_string(i))) << i;
}

TEST_F(Resized, AKeyThatWasChangedNeedsBoth) {
  SKIP_WITHOUT("cryptsetup");
  const std::string plain = folder_ / "plain";
  must_run("truncate -s 8M " + plain + " && mke2fs -q -F " + plain);
  const std::string box = folder_ / "box.img";
  make_luks(box, plain, "old");
  must_run("cd " + folder_.path() + " && printf old >old.key && printf new >new.key");
  must_run(std::string(PEELFS_PROGRAM) + " --no-prompt -q --overlay " + ov_ + " " + box + " " +
           at_);
  const CommandResult changed =
      run("cryptsetup luksChangeKey -q --disable-locks --pbkdf-force-iterations 1000 --key-file " +
          (folder_ / "old.key") + " " + at_ + "/box " + (folder_ / "new.key"));
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  ASSERT_EQ(changed.exit_code, 0) << changed.output;
  const auto diff = [&](const std::string& keys, const std::string& name = "") {
    std::string options = "--no-prompt -q ";
    for (const char key : keys) {
      options += "--key-file " + (folder_ / (key == 'o' ? "old.key" : "new.key")) + " ";
    }
    return with("diff", options + box + " " + name);
  };
  for (const std::string& one : {std::string("n"), std::string("o")}) {
    const Outputs some = diff(one);
    EXPECT_EQ(some.exit_code, 1) << some.errors;
    EXPECT_FALSE(contains(some.output, "is new")) << some.output;
    EXPECT_FALSE(contains(some.output, "is gone")) << some.output;
    EXPECT_TRUE(contains(some.output, "give both")) << some.output;
  }
  EXPECT_TRUE(contains(diff("n", "box_crypt").errors, "cannot be compared"));
  const Outputs both = diff("no");
  EXPECT_EQ(both.exit_code, 0) << both.errors;
  EXPECT_FALSE(contains(both.output, "give both")) << both.output;
  EXPECT_FALSE(contains(both.output, "box_crypt")) << "unchanged: " << both.output;
  EXPECT_TRUE(contains(diff("on", "box_crypt").output, "box_crypt  unchanged"));
}

}  // namespace
}  // namespace peelfs::test
