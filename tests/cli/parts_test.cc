// A part of what was written together, on the command line; and the commands that messages tell a
// person to run, which are run here as they stand.
#include "cli/overlays.h"
#include "support/array_member.h"

namespace peelfs::test {
namespace {

class Parts : public Overlays {
 protected:
  void SetUp() override {
    Overlays::SetUp();
    if (IsSkipped()) return;
    // Every name needs quoting, each in another way.
    const std::string place = folder_ / "my disks";
    fs::create_directory(place);
    one_ = place + "/it's.img";
    two_ = place + "/$HOME \"two\".img";
    make(one_, 1, 1);
    make(two_, 2, 1);
    digest_ = digest();
    ov_ = folder_ / "the overlays";
  }
  static void make(const std::string& path, unsigned seed, unsigned char array) {
    Buffer bytes = pattern(2U << 20U, seed);
    make_array_member(bytes, array);
    write_file(path, bytes);
  }
  std::string digest() const { return sha256(read_file(one_)) + sha256(read_file(two_)); }
  static std::string quoted(const std::string& word) {
    std::string result = "'";
    for (const char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
  }
  void write_both() const {
    must_run(PEELFS_PROGRAM " --overlay " + quoted(ov_) + " " + quoted(one_) + " " + quoted(two_) +
             " " + at_ + " && for f in " + at_ + "/*.img " + at_ + "/it* " + at_ +
             "/*two*; do [ -f \"$f\" ] && printf MARK | "
             "dd of=\"$f\" bs=1 seek=5000 conv=notrunc,fsync status=none; done; " PEELFS_PROGRAM
             " umount " +
             at_);
  }
  Outputs verb(const std::string& words, const std::string& operands) const {
    return peelfs_apart(words + " --overlay " + quoted(ov_) + " " + operands);
  }
  static bool marked(const std::string& source) {
    const Buffer bytes = read_file(source);
    return as_text(Bytes(bytes).subspan(5000, 4)) == "MARK";
  }
  /// Runs a line of a message in a shell, as a person would who pastes it.
  CommandResult pasted(const std::string& line) const {
    const std::string script = "PATH=\"$(dirname " PEELFS_PROGRAM "):$PATH\"\n" + line + "\n";
    write_file(folder_ / "pasted", as_bytes(script));
    return run("sh " + (folder_ / "pasted") + " 2>&1");
  }
  static std::string between(const std::string& text, const std::string& begin,
                             const std::string& end) {
    const std::size_t at = text.find(begin);
    if (at == std::string::npos) return "false # no '" + begin + "' in " + text;
    const std::size_t from = at + begin.size();
    return text.substr(from, text.find(end, from) - from);
  }
  std::string one_, two_;
};

TEST_F(Parts, CommitNamesTheRest) {
  write_both();
  const Outputs refused = verb("commit", quoted(one_));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "--accept-part")) << refused.errors;
  EXPECT_EQ(digest(), digest_);
  const std::string whole = between(refused.errors, "name all of them: ", "; to take");
  const CommandResult done = pasted(whole);
  EXPECT_EQ(done.exit_code, 0) << whole << "\n" << done.output;
  EXPECT_TRUE(marked(one_) && marked(two_));
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(Parts, UnrelatedGuestsAreCommittedSingly) {
  make(two_, 2, 2);
  write_both();
  EXPECT_EQ(verb("diff", quoted(two_)).errors, "");
  const Outputs done = verb("commit", quoted(one_));
  EXPECT_EQ(done.exit_code, 0) << done.errors;
  EXPECT_TRUE(marked(one_));
  EXPECT_FALSE(marked(two_));
  EXPECT_EQ(verb("drop", quoted(two_)).exit_code, 0);
}

TEST_F(Parts, LookingWarns) {
  write_both();
  const Outputs diff = verb("diff", quoted(two_));
  EXPECT_EQ(diff.exit_code, 0) << diff.errors;
  EXPECT_TRUE(contains(diff.errors, "it's.img) left out")) << diff.errors;
  EXPECT_FALSE(contains(verb("diff", quoted(one_) + " " + quoted(two_)).errors, "left out"));
}

TEST_F(Parts, DropNamesTheRestOrIsTold) {
  write_both();
  const Outputs refused = verb("drop", quoted(one_));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "would be dropped")) << refused.errors;
  EXPECT_EQ(verb("drop --accept-part", quoted(one_)).exit_code, 0);
  const Outputs rest = verb("commit", quoted(two_));
  EXPECT_EQ(rest.exit_code, 0) << "it was said that they go their own ways: " << rest.errors;
  EXPECT_TRUE(marked(two_));
  EXPECT_FALSE(marked(one_));
}

TEST_F(Parts, DropOfAll) {
  write_both();
  EXPECT_EQ(verb("drop", "").exit_code, 0);
  EXPECT_TRUE(fs::is_empty(ov_));
}

TEST_F(Parts, RevertMissesWhatIsGone) {
  write_both();
  const Outputs whole = verb("checkpoint", "here");
  EXPECT_EQ(whole.exit_code, 0) << whole.errors;
  EXPECT_EQ(whole.errors, "");
  for (const auto& entry : fs::directory_iterator(ov_)) {
    if (contains(entry.path().string(), "two")) fs::remove(entry.path());
  }
  const Outputs refused = verb("revert", "here");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "which is not there any more")) << refused.errors;
  EXPECT_TRUE(contains(verb("checkpoint", "later").errors, "only of a part"));
  EXPECT_EQ(verb("revert --accept-part", "here").exit_code, 0);
}

TEST_F(Parts, TryTellsWhatToRun) {
  const Outputs kept = try_it(quoted(one_) +
                              " \"it's\" -- sh -c 'printf MARK | dd of=\"$1\" bs=1 seek=5000 "
                              "conv=notrunc status=none' sh {}");
  EXPECT_EQ(kept.exit_code, 0) << kept.errors;
  const CommandResult diff = pasted(between(kept.errors, "What next:\n", "\n"));
  EXPECT_EQ(diff.exit_code, 0) << diff.output;
  EXPECT_TRUE(contains(diff.output, "512B in 1 range")) << diff.output;
  const CommandResult commit =
      pasted("peelfs commit" + between(kept.errors, "  peelfs commit", "\n"));
  EXPECT_EQ(commit.exit_code, 0) << commit.output;
  EXPECT_TRUE(marked(one_));
}

// What lies within an encrypted device is compared only with its key, and is found only by it.
TEST_F(Parts, TryTellsTheKeysToo) {
  SKIP_WITHOUT("qemu-img");
  must_run("head -c 3M /dev/zero > " + (folder_ / "plain") + " && mke2fs -q -F -t ext2 " +
           (folder_ / "plain"));
  const std::string luks = folder_ / "luks.img";
  make_luks(luks, folder_ / "plain", "pass word");
  const std::string key = folder_ / "the key";
  write_file(key, as_bytes("pass word"));
  const std::string command = " luks_crypt -- tune2fs -L new {}";
  for (const std::string& how :
       {"--key-file " + quoted(key), "--key luks=file:" + quoted(key) + " --depth 2 --no-prompt"}) {
    const Outputs kept = try_it(how + " " + quoted(luks) + command);
    EXPECT_EQ(kept.exit_code, 0) << kept.errors;
    const CommandResult diff = pasted(between(kept.errors, "What next:\n", "\n") + " </dev/null");
    EXPECT_EQ(diff.exit_code, 0) << diff.output;
    EXPECT_TRUE(contains(diff.output, "luks_crypt")) << diff.output;
    EXPECT_TRUE(contains(diff.output, "superblock")) << diff.output;
    EXPECT_EQ(pasted("peelfs commit" + between(kept.errors, "  peelfs commit", "\n")).exit_code, 0);
    EXPECT_TRUE(contains(peelfs("ls " + how + " " + quoted(luks)).output, " new "));
    must_run(std::string("PATH=$PATH:/sbin:/usr/sbin; ") + PEELFS_PROGRAM + " try --commit " + how +
             " " + quoted(luks) + " luks_crypt -- tune2fs -L old {} 2>&1");
  }
}

TEST_F(Parts, WhereToLookIsQuoted) {
  const std::string here = folder_ / "no such place";
  const Outputs refused = peelfs_apart(quoted(one_) + " " + quoted(here));
  EXPECT_EQ(pasted(between(refused.errors, "make it with: ", "\n")).exit_code, 0);
  EXPECT_TRUE(fs::is_directory(here));
}

}  // namespace
}  // namespace peelfs::test
