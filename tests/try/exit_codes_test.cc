// Which exit codes of a command let its changes be committed.
#include "cli/exit_codes.h"

#include "cli/overlays.h"

namespace peelfs::test {
namespace {

using Words = std::vector<std::string>;

TEST(ExitCodes, TheProgramBehindWrappers) {
  struct Case {
    Words words;
    std::string program;
  };
  for (const Case& one : {
           Case{{"e2fsck", "-fy", "x"}, "e2fsck"},
           Case{{"/sbin/fsck.ext4", "x"}, "fsck.ext4"},
           Case{{"nice", "e2fsck"}, "e2fsck"},
           Case{{"nice", "-n", "5", "e2fsck"}, "e2fsck"},
           Case{{"nice", "-n5", "e2fsck"}, "e2fsck"},
           Case{{"nice", "--adjustment=5", "e2fsck"}, "e2fsck"},
           Case{{"nice", "--adjustment", "5", "e2fsck"}, "e2fsck"},
           Case{{"timeout", "60", "e2fsck"}, "e2fsck"},
           Case{{"timeout", "-k", "5", "--signal", "INT", "--foreground", "60", "e2fsck"},
                "e2fsck"},
           Case{{"env", "LANG=C", "A=b", "e2fsck"}, "e2fsck"},
           Case{{"env", "-i", "-u", "HOME", "LANG=C", "nice", "e2fsck"}, "e2fsck"},
           Case{{"/usr/bin/env", "--unset", "HOME", "--", "e2fsck"}, "e2fsck"},
           Case{{"ionice", "-c", "3", "nice", "-n", "19", "timeout", "1h", "e2fsck"}, "e2fsck"},
           Case{{"nohup", "setsid", "-w", "e2fsck"}, "e2fsck"},
           Case{{"stdbuf", "-oL", "-e", "L", "e2fsck"}, "e2fsck"},
           Case{{"taskset", "0x1", "e2fsck"}, "e2fsck"},
           Case{{"nice", "mytool", "fsck.log"}, "mytool"},
           Case{{"timeout", "60"}, ""},
           Case{{"sh", "-c", "e2fsck x"}, "sh"},
           Case{{"env"}, ""},
       }) {
    EXPECT_EQ(cli::program_of(one.words), one.program) << ::testing::PrintToString(one.words);
  }
}

TEST(ExitCodes, Lists) {
  EXPECT_EQ(cli::parse_codes("1"), (std::set<int>{1}));
  EXPECT_EQ(cli::parse_codes("1,4,255"), (std::set<int>{1, 4, 255}));
  EXPECT_EQ(cli::parse_codes("0-3,8"), (std::set<int>{0, 1, 2, 3, 8}));
  for (const char* const wrong : {"", ",", "1,", "x", "256", "-1", "3-1", "1-", "1--2", "1 2"}) {
    EXPECT_THROW(cli::parse_codes(wrong), Error) << "'" << wrong << "'";
  }
}

TEST(ExitCodes, TheMessageShowsTheWholeList) {
  for (const std::string wrong : {"-1", "1-", "1,x"}) {
    try {
      cli::parse_codes(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), "found '" + wrong + "'")) << error.what();
    }
  }
}

TEST(ExitCodes, Success) {
  EXPECT_TRUE(cli::is_success({"true"}, 0, {}));
  EXPECT_FALSE(cli::is_success({"false"}, 1, {}));
  EXPECT_TRUE(cli::is_success({"nice", "e2fsck"}, 1, {}));
  EXPECT_FALSE(cli::is_success({"nice", "e2fsck"}, 4, {}));
  EXPECT_TRUE(cli::is_success({"nice", "e2fsck"}, 4, {4}));
  EXPECT_TRUE(cli::is_success({"sh"}, 3, {1, 3}));
}

using Codes = Overlays;

TEST_F(Codes, AnFsckWithinOthersCommits) {
  SKIP_WITHOUT("e2fsck");
  must_run("PATH=$PATH:/usr/sbin:/sbin; dd if=" + disk_ + " of=" + (folder_ / "plain") +
           " bs=1M skip=1 count=8 status=none; debugfs -w -R 'ssv free_blocks_count 7' " +
           (folder_ / "plain") + " 2>/dev/null; dd if=" + (folder_ / "plain") + " of=" + disk_ +
           " bs=1M seek=1 conv=notrunc status=none");
  const Outputs done =
      try_it("--commit " + disk_ +
             " diskp1 -- env PATH=$PATH:/usr/sbin:/sbin nice -n 5 timeout 300 e2fsck -fy {}");
  EXPECT_EQ(done.exit_code, 1) << done.errors;
  EXPECT_TRUE(contains(done.errors, "verified")) << done.errors;
  EXPECT_TRUE(nothing_kept());
}

TEST_F(Codes, OthersAreNamed) {
  const std::string writes =
      " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc status=none; "
      "exit 3'";
  const Outputs refused = try_it("--commit " + disk_ + writes);
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_TRUE(contains(refused.errors, "--ok")) << refused.errors;
  untouched();
  const Outputs done = try_it("--commit --ok 1,3 " + disk_ + writes);
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_TRUE(contains(done.errors, "verified")) << done.errors;
  EXPECT_EQ(try_it("--ok 1,x " + disk_ + writes).exit_code, 125);
}

/// A directory that `try` has made goes with the last overlay in it; a person's own stays.
TEST_F(Codes, TheDirectoryOfAKeptOverlayGoes) {
  const std::string writes = " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc status=none'";
  for (const std::string& verb :
       {std::string("drop --overlay "), std::string("commit --overlay ")}) {
    try_it(disk_ + writes);
    const auto left = kept();
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(peelfs_apart(verb + left.front() + (verb[0] == 'd' ? "" : " " + disk_)).exit_code, 0);
    EXPECT_TRUE(nothing_kept()) << verb;
  }
  must_run("printf OLD! | dd of=" + disk_ + " bs=1 seek=9437184 conv=notrunc status=none");
  try_it("--keep " + ov_ + " " + disk_ + writes);
  EXPECT_EQ(with("drop").exit_code, 0);
  EXPECT_TRUE(fs::exists(ov_));
}

class Question : public Overlays {
 protected:
  std::string asking() const {
    return command_line("try " + disk_ +
                        " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc status=none'");
  }
};

TEST_F(Question, OnlyAWordOrALetterAnswers) {
  Terminal terminal(asking());
  ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
  for (const char* const wrong :
       {"cancel", "commit!", "c ", " c", "C", "cc", "yes", "", "drop it", "keeep", "c d"}) {
    terminal.type(std::string(wrong) + "\n");
    ASSERT_TRUE(terminal.wait_for("none of the answers")) << wrong;
    ASSERT_TRUE(terminal.wait_for("[c/d/k]")) << wrong;
  }
  untouched();
  terminal.type("drop\n");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_TRUE(nothing_kept());
  untouched();
}

TEST_F(Question, TheWordsAndTheLettersDo) {
  for (const char* const answer : {"k", "keep", "d", "drop", "c", "commit"}) {
    Terminal terminal(asking());
    ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
    terminal.type(std::string(answer) + "\n");
    EXPECT_EQ(terminal.finish(), 0);
    EXPECT_EQ(kept().size(), *answer == 'k' ? 1U : 0U) << answer << terminal.screen();
    EXPECT_EQ(contains(terminal.screen(), "verified"), *answer == 'c') << terminal.screen();
    must_run("rm -rf " + (folder_ / "tmp") + "/*");
    if (*answer != 'c') {
      untouched();
    } else {
      EXPECT_NE(sha256(read_file(disk_)), digest_);
      make_disk(disk_);
    }
  }
}

TEST_F(Question, WhatIsTypedWhileTheCommandRunsAnswersNothing) {
  Terminal terminal(command_line("try " + disk_ +
                                 " diskp2 -- sh -c 'printf MARK | dd of={} conv=notrunc "
                                 "status=none; echo ready; sleep 1'"));
  ASSERT_TRUE(terminal.wait_for("ready"));
  terminal.type("c\n");
  ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
  terminal.type("d\n");
  EXPECT_TRUE(terminal.wait_for("dropped"));
  EXPECT_EQ(terminal.finish(), 0);
  untouched();
}

TEST_F(Question, TheEndOfTheInputKeeps) {
  for (const char* const end : {"\x04", "c\x04\x04"}) {
    Terminal terminal(asking());
    ASSERT_TRUE(terminal.wait_for("[c/d/k]"));
    terminal.type(end);
    EXPECT_EQ(terminal.finish(), 0);
    EXPECT_TRUE(contains(terminal.screen(), "are kept in")) << terminal.screen();
    EXPECT_EQ(kept().size(), 1U);
    must_run("rm -rf " + (folder_ / "tmp") + "/*");
    untouched();
  }
}

}  // namespace
}  // namespace peelfs::test
