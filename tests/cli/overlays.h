// A disk, a place for its overlays and one to mount it, for the tests that write.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/program.h"

namespace peelfs::test {

namespace fs = std::filesystem;

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class Overlays : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    SKIP_WITHOUT("qemu-img");
    SKIP_IF_CANNOT_MOUNT();
    disk_ = folder_ / "disk.img";
    make_disk(disk_);
    ov_ = folder_ / "ov";
    at_ = folder_ / "mnt";
    fs::create_directory(at_);
    fs::create_directory(folder_ / "tmp");
    digest_ = sha256(read_file(disk_));
  }
  void TearDown() override {
    if (!at_.empty() && is_mounted(at_)) peelfs("umount -l " + at_);
  }
  void untouched() const { EXPECT_EQ(sha256(read_file(disk_)), digest_) << "the source"; }

  /// Writes a mark at byte 5000 of partition 2 through a mount.
  void write_through_mount() const {
    must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + disk_ + " " + at_);
    must_run("printf MARK | dd of=" + at_ +
             "/diskp2 bs=1 seek=5000 conv=notrunc,fsync status=none");
    must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  }
  Outputs with(const std::string& verb, const std::string& more = "") const {
    return peelfs_apart(verb + " --overlay " + ov_ + " " + more);
  }
  Outputs try_it(const std::string& arguments) const {
    // The shell's own: where overlays are kept.
    return peelfs_apart_in(folder_ / "tmp", arguments);
  }
  static Outputs peelfs_apart_in(const std::string& place, const std::string& arguments) {
    ::setenv("TMPDIR", place.c_str(), 1);
    Outputs result = peelfs_apart("try " + arguments);
    ::unsetenv("TMPDIR");
    return result;
  }
  bool nothing_kept() const { return fs::is_empty(folder_ / "tmp"); }
  /// What lies where overlays are kept.
  std::vector<std::string> kept() const {
    std::vector<std::string> paths;
    for (const auto& entry : fs::directory_iterator(folder_ / "tmp")) paths.push_back(entry.path());
    return paths;
  }
  /// A shell command that runs the program in the place of the shell, keeping overlays in tmp.
  std::string command_line(const std::string& arguments) const {
    return "TMPDIR=" + (folder_ / "tmp") + " exec " + PEELFS_PROGRAM " " + arguments;
  }

  TemporaryDirectory folder_;
  std::string disk_, ov_, at_, digest_;
};

}  // namespace peelfs::test
