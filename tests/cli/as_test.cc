// --as and --volume-key, as a person meets them.
#include <gtest/gtest.h>

#include "cli/program.h"

namespace peelfs::test {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class As : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    SKIP_WITHOUT("qemu-img");
    disk_ = folder_ / "disk.img";
    make_disk(disk_);
  }
  void TearDown() override {
    if (is_mounted(mount_)) must_run(PEELFS_PROGRAM " umount " + mount_);
  }
  /// A qcow2 image that is a fixed VHD as well: its last sector names the size of just this file.
  std::string make_ambivalent() {
    const std::string image = folder_ / "two";
    const std::string vhd = folder_ / "vhd";
    must_run("qemu-img convert -f raw -O qcow2 " + disk_ + " " + image + " && truncate -s %65536 " +
             image + " && qemu-img create -q -f vpc -o subformat=fixed,force_size=on " + vhd +
             " $(stat -c %s " + image + ") && tail -c 512 " + vhd + " >>" + image);
    return image;
  }
  static std::string digest_of(const std::string& arguments) {
    return must_run(PEELFS_PROGRAM " cat " + arguments + " | sha256sum");
  }

  TemporaryDirectory folder_;
  std::string disk_;
  const std::string mount_ = folder_ / "m";
};

TEST_F(As, OfTwoFormatsThePersonsIsRead) {
  const std::string image = make_ambivalent();
  const std::string whole = must_run("sha256sum <" + disk_);
  EXPECT_NE(digest_of(image + " two"), whole) << "by itself it is taken for a VHD";
  EXPECT_EQ(digest_of("--as two=qcow2 " + image + " two"), whole);
  EXPECT_EQ(digest_of("--as " + image + "=qcow2 " + image + " two"), whole);
  EXPECT_EQ(digest_of("--as two=raw " + image + " two"), must_run("sha256sum <" + image));
  EXPECT_EQ(digest_of("--as two=raw " + image + " two"), digest_of("raw:" + image + " two"));
}

TEST_F(As, NoneStopsAndSaysSo) {
  const Outputs listed = peelfs_apart("ls --as disk=none " + disk_);
  EXPECT_EQ(listed.exit_code, 0) << listed.errors;
  EXPECT_FALSE(contains(listed.output, "diskp1")) << listed.output;
  EXPECT_TRUE(contains(listed.output, "not looked into: --as says so")) << listed.output;
}

TEST_F(As, WhatIsNoSuchThingIsSaidAndIsNoSuccess) {
  const Outputs listed = peelfs_apart("ls --as disk=lvm " + disk_);
  EXPECT_EQ(listed.exit_code, 1);
  for (const std::string& text : {listed.output, listed.errors}) {
    EXPECT_TRUE(contains(text, "--as: disk is no lvm (found dos, expected the signature of lvm)"))
        << text;
  }
  const Outputs unused = peelfs_apart("ls --as ksid=lvm " + disk_);
  EXPECT_EQ(unused.exit_code, 1);
  EXPECT_TRUE(contains(unused.errors,
                       "no device is called 'ksid': --as lvm is not used; there are disk, diskp1"))
      << unused.errors;
  const Outputs unknown = peelfs_apart("ls --as disk=ntfs " + disk_);
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_TRUE(contains(unknown.errors, "there is no such kind (found 'ntfs', expected raw, none,"))
      << unknown.errors;
  const Outputs both = peelfs_apart("ls --as disk=gpt --header disk=" + disk_ + " " + disk_);
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_TRUE(contains(both.errors, "contradict each other")) << both.errors;
  const Outputs raw = peelfs_apart("ls --as disk=qcow2 raw:" + disk_);
  EXPECT_EQ(raw.exit_code, 2);
  EXPECT_TRUE(contains(raw.errors, "given both as raw and as qcow2")) << raw.errors;
}

// A system that "initialises" an encrypted disk writes a partition table over its first sector.
TEST_F(As, LuksUnderAnotherTable) {
  SKIP_WITHOUT("cryptsetup");
  const std::string luks = folder_ / "luks.img";
  const std::string key = folder_ / "key";
  must_run("truncate -s 40M " + luks + " && printf secret > " + key +
           " && cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 " +
           "--pbkdf-force-iterations 1000 " + luks + " " + key);
  const std::string before = digest_of("--key-file " + key + " " + luks + " luks_crypt");
  must_run("dd if=/dev/zero of=" + luks + " bs=512 count=1 conv=notrunc status=none && " +
           "echo 'start=2048,type=83' | sfdisk -q --wipe never " + luks + " 2>&1");
  EXPECT_TRUE(contains(peelfs("ls " + luks).output, "luksp1"));
  EXPECT_EQ(digest_of("--as luks=luks --key-file " + key + " " + luks + " luks_crypt"), before);
}

TEST_F(As, AQualifiedNameIsOne) {
  for (const char* const folder : {"x", "y"}) {
    must_run("mkdir " + (folder_ / folder) + " && cp " + disk_ + " " + (folder_ / folder) +
             " && qemu-img convert -O qcow2 " + disk_ + " " + (folder_ / folder) + "/os.qcow2");
  }
  const std::string sources = (folder_ / "x/os.qcow2") + " " + (folder_ / "y/os.qcow2");
  const Outputs listed = peelfs_apart("ls --as x.os=none " + sources);
  EXPECT_EQ(listed.exit_code, 0) << listed.errors;
  EXPECT_TRUE(contains(listed.output, "not looked into")) << listed.output;
  EXPECT_TRUE(contains(listed.output, "osp1")) << "the other one: " << listed.output;
}

TEST_F(As, WhatAnImageMayNameDoesNotChange) {
  const std::string evil = folder_ / "evil";
  must_run("qemu-img create -q -f qcow2 -u -F raw -b /etc/hostname " + evil + " 1M");
  const Outputs plain = peelfs_apart("ls " + evil);
  const Outputs directed = peelfs_apart("ls --as evil=qcow2 " + evil);
  EXPECT_TRUE(contains(directed.output, "denied")) << directed.output;
  EXPECT_EQ(directed.output, plain.output);
}

TEST_F(As, AnOverlayLiesOverOneReadingOnly) {
  SKIP_IF_CANNOT_MOUNT();
  const std::string image = make_ambivalent();
  const std::string overlays = folder_ / "ov";
  const std::string original = must_run("sha256sum <" + image);
  must_run("mkdir " + mount_);
  const std::string options = "--overlay " + overlays + " ";
  const Outputs mounted = peelfs_apart(options + "--as two=qcow2 " + image + " " + mount_);
  ASSERT_EQ(mounted.exit_code, 0) << mounted.errors;
  must_run("printf MARK | dd of=" + mount_ + "/two bs=1 seek=5000 conv=notrunc status=none");
  must_run(PEELFS_PROGRAM " umount " + mount_);
  EXPECT_EQ(must_run("sha256sum <" + image), original);

  // Its clusters are those of the disk in the image, and lie nowhere else.
  const Outputs as_raw = peelfs_apart(options + "--as two=raw " + image + " " + mount_);
  EXPECT_NE(as_raw.exit_code, 0);
  EXPECT_TRUE(contains(as_raw.errors, "made for a qcow2 source, and this one is raw"))
      << as_raw.errors;
  const Outputs by_itself = peelfs_apart(options + image + " " + mount_);
  EXPECT_NE(by_itself.exit_code, 0);
  EXPECT_TRUE(contains(by_itself.errors, "no overlay can cover")) << by_itself.errors;
  EXPECT_FALSE(is_mounted(mount_));
  for (const char* const as : {"", "--as two=raw "}) {
    const Outputs refused = peelfs_apart("commit " + options + as + image);
    EXPECT_EQ(refused.exit_code, 2) << as << refused.output;
    EXPECT_EQ(must_run("sha256sum <" + image), original) << "nothing was written";
  }
  const Outputs committed = peelfs_apart("commit " + options + "--as two=qcow2 " + image);
  EXPECT_EQ(committed.exit_code, 0) << committed.errors;
  must_run("printf MARK | dd of=" + disk_ + " bs=1 seek=5000 conv=notrunc status=none");
  must_run("qemu-img compare -f qcow2 -F raw " + image + " " + disk_);
}

TEST_F(As, AMountTakesItAsAnOption) {
  SKIP_IF_CANNOT_MOUNT();
  must_run("mkdir " + mount_);
  const Outputs mounted = peelfs_apart("-o as=disk=none " + disk_ + " " + mount_);
  EXPECT_EQ(mounted.exit_code, 0) << mounted.errors;
  EXPECT_EQ(run("test -e " + mount_ + "/diskp1").exit_code, 1);
}

class VolumeKeys : public As {
 protected:
  void SetUp() override {
    As::SetUp();
    if (IsSkipped()) return;
    SKIP_WITHOUT("cryptsetup");
    make_luks(one_, disk_, "first-pass");
    must_run("printf first-pass > " + (folder_ / "key") +
             " && cryptsetup luksDump -q --dump-volume-key --key-file " + (folder_ / "key") +
             " --volume-key-file " + vk_ + " " + one_ + " && head -c 64 /dev/zero | tr '\\0' x > " +
             wrong_);
  }
  const std::string one_ = folder_ / "one";
  const std::string vk_ = folder_ / "vk";
  const std::string wrong_ = folder_ / "wrong";
};

TEST_F(VolumeKeys, OpenWhatThePassphraseOpens) {
  const std::string whole = must_run("sha256sum <" + disk_);
  for (const std::string& option : {"--volume-key file:" + vk_, "--volume-key one=file:" + vk_,
                                    "--volume-key one=fd:0 <" + vk_}) {
    const auto redirect = option.find(" <");
    EXPECT_EQ(
        must_run(PEELFS_PROGRAM " cat " + option.substr(0, redirect) + " " + one_ + " one_crypt " +
                 (redirect == std::string::npos ? "" : option.substr(redirect)) + " | sha256sum"),
        whole)
        << option;
  }
  // As text, as "cryptsetup luksDump" shows it.
  must_run("od -An -v -tx1 " + vk_ + " > " + (folder_ / "hex"));
  EXPECT_EQ(must_run(PEELFS_PROGRAM " cat --volume-key file:" + (folder_ / "hex") + " " + one_ +
                     " one_crypt | sha256sum"),
            whole);
}

TEST_F(VolumeKeys, WhatOpensNothingIsSaid) {
  const auto said = [](const std::string& arguments) {
    const Outputs result = peelfs_apart("ls --no-prompt " + arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    return result.errors;
  };
  EXPECT_TRUE(contains(said("--volume-key file:" + wrong_ + " " + one_),
                       "the volume key in " + wrong_ + " opens nothing"));
  EXPECT_TRUE(contains(said("--volume-key one=file:" + wrong_ + " " + one_),
                       "the volume key in " + wrong_ + ", given for 'one', does not open it"));
  EXPECT_TRUE(contains(said("--volume-key file:" + vk_ + " " + disk_), "needs a key"));
  EXPECT_TRUE(
      contains(said("--volume-key eno=file:" + vk_ + " " + one_), "no device is called 'eno'"));
  // A volume key is no passphrase.
  EXPECT_TRUE(contains(said("--key-file " + vk_ + " " + one_), "opens nothing"));
  const std::string aes = folder_ / "aes.qcow2";
  must_run(
      "qemu-img create -q -f qcow2 --object secret,id=s,data=abc "
      "-o encrypt.format=aes,encrypt.key-secret=s " +
      aes + " 1M");
  EXPECT_TRUE(contains(said("--volume-key file:" + vk_ + " " + aes),
                       "the volume key in " + vk_ +
                           " opens nothing: what is locked takes a passphrase or a key file, not "
                           "a volume key"));
}

TEST_F(VolumeKeys, WhatCanBeNoneIsRefused) {
  const Outputs refused = peelfs_apart("ls --volume-key file:" + (folder_ / "key") + " " + one_);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "can be no volume key (found 10 bytes, expected 16 to 512"))
      << refused.errors;
}

TEST_F(VolumeKeys, OpenADeviceOfAMount) {
  SKIP_IF_CANNOT_MOUNT();
  must_run("mkdir " + mount_ + " && " PEELFS_PROGRAM " --no-prompt " + one_ + " " + mount_);
  const Outputs wrong = peelfs_apart("unlock --volume-key file:" + wrong_ + " " + mount_ + " one");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_TRUE(contains(wrong.errors, "the volume key given is not the one of this volume"))
      << wrong.errors;
  must_run(PEELFS_PROGRAM " unlock --volume-key file:" + vk_ + " " + mount_ + " one");
  EXPECT_EQ(must_run("sha256sum <" + mount_ + "/one_crypt"), must_run("sha256sum <" + disk_));
}

}  // namespace
}  // namespace peelfs::test
