// Files that an image names: only a person decides whether they are written; and how they are
// shown.
#include <nlohmann/json.hpp>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

/// A qcow2 whose bytes lie in d.raw beside it, and the disk of another user.
class NamedFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("qemu-img");
    fs::create_directory(folder_ / "d");
    fs::create_directory(at_);
    must_run("cd '" + (folder_ / "d") +
             "' && qemu-img create -q -f qcow2 -o data_file=d.raw i.qcow2 "
             "4M && qemu-io -c 'write -P 7 0 4M' i.qcow2");
    data_digest_ = digest(data_);
    image_digest_ = digest(image_);
  }
  void TearDown() override {
    if (is_mounted(at_)) peelfs("umount -l " + at_);
  }
  static std::string digest(const std::string& path) { return sha256(read_file(path)); }
  void untouched() const {
    EXPECT_EQ(digest(data_), data_digest_);
    EXPECT_EQ(digest(image_), image_digest_);
  }
  /// @return exit code of a write into the disk `i`
  int write_mark() const {
    return run("printf MARK | dd of='" + at_ + "/i' bs=1 seek=70000 conv=notrunc,fsync status=none")
        .exit_code;
  }
  std::string mark_in(const std::string& path) const {
    return must_run("dd if='" + path + "' bs=1 skip=70000 count=4 status=none");
  }
  /// qemu looks for a data file from where it runs.
  std::string in_folder() const { return "cd '" + (folder_ / "d") + "' && "; }
  std::string mark_by_qemu() const {
    must_run(in_folder() + "qemu-img convert -f qcow2 -O raw i.qcow2 '" + (folder_ / "flat") + "'");
    return mark_in(folder_ / "flat");
  }
  /// An overlay that holds a write.
  void make_overlay(const std::string& sources) {
    must_run(PEELFS_PROGRAM " -q --overlay '" + ov_ + "' " + sources + " '" + at_ + "'");
    ASSERT_EQ(write_mark(), 0);
    must_run(PEELFS_PROGRAM " umount '" + at_ + "'");
    untouched();
  }

  TemporaryDirectory folder_;
  const std::string image_ = folder_ / "d/i.qcow2", data_ = folder_ / "d/d.raw",
                    at_ = folder_ / "m", ov_ = folder_ / "ov";
  std::string data_digest_, image_digest_;
};

TEST_F(NamedFiles, RwWritesNoFileThatNobodyNamed) {
  SKIP_IF_CANNOT_MOUNT();
  const Outputs mounted = peelfs_apart("--rw '" + image_ + "' '" + at_ + "'");
  ASSERT_EQ(mounted.exit_code, 0) << mounted.errors;
  EXPECT_TRUE(contains(mounted.errors, "--allow-reference " + data_)) << mounted.errors;
  EXPECT_NE(write_mark(), 0);
  EXPECT_EQ(must_run("head -c1 '" + at_ + "/i'"), "\x07") << "it is shown";
  must_run(PEELFS_PROGRAM " umount '" + at_ + "'");
  untouched();
}

TEST_F(NamedFiles, RwWritesWhatWasAllowed) {
  SKIP_IF_CANNOT_MOUNT();
  must_run(PEELFS_PROGRAM " --rw --allow-reference '" + data_ + "' '" + image_ + "' '" + at_ + "'");
  EXPECT_EQ(write_mark(), 0);
  must_run(PEELFS_PROGRAM " umount '" + at_ + "'");
  EXPECT_EQ(mark_in(data_), "MARK");
  EXPECT_EQ(mark_by_qemu(), "MARK");
}

TEST_F(NamedFiles, RwWritesWhatWasNamedAsOneDisk) {
  SKIP_IF_CANNOT_MOUNT();
  for (const std::string& sources :
       {"'" + image_ + "' '" + data_ + "'", "'" + data_ + "' '" + image_ + "'"}) {
    const Outputs mounted = peelfs_apart("--rw " + sources + " '" + at_ + "'");
    ASSERT_EQ(mounted.exit_code, 0) << mounted.errors;
    EXPECT_TRUE(contains(mounted.errors, "shown as a part of that")) << mounted.errors;
    EXPECT_FALSE(fs::exists(at_ + "/d")) << "two ways to write the same bytes";
    EXPECT_EQ(write_mark(), 0);
    must_run(PEELFS_PROGRAM " umount '" + at_ + "'");
    EXPECT_EQ(mark_by_qemu(), "MARK");
    must_run(in_folder() + "qemu-io -c 'write -P 7 0 4M' i.qcow2");
  }
}

TEST_F(NamedFiles, RwOfADirectoryNamesNothingInIt) {
  SKIP_IF_CANNOT_MOUNT();
  must_run(PEELFS_PROGRAM " -q --rw '" + (folder_ / "d") + "' '" + at_ + "'");
  EXPECT_NE(write_mark(), 0);
  must_run(PEELFS_PROGRAM " umount '" + at_ + "'");
  untouched();
}

TEST_F(NamedFiles, CommitWritesNoFileThatNobodyNamed) {
  SKIP_IF_CANNOT_MOUNT();
  make_overlay("'" + image_ + "'");
  const Outputs refused = peelfs_apart("commit --overlay '" + ov_ + "' '" + image_ + "'");
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_TRUE(contains(refused.errors, "--allow-reference " + data_)) << refused.errors;
  untouched();
  // Nothing was begun: it can still be mounted.
  must_run(PEELFS_PROGRAM " -q --overlay '" + ov_ + "' '" + image_ + "' '" + at_ + "'");
  EXPECT_EQ(mark_in(at_ + "/i"), "MARK");
  must_run(PEELFS_PROGRAM " umount '" + at_ + "'");
  untouched();
}

TEST_F(NamedFiles, CommitSaysWhatItWritesAndDoes) {
  SKIP_IF_CANNOT_MOUNT();
  const std::string allowed = "--allow-reference '" + data_ + "' '" + image_ + "'";
  const std::string both = "'" + image_ + "' '" + data_ + "'";
  for (const std::string& named : {allowed, both}) {
    make_overlay(named);
    const Outputs committed = peelfs_apart("commit --overlay '" + ov_ + "' " + named);
    EXPECT_EQ(committed.exit_code, 0) << committed.errors;
    EXPECT_TRUE(contains(committed.errors, data_ + " will be written, too: it is the data-file"))
        << committed.errors;
    EXPECT_EQ(mark_by_qemu(), "MARK");
    must_run(in_folder() + "qemu-io -c 'write -P 7 0 4M' i.qcow2");
    image_digest_ = digest(image_);
  }
}

TEST_F(NamedFiles, TryCommitWritesNoFileThatNobodyNamed) {
  SKIP_IF_CANNOT_MOUNT();
  const std::string write = "-- sh -c 'printf MARK | dd of={} bs=1 seek=70000 conv=notrunc,fsync'";
  const Outputs refused = peelfs_apart("try --commit '" + image_ + "' i " + write);
  EXPECT_EQ(refused.exit_code, 125) << refused.errors;
  EXPECT_TRUE(contains(refused.errors, "--allow-reference " + data_)) << refused.errors;
  untouched();
  const Outputs done =
      peelfs_apart("try --commit --allow-reference '" + data_ + "' '" + image_ + "' i " + write);
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_EQ(mark_in(data_), "MARK");
}

TEST_F(NamedFiles, AreListedBelowTheSource) {
  must_run("cd '" + (folder_ / "d") +
           "' && truncate -s 4M base.raw && qemu-img create -q -f qcow2 -b "
           "base.raw -F raw mid.qcow2 && qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 "
           "top.qcow2");
  const std::string listed =
      peelfs("ls '" + image_ + "' '" + (folder_ / "d/top.qcow2") + "'").output;
  const auto line_with = [&](const std::string& part) {
    const std::size_t at = listed.find(part);
    if (at == std::string::npos) return std::string("(no ") + part + " in " + listed + ")";
    return listed.substr(at, listed.find('\n', at) - at);
  };
  const std::string real = fs::canonical(folder_.path()).string() + "/d/";
  EXPECT_TRUE(contains(line_with(real + "d.raw"), " data-file ")) << line_with(real + "d.raw");
  EXPECT_TRUE(contains(line_with(real + "mid.qcow2"), " backing-file "));
  EXPECT_TRUE(contains(line_with(real + "base.raw"), " backing-file "));
  EXPECT_LT(listed.find("d.raw"), listed.find("mid.qcow2"));
  EXPECT_LT(listed.find("mid.qcow2"), listed.find("base.raw"));

  const auto json = nlohmann::json::parse(
      peelfs_apart("ls --json '" + image_ + "' '" + (folder_ / "d/top.qcow2") + "'").output);
  const auto& disks = json["blockdevices"];
  ASSERT_EQ(disks.size(), 2U);
  ASSERT_EQ(disks[0]["host-files"].size(), 1U);
  EXPECT_EQ(disks[0]["host-files"][0]["path"], real + "d.raw");
  EXPECT_EQ(disks[0]["host-files"][0]["type"], "data-file");
  EXPECT_EQ(disks[0]["host-files"][0]["ro"], true);
  ASSERT_EQ(disks[1]["host-files"].size(), 2U);
  EXPECT_EQ(disks[1]["host-files"][1]["path"], real + "base.raw");
}

TEST_F(NamedFiles, WhatADirectoryLeavesOut) {
  fs::create_symlink("/etc/shadow", folder_ / "d/disk.img");
  write_file(folder_ / "d/notes", as_bytes("text"));
  write_file(folder_ / "d/more", as_bytes("text"));
  const Outputs listed = peelfs_apart("ls '" + (folder_ / "d") + "'");
  EXPECT_EQ(listed.exit_code, 0) << listed.errors;
  EXPECT_FALSE(contains(listed.output, "\ndisk "));
  EXPECT_TRUE(contains(listed.errors, "3 entries of " + (folder_ / "d") +
                                          " are left out: 1 symbolic link, 2 files that do not "
                                          "look like disk images (-v shows which)"))
      << listed.errors;
  const Outputs which = peelfs_apart("ls -v '" + (folder_ / "d") + "'");
  EXPECT_TRUE(contains(which.errors, "/d/disk.img is left out: it is a symbolic link"))
      << which.errors;
  EXPECT_TRUE(contains(which.errors, "/d/notes is left out")) << which.errors;
  EXPECT_EQ(peelfs_apart("ls -q '" + (folder_ / "d") + "'").errors, "");
}

}  // namespace
}  // namespace peelfs::test
