// What `peelfs ls` says of mounts, and without a source: the live tree, all mounts with what they
// write to, also one whose process hangs, and what `peelfs try` has kept.
#include <csignal>
#include <nlohmann/json.hpp>

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

using nlohmann::json;

class LsMounts : public Overlays {
 protected:
  void mount(const std::string& arguments) const {
    must_run(std::string(PEELFS_PROGRAM) + " " + arguments + " " + disk_ + " " + at_);
  }
  /// What is said of the mount of this test; others may be there, too.
  json mine() const {
    const json document = json::parse(peelfs_apart("ls --json").output);
    for (const json& one : document.at("mounts")) {
      if (one.at("mountpoint") == at_) return one;
    }
    return nullptr;
  }
};

TEST_F(LsMounts, TheTreeOfAMountIsThatOfItsSources) {
  mount("");
  const Outputs listed = peelfs_apart("ls " + at_);
  EXPECT_EQ(listed.exit_code, 0);
  EXPECT_EQ(listed.errors, "");
  EXPECT_EQ(listed.output, peelfs_apart("ls " + disk_).output);
  EXPECT_TRUE(contains(peelfs_apart("ls -l " + at_).output, "PARTTYPENAME"));
  const json live = json::parse(peelfs_apart("ls --json " + at_).output);
  const json file = json::parse(must_run("cat " + at_ + "/.peelfs/status.json"));
  EXPECT_EQ(live.at("blockdevices"), file.at("blockdevices"));
  EXPECT_EQ(live.at("sources"), json::array({disk_}));

  const Outputs two = peelfs_apart("ls " + at_ + " " + disk_);
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_TRUE(contains(two.errors, "is a mount of peelfs, and no source")) << two.errors;
  const Outputs key = peelfs_apart("ls --key-file /dev/null " + at_);
  EXPECT_TRUE(contains(key.errors, "peelfs unlock " + at_)) << key.errors;
}

TEST_F(LsMounts, WhatWasUnlockedIsInTheLiveTree) {
  const std::string luks = folder_ / "secret.img";
  make_luks(luks, disk_, "open sesame");
  must_run(std::string(PEELFS_PROGRAM) + " -q " + luks + " " + at_);
  EXPECT_FALSE(contains(peelfs_apart("ls " + at_).output, "secret_crypt"));
  must_run("printf 'open sesame' | " PEELFS_PROGRAM " unlock --key-file - " + at_);
  EXPECT_TRUE(contains(peelfs_apart("ls " + at_).output, "secret_crypt"));
}

TEST_F(LsMounts, EveryMountIsListedWithWhatItWritesTo) {
  mount("");
  EXPECT_EQ(mine().at("writes"), "nowhere");
  EXPECT_EQ(mine().at("sources"), json::array({disk_}));
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  EXPECT_TRUE(mine().is_null());

  mount("--overlay " + ov_);
  const json covered = mine();
  EXPECT_EQ(covered.at("writes"), "overlay");
  EXPECT_EQ(covered.at("overlays").at(0).at("path"), ov_ + "/disk.qcow2");
  EXPECT_EQ(
      std::to_string(covered.at("overlays").at(0).at("size").get<std::uint64_t>() / 512) + "\n",
      must_run("stat -c %b " + ov_ + "/disk.qcow2"));
  const std::string text = peelfs_apart("ls").output;
  EXPECT_TRUE(contains(text, "MOUNTPOINT")) << text;
  EXPECT_TRUE(contains(text, at_ + ": its overlay is in " + ov_)) << text;
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);

  mount("--overlay-temp");
  EXPECT_EQ(mine().at("writes"), "overlay-temp");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  mount("--rw");
  EXPECT_EQ(mine().at("writes"), "sources");
}

TEST_F(LsMounts, AMountThatHangsIsSaidToAndNothingWaitsForIt) {
  mount("");
  const auto process = static_cast<pid_t>(mine().at("pid").get<int>());
  ASSERT_EQ(::kill(process, SIGSTOP), 0);
  const auto began = std::chrono::steady_clock::now();
  const json said = mine();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
  EXPECT_EQ(said.at("state"), "hangs");
  EXPECT_EQ(said.at("sources"), json::array({disk_})) << "as mount(8) shows it";
  EXPECT_EQ(run("timeout 20 " PEELFS_PROGRAM " ls --timeout 3 " + at_).exit_code, 2);
  ::kill(process, SIGCONT);
  EXPECT_TRUE(wait_until([&] { return mine().at("state").is_null(); }));
}

TEST_F(LsMounts, AMountOfAnotherUserIsSaidToBe) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  SKIP_WITHOUT("setpriv");
  mount("");
  must_run("chmod 755 " + (folder_ / "."));
  const std::string copy = folder_ / "peelfs";
  must_run("cp " PEELFS_PROGRAM " " + copy + " && chmod 755 " + copy);
  const CommandResult listed =
      run("setpriv --reuid=65534 --regid=65534 --clear-groups " + copy + " ls --json");
  EXPECT_EQ(listed.exit_code, 0) << listed.output;
  const json document = json::parse(listed.output);
  for (const json& one : document.at("mounts")) {
    if (one.at("mountpoint") != at_) continue;
    EXPECT_EQ(one.at("state"), "denied");
    EXPECT_EQ(one.at("user"), 0);
    return;
  }
  ADD_FAILURE() << listed.output;
}

TEST_F(LsMounts, WhatTryHasKeptIsListedUntilItIsDropped) {
  const Outputs tried =
      try_it(disk_ + " diskp2 -- sh -c 'printf abc | dd of=$1 conv=notrunc status=none' x {}");
  ASSERT_EQ(kept().size(), 1U) << tried.errors;
  const auto listed = [&](const std::string& options) {
    return run("TMPDIR=" + (folder_ / "tmp") + " " PEELFS_PROGRAM " ls " + options).output;
  };
  const auto kept_here = [&]() -> json {
    const json document = json::parse(listed("--json"));
    for (const json& one : document.at("kept")) {
      if (one.at("directory") == kept().front()) return one;
    }
    return nullptr;
  };
  const json one = kept_here();
  ASSERT_FALSE(one.is_null()) << listed("--json");
  EXPECT_TRUE(one.at("droppable"));
  EXPECT_LT(one.at("age"), 60);
  EXPECT_EQ(one.at("overlays").at(0).at("source"), disk_);
  EXPECT_TRUE(one.at("overlays").at(0).at("changed"));
  // What drop frees is what the file takes.
  EXPECT_EQ(std::to_string(one.at("size").get<std::uint64_t>() / 512) + "\n",
            must_run("stat -c %b " + kept().front() + "/*.qcow2"));
  EXPECT_TRUE(contains(listed(""), "peelfs drop frees ")) << listed("");

  // In use it is not to be dropped.
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + kept().front() + " " + disk_ + " " + at_);
  EXPECT_FALSE(kept_here().at("droppable"));
  EXPECT_FALSE(kept_here().at("overlays").at(0).at("holder").is_null());
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);

  const std::string directory = kept().front();
  must_run(std::string(PEELFS_PROGRAM) + " drop --overlay " + directory);
  EXPECT_FALSE(contains(listed("--json"), directory));
  EXPECT_TRUE(nothing_kept());
}

}  // namespace
}  // namespace peelfs::test
