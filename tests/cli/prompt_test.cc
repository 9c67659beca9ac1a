// Keys: asked for on a terminal, from files, descriptors and variables, and never where others see
// them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "cli/program.h"

namespace peelfs::test {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

/// Two LUKS disks with different passphrases, and a third one with the passphrase of the first.
/// They are made once: no test changes them.
class Keys : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!have_program("sfdisk") || !have_program("mke2fs") || !have_program("qemu-img")) return;
    shared_ = new TemporaryDirectory;
    const std::string plain = *shared_ / "plain";
    make_disk(plain);
    plain_digest_ = must_run("sha256sum <" + plain);
    for (const auto& [name, passphrase] :
         {std::pair("one", "first-pass"), std::pair("two", "second-pass"),
          std::pair("three", "first-pass")}) {
      make_luks(*shared_ / name, plain, passphrase);
    }
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    SKIP_WITHOUT("qemu-img");
    one_ = *shared_ / "one";
    two_ = *shared_ / "two";
    three_ = *shared_ / "three";
    write_file(folder_ / "key1", as_bytes("first-pass"));
    write_file(folder_ / "key2", as_bytes("second-pass"));
    write_file(folder_ / "newline", as_bytes("first-pass\n"));
  }
  static std::string ls(const std::string& arguments) { return PEELFS_PROGRAM " ls " + arguments; }

  inline static TemporaryDirectory* shared_ = nullptr;
  inline static std::string plain_digest_;
  TemporaryDirectory folder_;
  std::string one_, two_, three_;
};

TEST_F(Keys, WithoutAnybodyToAskItStaysLocked) {
  const Outputs result = peelfs_apart("ls " + one_);
  EXPECT_EQ(result.exit_code, 0) << "a locked device is no failure";
  EXPECT_TRUE(contains(result.output, "locked")) << result.output;
  EXPECT_FALSE(contains(result.output, "one_crypt")) << result.output;
  EXPECT_FALSE(contains(result.output + result.errors, "Passphrase")) << result.output;
}

TEST_F(Keys, AFileIsTheKeyByteForByte) {
  EXPECT_TRUE(
      contains(peelfs("ls --key-file " + (folder_ / "key1") + " " + one_).output, "one_cryptp1"));
  const Outputs newline = peelfs_apart("ls --key-file " + (folder_ / "newline") + " " + one_);
  EXPECT_TRUE(contains(newline.output, "locked")) << newline.output;
  EXPECT_TRUE(contains(newline.errors, "newline")) << newline.errors;
  EXPECT_EQ(must_run(PEELFS_PROGRAM " cat --key-file " + (folder_ / "key1") + " " + one_ +
                     " one_crypt | head -c 16M | sha256sum"),
            plain_digest_);
}

TEST_F(Keys, ManyDisksWithDifferentKeys) {
  const CommandResult result =
      run("SECRET=second-pass " + ls("--key two=env:SECRET --key one=fd:7 " + one_ + " " + two_) +
          " 7<" + (folder_ / "key1"));
  EXPECT_TRUE(contains(result.output, "one_cryptp1")) << result.output;
  EXPECT_TRUE(contains(result.output, "two_cryptp1")) << result.output;
  // A key for one is tried on no other.
  EXPECT_FALSE(
      contains(peelfs("ls --key two=file:" + (folder_ / "key1") + " " + one_).output, "one_crypt"));
}

TEST_F(Keys, ByUuidInEitherCase) {
  std::string uuid = must_run("PATH=$PATH:/usr/sbin blkid -p -o value -s UUID " + one_);
  uuid.pop_back();
  const auto with = [&](const std::string& name) {
    return peelfs("ls --key " + name + "=file:" + (folder_ / "key1") + " " + one_).output;
  };
  EXPECT_TRUE(contains(with(uuid), "one_cryptp1"));
  std::transform(uuid.begin(), uuid.end(), uuid.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  EXPECT_TRUE(contains(with(uuid), "one_cryptp1"));
}

TEST_F(Keys, StandardInputAndPipes) {
  EXPECT_TRUE(contains(run("printf first-pass | { " + ls("--key-file - " + one_) + "; }").output,
                       "one_cryptp1"));
  EXPECT_TRUE(
      contains(run("bash -c '" + ls("--key-file <(printf first-pass) " + one_) + "'").output,
               "one_cryptp1"));
  // One descriptor for two devices is read once.
  const CommandResult both = run(ls("--key one=fd:3 --key three=fd:3 " + one_ + " " + three_) +
                                 " 3<" + (folder_ / "key1"));
  EXPECT_TRUE(contains(both.output, "one_cryptp1")) << both.output;
  EXPECT_TRUE(contains(both.output, "three_cryptp1")) << both.output;
}

TEST_F(Keys, KeysThatCannotBeReadAreErrors) {
  const std::string empty = folder_ / "empty";
  write_file(empty, {});
  for (const auto& [argument, says] : std::vector<std::pair<std::string, std::string>>{
           {"--key-file " + (folder_ / "none"), "No such file"},
           {"--key-file " + empty, "empty"},
           {"--key-file " + folder_.path(), "directory"},
           {"--key-file /dev/zero", "8 MiB"},
           {"--key one=fd:99", "descriptor 99"},
           {"--key one=env:PEELFS_NO_SUCH", "PEELFS_NO_SUCH"},
           {"--header one=" + (folder_ / "none"), "No such file"}}) {
    const Outputs result = peelfs_apart("ls " + argument + " " + one_);
    EXPECT_EQ(result.exit_code, 2) << argument;
    EXPECT_TRUE(contains(result.errors, says)) << argument << ": " << result.errors;
    EXPECT_EQ(result.output, "");
  }
}

TEST_F(Keys, APromptNamesTheDeviceAndDoesNotEcho) {
  Terminal terminal(ls(one_));
  ASSERT_TRUE(terminal.wait_for("Passphrase for one (crypto_LUKS, "));
  ASSERT_TRUE(terminal.wait_for("UUID "));
  EXPECT_TRUE(wait_until([&] { return !terminal.echoes(); }));
  terminal.type("first-pass\n");
  EXPECT_TRUE(terminal.wait_for("one_cryptp1"));
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_FALSE(contains(terminal.screen(), "first-pass")) << terminal.screen();
}

TEST_F(Keys, ThreeTriesEach) {
  Terminal terminal(ls(one_));
  for (int attempt = 0; attempt < 3; ++attempt) {
    ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
    ASSERT_TRUE(terminal.wait_for(": "));
    terminal.type("wrong\n");
  }
  EXPECT_TRUE(terminal.wait_for("one stays locked"));
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(count(terminal.screen(), "Passphrase for"), 3U) << terminal.screen();
  EXPECT_FALSE(contains(terminal.screen(), "one_crypt"));
}

TEST_F(Keys, TheThirdTryCounts) {
  Terminal terminal(ls(one_));
  for (const char* answer : {"wrong\n", "wronger\n", "first-pass\n"}) {
    ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
    ASSERT_TRUE(terminal.wait_for("): "));
    terminal.type(answer);
  }
  EXPECT_TRUE(terminal.wait_for("one_cryptp1"));
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(Keys, OnePassphraseIsTriedOnAllBeforeAskingAgain) {
  Terminal terminal(ls(one_ + " " + two_ + " " + three_));
  ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
  ASSERT_TRUE(terminal.wait_for("): "));
  terminal.type("first-pass\n");
  EXPECT_TRUE(terminal.wait_for("three opens with the same passphrase"));
  ASSERT_TRUE(terminal.wait_for("Passphrase for two "));
  ASSERT_TRUE(terminal.wait_for("): "));
  terminal.type("second-pass\n");
  EXPECT_EQ(terminal.finish(), 0);
  for (const char* name : {"one_cryptp1", "two_cryptp1", "three_cryptp1"}) {
    EXPECT_TRUE(contains(terminal.screen(), name)) << terminal.screen();
  }
  EXPECT_EQ(count(terminal.screen(), "Passphrase for"), 2U) << terminal.screen();
}

TEST_F(Keys, AnEmptyLineLeavesItLocked) {
  Terminal terminal(ls(one_ + " " + two_));
  ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
  ASSERT_TRUE(terminal.wait_for("): "));
  terminal.type("\n");
  EXPECT_TRUE(terminal.wait_for("one stays locked"));
  ASSERT_TRUE(terminal.wait_for("Passphrase for two "));
  ASSERT_TRUE(terminal.wait_for("): "));
  terminal.type("\x04");  // the end of the input does, too
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(count(terminal.screen(), "Passphrase for"), 2U) << terminal.screen();
}

TEST_F(Keys, NoPromptWhenToldOrWhenInputIsNoTerminal) {
  Terminal told(ls("--no-prompt " + one_));
  EXPECT_EQ(told.finish(), 0);
  EXPECT_FALSE(contains(told.screen(), "Passphrase"));
  Terminal piped(ls(one_) + " </dev/null");
  EXPECT_EQ(piped.finish(), 0);
  EXPECT_FALSE(contains(piped.screen(), "Passphrase"));
}

// --- what is asked for and fits nothing ---

TEST_F(Keys, AKeyThatOpensNothingIsAFailure) {
  for (const auto& [arguments, says] : std::vector<std::pair<std::string, std::string>>{
           {"--key-file " + (folder_ / "key2") + " " + one_,
            "key2 opens nothing: no device takes it"},
           {"--key one=file:" + (folder_ / "key2") + " " + one_,
            "given for 'one', does not open it"},
           {"--key-file " + (folder_ / "key1") + " " + (folder_ / "plain"),
            "no device needs a key"},
           {"--key plain=file:" + (folder_ / "key1") + " " + (folder_ / "plain"),
            "plain needs no key"}}) {
    write_file(folder_ / "plain", pattern(1U << 20U, 3));
    const Outputs result = peelfs_apart("ls " + arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_TRUE(contains(result.errors, says)) << arguments << ": " << result.errors;
    EXPECT_NE(result.output, "") << "what there is to see is shown";
  }
  // Each key opens one device: that succeeds in both orders.
  const std::string both = "--key-file " + (folder_ / "key2") + " --key-file " + (folder_ / "key1");
  const Outputs result = peelfs_apart("ls " + both + " " + one_ + " " + two_);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
}

TEST_F(Keys, AKeyThatCouldNotBeTriedIsNotSaidToBeOfNoUse) {
  const std::string bad = folder_ / "bad";
  // LUKS1: key-bytes
  must_run("cp " + one_ + " " + bad + " && chmod u+w " + bad + " && printf X | dd of=" + bad +
           " bs=1 seek=108 conv=notrunc status=none");
  const std::string key = "file:" + (folder_ / "key1");
  for (const std::string& arguments :
       {"--key-file " + (folder_ / "key1") + " " + bad, "--key bad=" + key + " " + bad}) {
    const Outputs result = peelfs_apart("ls " + arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_TRUE(contains(result.errors, "could not be tried")) << result.errors;
    EXPECT_TRUE(contains(result.errors, "bad is damaged")) << result.errors << result.output;
  }
}

TEST_F(Keys, AFileThatIsNoHeaderSaysNothingOfTheDevice) {
  write_file(folder_ / "plain", pattern(1U << 20U, 3));
  const Outputs result =
      peelfs_apart("ls --header plain=" + (folder_ / "key1") + " " + (folder_ / "plain"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.output, "the file given with --header holds no LUKS header"))
      << result.output;
  EXPECT_FALSE(contains(result.output, "damaged")) << result.output;
}

TEST_F(Keys, ANameThatFitsNothingIsAFailureAndTheNamesAreTold) {
  const std::string key = "file:" + (folder_ / "key1");
  for (const std::string& arguments :
       {"--key eno=" + key + " " + one_, "--header eno=" + two_ + " " + one_}) {
    const Outputs result = peelfs_apart("ls " + arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_TRUE(contains(result.errors, "no device is called 'eno'")) << result.errors;
    EXPECT_TRUE(contains(result.errors, "there are one")) << result.errors;
  }
  SKIP_IF_CANNOT_MOUNT();
  const std::string mount = folder_ / "m";
  must_run("mkdir " + mount);
  const Outputs mounted = peelfs_apart("-o writable=eno --overlay-temp " + one_ + " " + mount);
  EXPECT_EQ(mounted.exit_code, 64);
  EXPECT_TRUE(contains(mounted.errors, "no device is called 'eno', which -o writable= names"))
      << mounted.errors;
  EXPECT_TRUE(is_mounted(mount));
  must_run(PEELFS_PROGRAM " umount " + mount);
  const Outputs read_only = peelfs_apart("-o writable=one " + one_ + " " + mount);
  EXPECT_EQ(read_only.exit_code, 64);
  EXPECT_TRUE(contains(read_only.errors, "-o writable=one does nothing")) << read_only.errors;
  must_run(PEELFS_PROGRAM " umount " + mount);
}

TEST_F(Keys, AKeyForAQualifiedNameOpensItsDevice) {
  for (const char* const folder : {"x", "y"}) {
    must_run("mkdir " + (folder_ / folder) + " && cp " + one_ + " " + (folder_ / folder));
  }
  const Outputs result = peelfs_apart("ls --key x.one=file:" + (folder_ / "key1") + " " +
                                      (folder_ / "x/one") + " " + (folder_ / "y/one"));
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(contains(result.output, "one_cryptp1")) << result.output;
  EXPECT_TRUE(contains(result.output, "locked")) << "the other one: " << result.output;
  // Which file is which.
  EXPECT_TRUE(contains(result.output, "file " + (folder_ / "y/one"))) << result.output;
}

// --- only what is on the way is asked for ---

TEST_F(Keys, CatAsksForNothingThatIsNotOnItsWay) {
  make_disk(folder_ / "plain");
  const std::string sources = folder_ / "plain" + std::string(" ") + one_ + " " + two_ + " ";
  for (const std::string& name : {std::string("plainp1"), std::string("one")}) {
    Terminal terminal(PEELFS_PROGRAM " cat " + sources + name + " >/dev/null");
    EXPECT_EQ(terminal.finish(), 0) << name;
    EXPECT_FALSE(contains(terminal.screen(), "Passphrase")) << terminal.screen();
  }
  Terminal terminal(PEELFS_PROGRAM " export --quiet " + sources + "two_cryptp1 " +
                    (folder_ / "out"));
  ASSERT_TRUE(terminal.wait_for("Passphrase for two "));
  ASSERT_TRUE(terminal.wait_for("): "));
  terminal.type("second-pass\n");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(count(terminal.screen(), "Passphrase for"), 1U) << terminal.screen();
}

TEST_F(Keys, WhatMayLieAnywhereIsAskedForUntilItIsThere) {
  Terminal terminal(PEELFS_PROGRAM " map " + one_ + " " + two_ + " LABEL=cliroot >/dev/null");
  ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
  ASSERT_TRUE(terminal.wait_for("): "));
  terminal.type("first-pass\n");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(count(terminal.screen(), "Passphrase for"), 1U) << terminal.screen();
}

TEST_F(Keys, CtrlCEndsItAndGivesTheTerminalBack) {
  Terminal terminal("exec " + ls(one_));
  ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
  ASSERT_TRUE(wait_until([&] { return !terminal.echoes(); }));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  EXPECT_TRUE(terminal.echoes());
}

TEST_F(Keys, ATerminationSignalGivesTheTerminalBack) {
  Terminal terminal("exec " + ls(one_));
  ASSERT_TRUE(terminal.wait_for("Passphrase for one "));
  ASSERT_TRUE(wait_until([&] { return !terminal.echoes(); }));
  ::kill(terminal.process(), SIGTERM);
  EXPECT_EQ(terminal.finish(), 128 + SIGTERM);
  EXPECT_TRUE(terminal.echoes());
}

TEST_F(Keys, NoSecretWhereOthersCanSeeIt) {
  // It waits at the prompt for `two`, with the key of `one` read from its environment.
  Terminal terminal("SECRET=first-pass exec " + ls("--key one=env:SECRET " + one_ + " " + two_));
  ASSERT_TRUE(terminal.wait_for("Passphrase for two "));
  const std::string proc = "/proc/" + std::to_string(terminal.process());
  EXPECT_FALSE(contains(must_run("cat " + proc + "/cmdline | tr '\\0' ' '"), "first-pass"));
  const CommandResult environment = run("cat " + proc + "/environ | tr '\\0' ' '");
  EXPECT_FALSE(contains(environment.output, "first-pass"))
      << "the variable is wiped once it is read";
  // No core file, also if the limit allowed one.
  EXPECT_TRUE(contains(must_run("grep 'Max core' " + proc + "/limits"), " 0 "));
  terminal.type("\n");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_FALSE(contains(terminal.screen(), "first-pass"));
}

// A key derivation of more than a second: only then there is a line, and it goes away again.
TEST(Looking, ALineTellsOfALongSearch) {
  SKIP_WITHOUT("qemu-img");
  const TemporaryDirectory folder;
  must_run("truncate -s 4M " + (folder / "plain"));
  must_run(
      "qemu-img convert --object secret,id=s,data=sesame -f raw -O luks "
      "-o key-secret=s,iter-time=1200 " +
      (folder / "plain") + " " + (folder / "slow.img"));
  write_file(folder / "key", as_bytes("sesame"));
  const std::string command =
      PEELFS_PROGRAM " ls --key-file " + (folder / "key") + " " + (folder / "slow.img");
  Terminal person(command);
  EXPECT_TRUE(person.wait_for("looking into the sources: "));
  EXPECT_TRUE(person.wait_for("devices so far"));
  EXPECT_TRUE(person.wait_for("\r\x1b[K")) << "it is taken away";
  EXPECT_TRUE(person.wait_for("slow_crypt"));
  EXPECT_EQ(person.finish(), 0);
  Terminal quiet(command + " -q");
  EXPECT_TRUE(quiet.wait_for("slow_crypt"));
  EXPECT_EQ(quiet.finish(), 0);
  EXPECT_FALSE(contains(quiet.screen(), "looking into")) << quiet.screen();
}

}  // namespace
}  // namespace peelfs::test
