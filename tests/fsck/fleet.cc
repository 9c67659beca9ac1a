#include "fsck/fleet.h"

namespace peelfs::test {

void FsckFleet::SetUp() {
  const std::string why = cannot_mount();
  if (!why.empty()) GTEST_SKIP() << why;
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
}

std::string FsckFleet::seal() const {
  return must_run("cd " + images_.path() +
                  " && find . -printf '%p %s %T@ %m\\n' | sort && "
                  "find . -type f -print0 | sort -z | xargs -0 -r sha256sum");
}

void FsckFleet::remember() {
  sealed_ = seal();
}

void FsckFleet::TearDown() {
  if (IsSkipped()) return;
  if (!sealed_.empty()) {
    EXPECT_EQ(seal(), sealed_) << "a source was changed";
  }
  EXPECT_EQ(run("ls -A " + scratch_.path()).output, "") << "something was left behind";
  EXPECT_FALSE(contains(run("cat /proc/self/mounts").output, scratch_.path()));
}

FsckFleet::Checked FsckFleet::fsck(const std::string& arguments, const std::string& before) const {
  const std::string out = other_ / "out.json";
  const std::string errors = other_ / "errors";
  Checked checked;
  checked.exit_code = run(place() + before + " " + PEELFS_PROGRAM " fsck --json " + arguments +
                          " </dev/null >" + out + " 2>" + errors)
                          .exit_code;
  checked.errors = run("cat " + errors).output;
  const auto document = nlohmann::json::parse(run("cat " + out).output, nullptr, false);
  if (document.is_discarded()) return checked;
  EXPECT_EQ(document.at("exit"), checked.exit_code);
  for (const auto& one : document.at("filesystems")) {
    checked.devices[one.at("device").get<std::string>()] = one;
  }
  return checked;
}

std::string FsckFleet::make_ext4(const std::string& name, const std::string& size) const {
  const std::string path = images_ / name;
  const std::string files = other_ / "files";
  must_run("mkdir -p " + files + "/d && for i in 1 2 3 4 5; do echo $i > " + files +
           "/d/f$i; done");
  must_run("truncate -s " + size + " " + path + " && mke2fs -q -F -t ext4 -d " + files + " " +
           path);
  return path;
}

std::string FsckFleet::make_damaged_ext4(const std::string& name) const {
  const std::string path = make_ext4(name);
  must_run("debugfs -w -R 'clri /d/f3' " + path + " 2>&1");
  must_run("cp " + path + " " + (other_ / "proof"));
  EXPECT_EQ(run("PATH=$PATH:/sbin:/usr/sbin e2fsck -fn " + (other_ / "proof")).exit_code, 4);
  return path;
}

}  // namespace peelfs::test
