// The form of the command line: how arguments are understood, and the messages for wrong ones.
#include "cli/arguments.h"

#include <gtest/gtest.h>

#include <map>

#include "cli/values.h"
#include "cli/verb_table.h"
#include "cli/verbs/cat.h"
#include "cli/verbs/export.h"
#include "cli/verbs/help.h"
#include "cli/verbs/ls.h"
#include "cli/verbs/mount.h"
#include "cli/verbs/umount.h"
#include "cli/verbs/unlock.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

std::string complaint(const std::vector<std::string>& arguments) {
  try {
    parse_arguments(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(
        static_cast<int>(error.fault() == Fault::usage || error.fault() == Fault::unsupported), 1)
        << error.what();
    return error.what();
  }
  return "(nothing)";
}

using Words = std::vector<std::string>;

/// What a call says to its verb, which must be the one that takes these options.
template <typename Options>
Options options_in(const Call& call) {
  return dynamic_cast<const Options&>(*call.options);
}

template <typename Options>
Options parsed(const Words& arguments) {
  return options_in<Options>(parse_arguments(arguments));
}

/// The word for the verb that is meant.
std::string_view verb_in(const Words& arguments) {
  return parse_arguments(arguments).verb->word;
}

/// What --help, or help, is asked about; "": the program.
std::string_view topic_in(const Words& arguments) {
  const VerbRow* topic = parsed<HelpOptions>(arguments).topic;
  return topic == nullptr ? "" : topic->word;
}

TEST(Arguments, MountIsMeantWithoutVerb) {
  const Call call = parse_arguments({"a.img", "name=b.img", "/mnt"});
  EXPECT_EQ(call.verb->word, "mount");
  const auto command = options_in<MountVerbOptions>(call);
  EXPECT_EQ(command.from.sources, (Words{"a.img", "name=b.img"}));
  EXPECT_EQ(command.mount.mountpoint, "/mnt");
  EXPECT_FALSE(command.mount.foreground);
  EXPECT_EQ(parsed<MountVerbOptions>({"mount", "a.img", "/mnt"}).from.sources, (Words{"a.img"}));
}

TEST(Arguments, OptionsStandAnywhere) {
  const auto command = parsed<MountVerbOptions>(
      {"--key-file", "k", "a.img", "-fo", "nodev,allow_other", "--depth=2", "/mnt", "-v"});
  EXPECT_TRUE(command.mount.foreground);
  EXPECT_TRUE(command.mount.allow_other);
  EXPECT_TRUE(command.verbose);
  EXPECT_EQ(command.mount.kernel_options, (Words{"nodev"}));
  EXPECT_EQ(command.from.limits.search_depth, 2U);
  ASSERT_EQ(command.from.keys.origins.size(), 1U);
  EXPECT_EQ(command.from.keys.origins[0].place, "k");
  EXPECT_EQ(command.from.sources, (Words{"a.img"}));
}

TEST(Arguments, VerbBehindOptions) {
  EXPECT_EQ(verb_in({"-v", "ls", "x"}), "ls");
  EXPECT_EQ(verb_in({"--key-file", "ls", "cat", "x", "y"}), "cat");
  EXPECT_EQ(parsed<MountVerbOptions>({"-o", "ro", "mount", "x", "y"}).from.sources, (Words{"x"}));
}

/// The parser looks for the verb before it knows which verb the options before it belong to.
TEST(Arguments, AnOptionHasAValueWithEveryVerbOrWithNone) {
  std::map<std::string, bool> seen;
  for (const std::string_view word : verb_words()) {
    for (const Parser::Name& option : options_of(*find_verb(word))) {
      const auto [before, first] = seen.emplace(option.name, option.with_value);
      EXPECT_EQ(before->second, option.with_value) << option.name << " of " << word;
      if (!option.name.starts_with("--")) continue;
      std::vector<std::string> line{option.name};
      if (option.with_value) line.emplace_back("ls");
      line.emplace_back("map");
      EXPECT_EQ(verb_of(line).word, "map") << option.name;
    }
  }
  EXPECT_TRUE(seen.at("--overlay"));
  EXPECT_FALSE(seen.at("--json"));
}

TEST(Arguments, SourcesNamedLikeVerbsAndOptions) {
  EXPECT_EQ(parsed<MountVerbOptions>({"./ls", "/mnt"}).from.sources, (Words{"./ls"}));
  const Call call = parse_arguments({"--", "ls", "-f", "/mnt"});
  EXPECT_EQ(call.verb->word, "mount");
  const auto command = options_in<MountVerbOptions>(call);
  EXPECT_EQ(command.from.sources, (Words{"ls", "-f"}));
  EXPECT_FALSE(command.mount.foreground);
  EXPECT_EQ(parsed<LsOptions>({"ls", "--", "ls", "--json"}).from.sources, (Words{"ls", "--json"}));
  EXPECT_EQ(parsed<LsOptions>({"ls", "cat"}).from.sources, (Words{"cat"}));
}

TEST(Arguments, NothingIsTakenApartThatIsAName) {
  const Words odd{"[a,b]", "{}", "%%", "a,b", "++", "\x01[x]", "=x", "a b", "-"};
  Words arguments{"ls"};
  arguments.insert(arguments.end(), odd.begin(), odd.end());
  EXPECT_EQ(parsed<LsOptions>(arguments).from.sources, odd);
  EXPECT_EQ(parsed<CatOptions>({"cat", "--header", "n=[x]", "a", "[n]"}).name, "[n]");
  EXPECT_EQ(parsed<CatOptions>({"cat", "--header", "n=[x]", "a", "[n]"}).from.headers.at("n"),
            "[x]");
}

TEST(Arguments, OperandsOfEveryVerb) {
  EXPECT_EQ(parsed<CatOptions>({"cat", "a", "b", "n"}).name, "n");
  const auto exported = parsed<ExportOptions>({"export", "a", "n", "f", "--sparse=always"});
  EXPECT_EQ(exported.name, "n");
  EXPECT_EQ(exported.output, "f");
  EXPECT_EQ(exported.sparse, Sparse::always);
  EXPECT_EQ(parsed<UmountOptions>({"umount", "/a", "/b"}).mountpoints, (Words{"/a", "/b"}));
  const auto all = parsed<UnlockOptions>({"unlock", "/a"});
  EXPECT_EQ(all.mountpoint, "/a");
  EXPECT_EQ(all.name, "");
  EXPECT_EQ(parsed<UnlockOptions>({"unlock", "/a", "n"}).name, "n");
  const auto part = parsed<CatOptions>({"cat", "--offset", "64K", "--length=1M", "a", "n"});
  EXPECT_EQ(part.offset, 65536U);
  EXPECT_EQ(part.length, 1048576U);
}

TEST(Arguments, HelpAndVersion) {
  EXPECT_EQ(verb_in({"--help"}), "help");
  EXPECT_EQ(topic_in({"--help"}), "");
  EXPECT_EQ(topic_in({"ls", "-h"}), "ls");
  EXPECT_EQ(topic_in({"help", "export"}), "export");
  EXPECT_EQ(verb_in({"--version"}), "version");
  EXPECT_EQ(verb_in({"ls", "--version"}), "version");
}

TEST(Arguments, Keys) {
  const auto command = parsed<LsOptions>(
      {"ls", "--key", "root=file:/k=1", "--key", "a=b=fd:7", "--key", "env:PASS", "x"});
  const auto& keys = command.from.keys.origins;
  ASSERT_EQ(keys.size(), 3U);
  EXPECT_EQ(keys[0].whose, "root");
  EXPECT_EQ(keys[0].place, "/k=1");
  EXPECT_EQ(keys[1].whose, "a=b");
  EXPECT_EQ(keys[1].descriptor, 7);
  EXPECT_EQ(keys[2].whose, "");
  EXPECT_EQ(keys[2].place, "PASS");
}

TEST(Arguments, APassphraseWrittenAsKeyIsNotRepeated) {
  const std::string said = complaint({"ls", "--key", "root=hunter2", "x"});
  EXPECT_EQ(said.find("hunter2"), std::string::npos) << said;
  EXPECT_NE(said.find("NAME=file:PATH"), std::string::npos) << said;
}

struct Wrong {
  Words arguments;
  std::string says;
};

TEST(Arguments, EveryMistakeIsNamed) {
  const std::vector<Wrong> table{
      {{}, "nothing to do"},
      {{"a.img"}, "peelfs ls a.img"},
      {{"map"}, "NAME, the device to read, is missing; usage: peelfs map [--json] SOURCE... NAME"},
      {{"ls", "-o", "NAME,SIZ", "x"}, "did you mean 'SIZE'"},
      {{"ls", "-o", "", "x"}, "'output' needs a value"},
      {{"ls", "-o", "NAME", "--json", "x"}, "--json and -o exclude each other"},
      {{"ls", "--tree", "dots", "x"}, "expected auto, unicode or ascii"},
      {{"ls", "--color", "blue", "x"}, "expected auto, always or never"},
      {{"ls", "--timeout", "x", "y"}, "found 'x', expected a whole number of seconds"},
      {{"ls", "--timeout", "5K", "y"}, "expected a whole number of seconds"},
      {{"ls", "--depth"}, "'--depth' needs a value (found nothing behind it); 'peelfs ls --help'"},
      {{"ls", "x", "--depth"}, "'--depth' needs a value"},
      {{"a", "b", "-o"}, "'--options' needs a value (found nothing behind it); 'peelfs --help'"},
      {{"export", "/dev/null", "n"}, "an operand is missing behind '/dev/null'"},
      {{"export", "/dev/null", "n"}, "usage: peelfs export [options] SOURCE... NAME FILE"},
      {{"verify", "disk.img"},
       "'verify' is neither a verb nor a file here; did you mean 'peelfs fsck'"},
      {{"lsblk", "disk.img"}, "did you mean 'peelfs ls'"},
      {{"frobnicate", "/dev/null"}, "expected one of ls, mount, umount"},
      {{"frobnicate"}, "'peelfs --help' says what they do"},
      {{"cat"}, "NAME, the device to read, is missing"},
      {{"cat", "n"}, "no SOURCE is named before NAME"},
      {{"export", "n", "f"}, "no SOURCE is named before NAME"},
      {{"umount"}, "no MOUNTPOINT"},
      {{"unlock"}, "wrong number"},
      {{"unlock", "a", "b", "c"}, "wrong number"},
      {{"mount", "a", ""}, "directory to mount on is empty"},
      {{"lss", "disk.img"}, "did you mean 'peelfs ls'"},
      {{"umout", "/mnt"}, "did you mean 'peelfs umount'"},
      {{"ls", "--jsn", "x"}, "did you mean '--json'"},
      {{"ls", "-Z", "x"}, "unknown option '-Z'"},
      {{"ls", "--no-search=no", "x"}, "'--no-search' takes no value"},
      {{"fsck", "--repair=false", "--commit", "x"}, "'--repair' takes no value"},
      {{"try", "--commit=0", "x", "n", "--", "true", "{}"}, "'--commit' takes no value"},
      {{"ls", "--key-file"}, "key-file"},
      {{"ls", "--key-file=", "x"}, "--key-file' needs a value"},
      {{"ls", "--key", "a=pass:b", "x"}, "does not say where the key is"},
      {{"ls", "--key", "=file:b", "x"}, "before '=' is empty"},
      {{"ls", "--key", "a=fd:x", "x"}, "no number of a file descriptor"},
      {{"ls", "--key", "a=fd:-1", "x"}, "no number of a file descriptor"},
      {{"ls", "--key", "a=fd:99999999999", "x"}, "no number of a file descriptor"},
      {{"ls", "--key", "a=file:", "x"}, "nothing follows 'file:'"},
      {{"ls", "--volume-key", "a=pass:b", "x"}, "--volume-key: it does not say where the key is"},
      {{"ls", "--volume-key", "/key", "x"}, "--volume-key: it does not say where the key is"},
      {{"ls", "--volume-key", "a=fd:x", "x"}, "--volume-key: no number of a file descriptor"},
      {{"ls", "--as", "x", "y"}, "not NAME=KIND"},
      {{"ls", "--as", "=raw", "y"}, "not NAME=KIND"},
      {{"ls", "--as", "x=", "y"}, "not NAME=KIND"},
      {{"ls", "--as", "x=raw", "--as", "x=none", "y"}, "two kinds"},
      {{"ls", "--as", "x=ntfs", "y"}, "expected raw, none, vhd, qcow2, luks, lvm, gpt, mbr, ext"},
      {{"ls", "--as", "x=luks,size=3", "y"}, "luks takes no option 'size'"},
      {{"ls", "--as", "x=luks,size=3,size=4", "y"}, "given twice"},
      {{"ls", "--header", "x", "y"}, "not NAME=PATH"},
      {{"ls", "--header", "x=1", "--header", "x=2", "y"}, "two headers"},
      {{"ls", "--depth", "many", "x"}, "found 'many'"},
      {{"ls", "--depth", "-1", "x"}, "--depth"},
      {{"ls", "--kdf-memory", "4Q", "x"}, "found '4Q'"},
      {{"ls", "--kdf-memory", "99999999999G", "x"}, "no number of bytes"},
      {{"ls", "--kdf-seconds", "0", "x"}, "how many seconds"},
      {{"ls", "--run-files", "many", "x"}, "how many files"},
      {{"ls", "--identify-bytes", "4Q", "x"}, "found '4Q'"},
      {{"ls", "--kdf-iterations", "0", "x"}, "from 1 to 4294967295"},
      {{"cat", "--offset", "", "a", "b"}, "--offset"},
      {{"export", "--sparse", "maybe", "a", "b", "c"}, "auto, always or never"},
      {{"export", "--resume", "a", "b", "c"}, "--map-file"},
      {{"help", "me"}, "no verb 'me'"},
      {{"-o", "ro,allow_othr", "a", "b"}, "did you mean 'allow_other'"},
      {{"-o", "frobnicate", "a", "b"}, "unknown mount option 'frobnicate'"},
      {{"-o", "remount", "a", "b"}, "cannot be changed"},
      {{"-o", "uid=0", "a", "b"}, "allow_other"},
      {{"-o", "threads=0", "a", "b"}, "1 to 1024"},
      {{"-o", "depth=x", "a", "b"}, "--depth"},
  };
  for (const Wrong& wrong : table) {
    const std::string said = complaint(wrong.arguments);
    EXPECT_NE(said.find(wrong.says), std::string::npos)
        << ::testing::PrintToString(wrong.arguments) << ": " << said;
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
  }
}

TEST(MountOptions, WhatIsForOthersIsDropped) {
  MountVerbOptions command;
  set_mount_options(
      command,
      "defaults,ro,noauto,user,nofail,user=alice,_netdev,x-systemd.automount,comment=a b,"
      "X-mount.mkdir=0755,default_permissions",
      false);
  EXPECT_TRUE(command.mount.kernel_options.empty());
}

TEST(MountOptions, TheOptionsOfSources) {
  MountVerbOptions command;
  set_mount_options(
      command,
      "key-file=/a\\,b,key=vm=file:/k,header=vm=/h,depth=0,no-prompt,allow-reference=/r,"
      "kdf-memory=1G,kdf-iterations=7,fsname=x\\\\y,threads=4,log-file=/l,debug,max_read=131072",
      false);
  ASSERT_EQ(command.from.keys.origins.size(), 2U);
  EXPECT_EQ(command.from.keys.origins[0].place, "/a,b");
  EXPECT_EQ(command.from.keys.origins[1].whose, "vm");
  EXPECT_EQ(command.from.headers.at("vm"), "/h");
  EXPECT_EQ(command.from.limits.search_depth, 0U);
  EXPECT_EQ(command.from.limits.kdf_memory, 1U << 30U);
  EXPECT_EQ(command.from.limits.kdf_iterations, 7U);
  EXPECT_EQ(command.from.allow_references, (Words{"/r"}));
  EXPECT_FALSE(command.from.keys.prompt);
  EXPECT_EQ(command.mount.fsname, "x\\y");
  EXPECT_EQ(command.mount.threads, 4U);
  EXPECT_EQ(command.mount.log_file, "/l");
  EXPECT_TRUE(command.mount.debug);
  EXPECT_EQ(command.mount.kernel_options, (Words{"max_read=131072"}));
}

TEST(Helper, AsMountCallsIt) {
  const Call call =
      parse_helper_arguments({"/srv/a b.img|/srv/c||d.img", "/mnt/p", "-o",
                              "rw,noauto,user,nodev,allow_other", "-t", "fuse.peelfs"});
  EXPECT_EQ(call.verb->word, "mount");
  const auto command = options_in<MountVerbOptions>(call);
  EXPECT_EQ(command.from.sources, (Words{"/srv/a b.img", "/srv/c|d.img"}));
  EXPECT_EQ(command.mount.mountpoint, "/mnt/p");
  EXPECT_EQ(command.mount.fsname, "/srv/a b.img|/srv/c||d.img");
  EXPECT_TRUE(command.mount.allow_other);
  EXPECT_FALSE(command.mount.foreground);
  EXPECT_TRUE(options_in<MountVerbOptions>(parse_helper_arguments({"a", "b", "-f"})).fake);
  EXPECT_TRUE(options_in<MountVerbOptions>(parse_helper_arguments({"a", "b", "-sfnv"})).verbose);
  EXPECT_EQ(options_in<MountVerbOptions>(parse_helper_arguments({"ls", "b"})).from.sources,
            (Words{"ls"}));
  EXPECT_THROW(parse_helper_arguments({"a"}), Error);
  EXPECT_THROW(parse_helper_arguments({"a", "b", "-N", "ns"}), Error);
  EXPECT_THROW(parse_helper_arguments({"|", "b"}), Error);
}

TEST(Sizes, AsPeopleWriteThem) {
  EXPECT_EQ(parse_size("0", "x"), 0U);
  EXPECT_EQ(parse_size("4096", "x"), 4096U);
  EXPECT_EQ(parse_size("4096B", "x"), 4096U);
  EXPECT_EQ(parse_size("1K", "x"), 1024U);
  EXPECT_EQ(parse_size("1k", "x"), 1024U);
  EXPECT_EQ(parse_size("1KiB", "x"), 1024U);
  EXPECT_EQ(parse_size("1KB", "x"), 1000U);
  EXPECT_EQ(parse_size("3T", "x"), 3ULL << 40U);
  EXPECT_EQ(parse_size("15E", "x"), 15ULL << 60U);
  for (const char* wrong : {"", "K", "1KK", "-1", "1.5G", "0x10", "16E", "1 K", " 1"}) {
    EXPECT_THROW(parse_size(wrong, "x"), Error) << wrong;
  }
}

TEST(Closest, OnlyWhatIsClose) {
  EXPECT_EQ(closest("exprot", {"export", "map"}), "export");
  EXPECT_EQ(closest("zzz", {"export", "map"}), "");
}

}  // namespace
}  // namespace peelfs::cli
