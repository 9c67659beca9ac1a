// What peelfs knows but does not open, and devices with two signatures, as `peelfs ls` shows them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace peelfs::test {
namespace {

class Unopened : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    SKIP_WITHOUT("qemu-img");
    disk_ = folder_ / "disk.img";
    make_disk(disk_);
  }

  /// NAME, FSTYPE and STATE with its reason, of each line, by blanks and a bar.
  std::vector<std::string> ls(const std::string& arguments) {
    const Outputs listed = peelfs_apart("ls --json " + arguments);
    EXPECT_EQ(listed.errors, "");
    std::vector<std::string> lines;
    const auto add = [&](const auto& self, const nlohmann::json& devices) -> void {
      for (const auto& device : devices) {
        const auto text = [&](const char* key) {
          return device.at(key).is_null() ? "" : device.at(key).template get<std::string>();
        };
        std::string line = text("name") + "|" + text("fstype");
        if (!text("state").empty()) line += "|" + text("state") + ": " + text("reason");
        lines.push_back(line);
        if (device.contains("children")) self(self, device.at("children"));
      }
    };
    add(add, nlohmann::json::parse(listed.output).at("blockdevices"));
    return lines;
  }
  void convert(const std::string& options, const std::string& name) {
    must_run("qemu-img convert -f raw " + options + " " + disk_ + " " + (folder_ / name));
  }
  using Lines = std::vector<std::string>;
  TemporaryDirectory folder_;
  std::string disk_;
};

TEST_F(Unopened, ImagesOfOtherPrograms) {
  const std::string qemu = "; qemu-img convert opens it";
  const struct {
    const char* options;
    const char* name;
    std::string says;
  } images[] = {
      {"-O vmdk", "a.vmdk", "vmdk|unsupported: a VMDK image" + qemu},
      {"-O vmdk -o subformat=streamOptimized", "s.vmdk", "vmdk|unsupported: a VMDK image" + qemu},
      {"-O vmdk -o subformat=monolithicFlat", "f.vmdk",
       "vmdk|unsupported: the descriptor of a VMDK image" + qemu + " with the files that it names"},
      {"-O vhdx", "a.vhdx", "vhdx|unsupported: a VHDX image" + qemu},
      {"-O vdi", "a.vdi", "vdi|unsupported: a VDI image" + qemu},
      {"-O qed", "a.qed", "qed|unsupported: a QED image" + qemu},
      {"-O parallels", "a.hdd", "parallels|unsupported: a Parallels image" + qemu},
  };
  for (const auto& image : images) {
    convert(image.options, image.name);
    EXPECT_EQ(ls(folder_ / image.name), (Lines{std::string(image.name) + "|" + image.says}));
    // The advice holds.
    EXPECT_EQ(run("qemu-img convert -O raw " + (folder_ / image.name) + " " + (folder_ / "out") +
                  " && cmp -n 16777216 " + disk_ + " " + (folder_ / "out"))
                  .exit_code,
              0)
        << image.name;
    // Of a guest's disk nothing of the kind is claimed.
    const Lines raw = ls("raw:" + (folder_ / image.name));
    EXPECT_EQ(raw.front().find("unsupported"), std::string::npos) << raw.front();
  }
  must_run("gzip -k " + disk_);
  EXPECT_EQ(ls(disk_ + ".gz"),
            (Lines{"disk.img.gz|gzip|unsupported: compressed with gzip; gunzip opens it"}));
}

TEST_F(Unopened, AnOverlayCoversNoSuchImage) {
  convert("-O vmdk", "a.vmdk");
  const Outputs refused = peelfs_apart("--overlay " + (folder_ / "ov") + " " +
                                       (folder_ / "a.vmdk") + " " + folder_.path());
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.errors.find("format vmdk"), std::string::npos) << refused.errors;
  EXPECT_NE(refused.errors.find("raw:PATH"), std::string::npos) << refused.errors;
}

TEST_F(Unopened, AFixedVhdIsTheDiskInIt) {
  const Lines plain = ls(disk_);
  convert("-O vpc -o subformat=fixed,force_size=on", "disk.vhd");
  EXPECT_EQ(ls(folder_ / "disk.vhd"), plain);
  EXPECT_EQ(must_run(std::string(PEELFS_PROGRAM) + " cat " + (folder_ / "disk.vhd") +
                     " disk | sha256sum"),
            must_run("sha256sum < " + disk_));
}

TEST_F(Unopened, ADynamicVhdIsTheDiskInIt) {
  const Lines plain = ls(disk_);
  convert("-O vpc -o subformat=dynamic,force_size=on", "disk.vhd");
  EXPECT_EQ(ls(folder_ / "disk.vhd"), plain);
  EXPECT_EQ(must_run(std::string(PEELFS_PROGRAM) + " cat " + (folder_ / "disk.vhd") +
                     " disk | sha256sum"),
            must_run("sha256sum < " + disk_));
}

TEST_F(Unopened, LinksOfAMountThatIsNotThereAreNotSpokenOf) {
  must_run("cp " + disk_ + " " + (folder_ / "copy.img"));
  const Outputs listed = peelfs_apart("ls " + disk_ + " " + (folder_ / "copy.img"));
  EXPECT_EQ(listed.exit_code, 0);
  EXPECT_EQ(listed.errors, "");
}

class Leftovers : public Unopened {
 protected:
  void SetUp() override {
    Unopened::SetUp();
    if (IsSkipped()) return;
    SKIP_WITHOUT("cryptsetup");
    luks_ = folder_ / "luks.img";
    must_run("truncate -s 400M " + luks_ + " && printf secret > " + (folder_ / "key") +
             " && cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 " +
             "--pbkdf-force-iterations 1000 " + luks_ + " " + (folder_ / "key"));
  }
  std::string luks_;
};

// A system that "initialises" an encrypted disk writes a partition table over its first sector.
TEST_F(Leftovers, ATableWrittenOverLuks) {
  must_run("dd if=/dev/zero of=" + luks_ + " bs=512 count=1 conv=notrunc status=none && " +
           "echo 'start=2048,type=83' | sfdisk -q --wipe never " + luks_ + " 2>&1");
  const Lines lines = ls(luks_);
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.front(),
            "luks||note: two signatures: an MBR partition table, which is used, and a second LUKS2 "
            "header at 0x4000 without the first (to open that, give this device's image with "
            "--header NAME=PATH)");
  // The advice holds.
  const Lines opened =
      ls("--header luks=" + luks_ + " --key-file " + (folder_ / "key") + " " + luks_);
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened.back(), "luks_crypt|");
}

TEST_F(Leftovers, AFilesystemWrittenOverLuks) {
  SKIP_WITHOUT("mkfs.xfs");
  must_run("cp " + luks_ + " " + luks_ + ".old && mkfs.xfs -q -f " + luks_ + " && dd if=" + luks_ +
           ".old of=" + luks_ + " bs=16384 skip=1 seek=1 count=1 conv=notrunc status=none");
  EXPECT_EQ(ls(luks_), (Lines{"luks|xfs|note: two signatures: xfs at 0x0, which is used, and a "
                              "second LUKS2 header at 0x4000 without the first (to open that, give "
                              "this device's image with --header NAME=PATH)"}));
}

TEST_F(Leftovers, ASecondHeaderThatIsDamagedIsSaidToBe) {
  must_run("dd if=/dev/zero of=" + luks_ + " bs=4096 count=1 conv=notrunc status=none && " +
           "printf x | dd of=" + luks_ + " bs=1 seek=20480 conv=notrunc status=none");
  const Lines lines = ls(luks_);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines.front().find("luks|crypto_LUKS|damaged: "), 0U) << lines.front();
  EXPECT_NE(lines.front().find("at 0x4000 its sha256 checksum is wrong"), std::string::npos)
      << lines.front();
}

}  // namespace
}  // namespace peelfs::test
