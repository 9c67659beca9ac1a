// Answers that were once wrong or too positive: the text that a person reads, and the exit code
// that a script gets.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/paths.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

nlohmann::json first_device(const std::string& arguments) {
  const Outputs listed = peelfs_apart("ls --json " + arguments);
  return nlohmann::json::parse(listed.output).at("blockdevices").at(0);
}

class Answers : public ::testing::Test {
 protected:
  /// An ext4 of `mib` MiB with blocks of `block_size` bytes, whose s_log_block_size is impossible.
  std::string damaged_ext(int mib, int block_size) {
    const std::string path = folder_ / ("fs" + std::to_string(mib) + ".img");
    must_run("mke2fs -q -F -t ext4 -b " + std::to_string(block_size) + " " + path + " " +
             std::to_string(mib) + "M");
    must_run("printf '\\377\\377\\377\\377' | dd of=" + path +
             " bs=1 seek=$((1024+24)) conv=notrunc status=none");
    return path;
  }
  TemporaryDirectory folder_;
};

TEST_F(Answers, TheAdviceForASuperBlockWorks) {
  SKIP_WITHOUT("mke2fs");
  for (const int block_size : {1024, 2048, 4096}) {
    const std::string path = damaged_ext(160, block_size);
    const auto device = first_device(path);
    EXPECT_EQ(device.at("state"), "damaged");
    const auto reason = device.at("reason").get<std::string>();
    const std::size_t at = reason.find("e2fsck -b ");
    ASSERT_NE(at, std::string::npos) << reason;
    const std::string advice = reason.substr(at, reason.find_first_of(";)", at) - at);
    EXPECT_LE(run("/sbin/" + advice + " -fy " + path).exit_code, 1) << advice;
    EXPECT_EQ(run("/sbin/e2fsck -fn " + path).exit_code, 0) << advice;
  }
  // One group has no backup at all.
  const std::string small = damaged_ext(6, 1024);
  const auto reason = first_device(small).at("reason").get<std::string>();
  EXPECT_FALSE(has(reason, "e2fsck -b")) << reason;
  EXPECT_TRUE(has(reason, "no backup")) << reason;
}

TEST_F(Answers, FstypeIsWhatWasTaken) {
  SKIP_WITHOUT("cryptsetup");
  const std::string path = folder_ / "l.img";
  must_run("truncate -s 20M " + path +
           " && printf pw | cryptsetup luksFormat -q --type luks2 "
           "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label secret " +
           path + " -");
  // A label of LVM stands in the second sector, where LUKS2's header has it overwritten.
  must_run("printf 'LABELONE\\001\\0\\0\\0\\0\\0\\0\\0' | dd of=" + path +
           " bs=1 seek=512 conv=notrunc status=none");
  must_run("printf ' \\0\\0\\0LVM2 001' | dd of=" + path +
           " bs=1 seek=532 conv=notrunc status=none");
  const auto device = first_device("--no-prompt " + path);
  EXPECT_EQ(device.at("fstype"), "crypto_LUKS") << device.dump(1);
}

TEST_F(Answers, ALimitThatEndsASearchIsNoSuccess) {
  SKIP_WITHOUT("mke2fs");
  make_disk(folder_ / "disk.img");
  EXPECT_EQ(peelfs_apart("ls " + (folder_ / "disk.img")).exit_code, 0);
  const Outputs few = peelfs_apart("ls --run-files 1 " + (folder_ / "disk.img"));
  EXPECT_EQ(few.exit_code, 1);
  EXPECT_TRUE(has(few.errors, "--run-files")) << few.errors;
  const Outputs bytes = peelfs_apart("ls --identify-bytes 4096 " + (folder_ / "disk.img"));
  EXPECT_EQ(bytes.exit_code, 1);
  EXPECT_TRUE(has(bytes.errors, "after 4096 bytes were read")) << bytes.errors;
  EXPECT_FALSE(has(bytes.output, "unsupported")) << bytes.output;
}

TEST_F(Answers, ACommitTakesNoKeys) {
  SKIP_WITHOUT("sfdisk");
  make_disk(folder_ / "disk.img");
  for (const std::string option :
       {"--key-file /nowhere", "--key a=file:/nowhere", "--header a=/b"}) {
    const Outputs refused = peelfs_apart("commit --overlay " + (folder_ / "o") + " " + option +
                                         " " + (folder_ / "disk.img"));
    EXPECT_EQ(refused.exit_code, 2) << option;
    EXPECT_TRUE(has(refused.errors, option.substr(0, option.find(' ')))) << refused.errors;
  }
}

TEST_F(Answers, ADirectoryThatCannotBeSearchedIsNotEmpty) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may search any directory";
  const std::string directory = folder_ / "closed";
  fs::create_directory(directory);
  must_run("truncate -s 2M " + directory + "/a.img");
  fs::permissions(directory, fs::perms::owner_read | fs::perms::owner_write);
  const Outputs listed = peelfs_apart("ls " + directory);
  fs::permissions(directory, fs::perms::owner_all);
  EXPECT_EQ(listed.exit_code, 2);
  EXPECT_TRUE(has(listed.errors, "1 of its 1 entries cannot be looked at")) << listed.errors;
  EXPECT_TRUE(has(listed.errors, "permission")) << listed.errors;
}

TEST_F(Answers, ACompressedImageInADirectoryIsSaidAndNoSource) {
  SKIP_IF_CANNOT_MOUNT();
  const std::string directory = folder_ / "d";
  const std::string at = folder_ / "mnt";
  fs::create_directory(directory);
  fs::create_directory(at);
  make_disk(directory + "/disk.img");
  must_run("gzip -k " + directory + "/disk.img");
  const Outputs listed = peelfs_apart("ls " + directory);
  EXPECT_FALSE(has(listed.output, "disk.img.gz")) << listed.output;
  EXPECT_TRUE(has(listed.errors + listed.output, "1 compressed image")) << listed.errors;
  const Outputs said = peelfs_apart("ls -v " + directory);
  EXPECT_TRUE(has(said.errors + said.output, "it is compressed; unpack it first")) << said.errors;
  // It is in nobody's way.
  const Outputs mounted =
      peelfs_apart("--overlay " + (folder_ / "ov") + " " + directory + " " + at);
  EXPECT_EQ(mounted.exit_code, 0) << mounted.errors;
  EXPECT_EQ(peelfs("umount " + at).exit_code, 0);
}

TEST_F(Answers, AKeyFileOfMoreThanEightMiBIsNone) {
  make_disk(folder_ / "disk.img");
  must_run("truncate -s 9M " + (folder_ / "key"));
  const Outputs listed =
      peelfs_apart("ls --key-file " + (folder_ / "key") + " " + (folder_ / "disk.img"));
  EXPECT_NE(listed.exit_code, 0);
  EXPECT_TRUE(has(listed.errors, "8 MiB")) << listed.errors;
}

}  // namespace
}  // namespace peelfs::test
