// Programs that people use on disks, unmodified, on the device files.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mounted.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;
const std::string path_to_tools = "PATH=$PATH:/usr/sbin:/sbin ";

/// Two partitions, an ext4 with files in the first; as a raw image and as a qcow2 of it.
class Tools : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    for (const char* const tool : {"sfdisk", "mkfs.ext4", "qemu-img", "debugfs"}) {
      NEED_PROGRAM(tool);
    }
    fs::create_directory(folder_ / "files");
    write_file(folder_ / "files/some", pattern(3 * mib, 11));
    make_sparse(raw_, 64 * mib, {});
    must_run("printf 'label: gpt\\nsize=40M\\nsize=20M\\n' | " + path_to_tools + "sfdisk -q " +
             sh(raw_));
    must_run(path_to_tools + "mkfs.ext4 -q -L tools -d " + sh(folder_ / "files") +
             " -E offset=1048576 " + sh(raw_) + " 40M");
    must_run("qemu-img convert -c -O qcow2 " + sh(raw_) + " " + sh(folder_ / "disk.qcow2"));
    mount_.emplace(sh(folder_ / "disk.qcow2"));
    ASSERT_TRUE(fs::exists(*mount_ / "diskp1"));
    disk_ = sh(*mount_ / "disk");
    part_ = sh(*mount_ / "diskp1");
  }

  TemporaryDirectory folder_;
  std::string raw_ = folder_ / "truth.raw";
  std::optional<Mount> mount_;
  std::string disk_, part_;
};

TEST_F(Tools, E2fsprogs) {
  must_run(path_to_tools + "e2fsck -fn " + part_);
  EXPECT_NE(must_run(path_to_tools + "dumpe2fs -h " + part_).find("tools"), std::string::npos);
  EXPECT_NE(must_run(path_to_tools + "tune2fs -l " + part_).find("tools"), std::string::npos);
  must_run(path_to_tools + "debugfs -R 'dump /some " + (folder_ / "dumped") + "' " + part_);
  must_run("cmp " + sh(folder_ / "dumped") + " " + sh(folder_ / "files/some"));
}

TEST_F(Tools, FsckByItsFrontEnd) {
  NEED_PROGRAM("fsck");
  must_run(path_to_tools + "fsck -fn " + part_);
}

TEST_F(Tools, Blkid) {
  NEED_PROGRAM("blkid");
  const std::string found = must_run(path_to_tools + "blkid -p -o export " + part_);
  EXPECT_NE(found.find("LABEL=tools"), std::string::npos) << found;
  EXPECT_NE(found.find("TYPE=ext4"), std::string::npos) << found;
}

TEST_F(Tools, File) {
  NEED_PROGRAM("file");
  EXPECT_NE(must_run("file -s " + part_).find("ext4 filesystem"), std::string::npos);
}

TEST_F(Tools, Sfdisk) {
  const std::string ours = must_run(path_to_tools + "sfdisk -d " + disk_);
  const std::string truth = must_run(path_to_tools + "sfdisk -d " + sh(raw_));
  EXPECT_EQ(ours.substr(0, ours.find("device:")), truth.substr(0, truth.find("device:")));
  EXPECT_NE(ours.find("40"), std::string::npos);
}

TEST_F(Tools, QemuImg) {
  const auto info = nlohmann::json::parse(must_run("qemu-img info --output=json " + disk_));
  EXPECT_EQ(info["virtual-size"], 64 * mib);
  EXPECT_EQ(info["format"], "raw");
  must_run("qemu-img compare -f raw -F raw " + disk_ + " " + sh(raw_));
  must_run("qemu-img convert -f raw -O qcow2 " + disk_ + " " + sh(folder_ / "again.qcow2"));
  must_run("qemu-img compare " + sh(folder_ / "again.qcow2") + " " + sh(raw_));
  std::uint64_t data = 0;
  for (const auto& run_of :
       nlohmann::json::parse(must_run("qemu-img map -f raw --output=json " + disk_))) {
    data += run_of["data"].get<bool>() ? run_of["length"].get<std::uint64_t>() : 0;
  }
  EXPECT_GT(data, 3 * mib);
  EXPECT_LT(data, 32 * mib);
}

TEST_F(Tools, CpKeepsHolesAndBytes) {
  for (const char* const sparse : {"always", "auto", "never"}) {
    const std::string copy = sh(folder_ / ("copy-" + std::string(sparse)));
    must_run("cp --sparse=" + std::string(sparse) + " " + disk_ + " " + copy);
    must_run("cmp " + copy + " " + sh(raw_));
  }
  EXPECT_LT(std::stoul(must_run("du -k " + sh(folder_ / "copy-auto"))), 32U * 1024);
}

TEST_F(Tools, TarKeepsHolesAndBytes) {
  NEED_PROGRAM("tar");
  must_run("tar -C " + sh(mount_->path()) + " -cSf " + sh(folder_ / "t.tar") + " disk");
  EXPECT_LT(fs::file_size(folder_ / "t.tar"), 32 * mib);
  fs::create_directory(folder_ / "out");
  must_run("tar -C " + sh(folder_ / "out") + " -xSf " + sh(folder_ / "t.tar"));
  must_run("cmp " + sh(folder_ / "out/disk") + " " + sh(raw_));
}

TEST_F(Tools, DdInEveryWay) {
  for (const char* const flags : {"", "iflag=direct", "iflag=nocache", "iflag=direct,skip_bytes"}) {
    must_run("dd status=none bs=1M " + std::string(flags) + " if=" + disk_ + " | cmp - " +
             sh(raw_));
  }
}

TEST_F(Tools, PeelfsOnADeviceFileOfPeelfs) {
  const std::string tree = must_run(program() + " ls " + disk_);
  EXPECT_NE(tree.find("tools"), std::string::npos) << tree;
}

TEST_F(Tools, FlockAndLseekAsShellsDo) {
  must_run("flock -n " + part_ + " true");
  EXPECT_EQ(must_run("tail -c 100000 " + disk_ + " | sha256sum"),
            must_run("tail -c 100000 " + sh(raw_) + " | sha256sum"));
}

TEST_F(Tools, LoopDeviceAndKernelMount) {
  NEED_ROOT();
  NEED_PROGRAM("losetup");
  const CommandResult attached = run("losetup -r -f --show " + part_);
  if (attached.exit_code != 0) GTEST_SKIP() << "no loop device to be had: " << attached.output;
  const std::string loop = attached.output.substr(0, attached.output.find('\n'));
  must_run("cmp " + loop + " " + part_);
  fs::create_directory(folder_ / "inside");
  must_run("mount -o ro,noload -t ext4 " + loop + " " + sh(folder_ / "inside"));
  must_run("cmp " + sh(folder_ / "inside/some") + " " + sh(folder_ / "files/some"));
  const CommandResult busy = mount_->umount();
  EXPECT_NE(busy.exit_code, 0);
  EXPECT_NE(busy.output.find(loop), std::string::npos) << busy.output;
  must_run("umount " + sh(folder_ / "inside"));
  must_run("losetup -d " + loop);
  EXPECT_TRUE(eventually([&] { return mount_->umount().exit_code == 0; }));
}

TEST_F(Tools, LosetupWithoutReadOnlyFallsBack) {
  NEED_ROOT();
  NEED_PROGRAM("losetup");
  const CommandResult attached = run("losetup -f --show " + part_);
  if (attached.exit_code != 0 && attached.output.find("Read-only") == std::string::npos) {
    GTEST_SKIP() << "no loop device to be had: " << attached.output;
  }
  ASSERT_EQ(attached.exit_code, 0) << attached.output;
  const std::string loop = attached.output.substr(0, attached.output.find('\n'));
  EXPECT_EQ(must_run(path_to_tools + "blockdev --getro " + loop), "1\n");
  must_run("losetup -d " + loop);
}

TEST_F(Tools, MemoryStaysSmall) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need memory of their own";
#endif
  must_run("for i in 1 2 3 4 5 6 7 8; do dd status=none bs=1M iflag=direct if=" + disk_ +
           " of=/dev/null & done; wait");
  must_run("ls -lR " + sh(mount_->path()));
  std::ifstream status("/proc/" + std::to_string(mount_->server()) + "/status");
  std::string line;
  unsigned long resident = 0;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) resident = std::stoul(line.substr(6));
  }
  EXPECT_GT(resident, 1024U);
  EXPECT_LT(resident, 96U * 1024) << "kB at most, with the caches";
}

}  // namespace
}  // namespace peelfs::test
