// ls, cat, export and map, by the real program on real images: output, complaints and exit codes.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/paths.h"

namespace peelfs::test {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string text_of(const std::string& path) {
  return std::string(as_text(read_file(path)));
}

class Verbs : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    disk_ = folder_ / "disk.img";
    second_ = make_disk(disk_);
  }
  TemporaryDirectory folder_;
  std::string disk_, second_;
};

TEST_F(Verbs, LsIsATree) {
  const Outputs listed = peelfs_apart("ls " + disk_);
  EXPECT_EQ(listed.exit_code, 0);
  EXPECT_EQ(listed.errors, "");
  std::istringstream lines(listed.output);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line.find("NAME"), 0U) << line;
  std::vector<std::string> header;
  std::istringstream words(line);
  for (std::string word; words >> word;) header.push_back(word);
  EXPECT_EQ(header, (std::vector<std::string>{"NAME", "TYPE", "SIZE", "FSTYPE", "LABEL", "UUID"}));
  std::getline(lines, line);
  EXPECT_EQ(line.find("disk "), 0U) << line;
  EXPECT_TRUE(contains(line, " 16M")) << line;
  std::getline(lines, line);
  EXPECT_TRUE(contains(line, "diskp1")) << line;
  EXPECT_TRUE(contains(line, " 8M ext4")) << line;
  EXPECT_TRUE(contains(line, "cliroot")) << line;
  std::getline(lines, line);
  EXPECT_TRUE(contains(line, "diskp2")) << line;
  EXPECT_FALSE(std::getline(lines, line)) << line;
}

TEST_F(Verbs, LsDrawsWhatTheLocaleCanShow) {
  EXPECT_TRUE(contains(run("LC_ALL=C " PEELFS_PROGRAM " ls " + disk_).output, "|-diskp1"));
  EXPECT_TRUE(contains(run("LC_ALL=C " PEELFS_PROGRAM " ls " + disk_).output, "`-diskp2"));
  EXPECT_TRUE(contains(run("LC_ALL=C.UTF-8 " PEELFS_PROGRAM " ls " + disk_).output, "├─diskp1"));
}

TEST_F(Verbs, LsInBytesAndJson) {
  EXPECT_TRUE(contains(peelfs("ls -b " + disk_).output, " 8388608 "));
  const auto document = nlohmann::json::parse(peelfs_apart("ls --json " + disk_).output);
  const auto& disk = document.at("blockdevices").at(0);
  EXPECT_EQ(disk.at("name"), "disk");
  EXPECT_EQ(disk.at("size"), 16777216);
  EXPECT_EQ(disk.at("children").size(), 2U);
  EXPECT_EQ(disk.at("children").at(0).at("label"), "cliroot");
}

TEST_F(Verbs, ALabelCannotTouchTheTerminal) {
  must_run("PATH=$PATH:/usr/sbin mke2fs -q -F -t ext4 -L \"$(printf 'a\\033[2Jb\\nc')\" " +
           (folder_ / "evil.img") + " 4M");
  const Outputs listed = peelfs_apart("ls " + (folder_ / "evil.img"));
  EXPECT_EQ(listed.output.find('\033'), std::string::npos) << listed.output;
  EXPECT_TRUE(contains(listed.output, "a\\x1b[2Jb\\x0ac")) << listed.output;
}

TEST_F(Verbs, ASourceThatIsMissingIsSaidAndTheRestShown) {
  const Outputs listed = peelfs_apart("ls " + disk_ + " " + (folder_ / "none.img"));
  EXPECT_EQ(listed.exit_code, 1);
  EXPECT_TRUE(contains(listed.output, "diskp1"));
  EXPECT_TRUE(contains(listed.errors, "none.img")) << listed.errors;
  EXPECT_TRUE(contains(listed.errors, "No such file")) << listed.errors;

  const Outputs nothing = peelfs_apart("ls " + (folder_ / "none.img"));
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_EQ(nothing.output, "");
}

TEST_F(Verbs, ADamagedTableIsShownAndCounts) {
  must_run("printf '\\001' | dd status=none conv=notrunc bs=1 seek=$((446 + 16 + 8 + 2)) of=" +
           disk_);
  const Outputs listed = peelfs_apart("ls " + disk_);  // partition 2 begins behind the end now
  EXPECT_EQ(listed.exit_code, 1) << listed.output;
  EXPECT_TRUE(contains(listed.output, "damaged")) << listed.output;
  EXPECT_TRUE(contains(listed.output, "diskp1")) << listed.output;
}

TEST_F(Verbs, ATruncatedImageIsShownAndCounts) {
  must_run("truncate -s 10M " + disk_);
  const Outputs listed = peelfs_apart("ls " + disk_);
  EXPECT_EQ(listed.exit_code, 1) << listed.output;
  EXPECT_TRUE(contains(listed.output, "diskp1")) << listed.output;
  EXPECT_TRUE(contains(listed.output, "diskp2")) << listed.output;
}

TEST_F(Verbs, AnUnreadableSourceSaysSo) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  must_run("chmod 0 " + disk_);
  const Outputs listed = peelfs_apart("ls " + disk_);
  EXPECT_EQ(listed.exit_code, 2);
  EXPECT_TRUE(contains(listed.errors, "Permission denied")) << listed.errors;
}

TEST_F(Verbs, SourcesAreNeverChanged) {
  const std::string before = must_run("sha256sum " + disk_ + "; stat -c '%Y %Z %X' " + disk_);
  must_run("chmod 0444 " + disk_);
  const std::string changed = must_run("stat -c '%Z' " + disk_);
  peelfs("ls " + disk_);
  peelfs("cat " + disk_ + " diskp2 >/dev/null");
  EXPECT_EQ(must_run("stat -c '%Z' " + disk_), changed);
  EXPECT_TRUE(contains(before, must_run("sha256sum " + disk_)));
}

TEST_F(Verbs, CatIsTheDevice) {
  EXPECT_EQ(must_run(PEELFS_PROGRAM " cat " + disk_ + " diskp2 | sha256sum").substr(0, 64),
            second_);
  must_run(PEELFS_PROGRAM " cat " + disk_ + " LABEL=cliroot >" + (folder_ / "p1") +
           " && PATH=$PATH:/usr/sbin e2fsck -fn " + (folder_ / "p1"));
  EXPECT_EQ(must_run("cat " + disk_ + " | sha256sum"),
            must_run(PEELFS_PROGRAM " cat " + disk_ + " disk | sha256sum"));
}

TEST_F(Verbs, CatOfAPart) {
  for (const auto& [offset, length] : {std::pair(0, 1), std::pair(511, 3), std::pair(4194303, 5),
                                       std::pair(4194300, 100), std::pair(1000000, 123456)}) {
    EXPECT_EQ(must_run(PEELFS_PROGRAM " cat " + disk_ + " disk --offset " + std::to_string(offset) +
                       " --length " + std::to_string(length) + " | sha256sum"),
              must_run("tail -c +" + std::to_string(offset + 1) + " " + disk_ + " | head -c " +
                       std::to_string(length) + " | sha256sum"));
  }
  EXPECT_EQ(must_run(PEELFS_PROGRAM " cat --offset 16M " + disk_ + " disk | wc -c"), "0\n");
  const Outputs behind = peelfs_apart("cat --offset 17M " + disk_ + " disk");
  EXPECT_EQ(behind.exit_code, 2);
  EXPECT_TRUE(contains(behind.errors, "16777216")) << behind.errors;
}

TEST_F(Verbs, CatToOneWhoLeavesIsQuiet) {
  const CommandResult result = run("{ " PEELFS_PROGRAM " cat " + disk_ + " disk; echo $? >" +
                                   (folder_ / "status") + "; } | head -c 1000 | wc -c");
  EXPECT_EQ(result.output, "1000\n");
  EXPECT_EQ(text_of(folder_ / "status"), "141\n");
  EXPECT_EQ(
      run("trap '' PIPE; { " PEELFS_PROGRAM " cat " + disk_ + " disk; } | head -c 1000 | wc -c")
          .output,
      "1000\n");
}

TEST_F(Verbs, CatToAFullDisk) {
  const CommandResult result = peelfs("cat " + disk_ + " disk >/dev/full");
  EXPECT_EQ(result.exit_code, 1);
  const CommandResult listed = peelfs("ls " + disk_ + " >/dev/full");
  EXPECT_EQ(listed.exit_code, 2);
  const Outputs said = peelfs_apart("cat " + disk_ + " disk >/dev/full");
  EXPECT_TRUE(contains(said.errors, "No space left")) << said.errors;
}

TEST_F(Verbs, NoSuchDeviceSaysWhatThereIs) {
  const Outputs result = peelfs_apart("cat " + disk_ + " diskp3");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.output, "");
  EXPECT_TRUE(contains(result.errors, "disk, diskp1, diskp2")) << result.errors;
  EXPECT_TRUE(contains(result.errors, "did you mean")) << result.errors;
}

TEST_F(Verbs, CatRefusesATerminal) {
  Terminal terminal(PEELFS_PROGRAM " cat " + disk_ + " disk");
  EXPECT_EQ(terminal.finish(), 2);
  EXPECT_TRUE(contains(terminal.screen(), "--force")) << terminal.screen();
}

TEST_F(Verbs, ExportIsTheDeviceAndSparse) {
  must_run("truncate -s 256M " + disk_);
  EXPECT_EQ(peelfs("export " + disk_ + " disk " + (folder_ / "copy")).exit_code, 0);
  must_run("cmp " + disk_ + " " + (folder_ / "copy"));
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "copy").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 256L << 20);
  EXPECT_LT(status.st_blocks * 512L, 32L << 20);
}

TEST_F(Verbs, ExportDoesNotOverwriteUnlessTold) {
  const std::string copy = folder_ / "copy";
  must_run("echo mine >" + copy);
  const Outputs refused = peelfs_apart("export " + disk_ + " diskp2 " + copy);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(contains(refused.errors, "--force")) << refused.errors;
  EXPECT_EQ(text_of(copy), "mine\n");
  EXPECT_EQ(peelfs("export --force " + disk_ + " diskp2 " + copy).exit_code, 0);
  EXPECT_EQ(sha256(read_file(copy)), second_);
}

TEST_F(Verbs, ExportNeverOverwritesASource) {
  const std::string before = must_run("sha256sum <" + disk_);
  must_run("ln " + disk_ + " " + (folder_ / "hard") + " && ln -s " + disk_ + " " +
           (folder_ / "soft"));
  for (const char* name : {"disk.img", "hard", "soft"}) {
    const Outputs refused = peelfs_apart("export --force " + disk_ + " diskp2 " + (folder_ / name));
    EXPECT_EQ(refused.exit_code, 2) << name;
    EXPECT_TRUE(contains(refused.errors, "read from")) << refused.errors;
  }
  EXPECT_EQ(must_run("sha256sum <" + disk_), before);
}

TEST_F(Verbs, ExportNeverOverwritesABackingFile) {
  SKIP_WITHOUT("qemu-img");
  const std::string top = folder_ / "top.qcow2";
  must_run("qemu-img create -q -f qcow2 -b disk.img -F raw " + top);
  const std::string before = must_run("sha256sum <" + disk_);
  const Outputs refused = peelfs_apart("export --force " + top + " topp2 " + disk_);
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_TRUE(contains(refused.errors, "read from")) << refused.errors;
  EXPECT_EQ(must_run("sha256sum <" + disk_), before);
}

TEST_F(Verbs, ExportToStandardOutputAndDevices) {
  EXPECT_EQ(must_run(PEELFS_PROGRAM " export " + disk_ + " diskp2 - | sha256sum").substr(0, 64),
            second_);
  EXPECT_EQ(peelfs("export " + disk_ + " diskp2 /dev/null").exit_code, 0);
  const Outputs full = peelfs_apart("export " + disk_ + " diskp2 /dev/full");
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_TRUE(contains(full.errors, "No space left")) << full.errors;
}

TEST_F(Verbs, ExportWhereNothingCanBeWritten) {
  const Outputs nowhere = peelfs_apart("export " + disk_ + " diskp2 " + (folder_ / "no/where"));
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_TRUE(contains(nowhere.errors, "No such file")) << nowhere.errors;
  if (::geteuid() == 0) return;
  must_run("mkdir " + (folder_ / "ro") + " && chmod 0555 " + (folder_ / "ro"));
  const Outputs denied = peelfs_apart("export " + disk_ + " diskp2 " + (folder_ / "ro/copy"));
  EXPECT_EQ(denied.exit_code, 2);
  EXPECT_TRUE(contains(denied.errors, "Permission denied")) << denied.errors;
}

TEST_F(Verbs, ExportAroundBytesThatAreNotThere) {
  // A partition that leaves the image: what lies inside is copied, the rest is named.
  must_run("truncate -s 11M " + disk_);
  const Outputs result = peelfs_apart("export --map-file " + (folder_ / "map") + " " + disk_ +
                                      " diskp2 " + (folder_ / "copy"));
  // Whether the rest is a part of the device at all is the partition layer's affair; never silently
  // zero.
  if (result.exit_code == 0) {
    EXPECT_LE(std::filesystem::file_size(folder_ / "copy"), 2U << 20U);
    return;
  }
  EXPECT_EQ(result.exit_code, 1) << result.errors;
  EXPECT_TRUE(contains(result.errors, "unreadable: offset 2097152, 2097152 bytes"))
      << result.errors;
  EXPECT_TRUE(contains(text_of(folder_ / "map"), "0x00200000  0x00200000  -"));
  EXPECT_EQ(std::filesystem::file_size(folder_ / "copy"), 4U << 20U);
}

TEST_F(Verbs, ExportMapFileAndResume) {
  const std::string map = folder_ / "map";
  const std::string copy = folder_ / "copy";
  EXPECT_EQ(peelfs("export --map-file " + map + " " + disk_ + " disk " + copy).exit_code, 0);
  EXPECT_TRUE(contains(text_of(map), "0x00000000  0x01000000  +"));
  // As if the second half had not been copied yet.
  must_run("truncate -s 8M " + copy);
  write_file(map,
             as_bytes("# Mapfile\n0x00800000 ? 1\n0x0 0x00800000 +\n0x00800000 0x00800000 ?\n"));
  EXPECT_EQ(peelfs("export --resume --map-file " + map + " " + disk_ + " disk " + copy).exit_code,
            0);
  must_run("cmp " + disk_ + " " + copy);
  const Outputs other =
      peelfs_apart("export --resume --map-file " + map + " " + disk_ + " diskp1 " + copy);
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_TRUE(contains(other.errors, "map file " + map)) << other.errors;
  must_run("cmp " + disk_ + " " + copy);
  must_run("truncate -s 1M " + copy);
  const Outputs shorter =
      peelfs_apart("export --resume --map-file " + map + " " + disk_ + " disk " + copy);
  EXPECT_EQ(shorter.exit_code, 2);
  EXPECT_TRUE(contains(shorter.errors, "shorter than its map file says")) << shorter.errors;
  must_run("rm " + copy);
  EXPECT_EQ(peelfs("export --resume --map-file " + map + " " + disk_ + " disk " + copy).exit_code,
            2);
}

TEST_F(Verbs, ExportInterruptedSaysWhatIsThere) {
  must_run("truncate -s 100G " + disk_);
  const std::string copy = folder_ / "copy";
  Terminal terminal("exec " PEELFS_PROGRAM " export --sparse never --map-file " +
                    (folder_ / "map") + " " + disk_ + " disk " + copy);
  ASSERT_TRUE(wait_until([&] {
    std::error_code none;
    return std::filesystem::file_size(copy, none) + 1 > (32U << 20U);
  }));
  EXPECT_TRUE(terminal.wait_for("ETA"));  // a terminal gets a progress bar
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  EXPECT_TRUE(contains(terminal.screen(), "is incomplete")) << terminal.screen();
  EXPECT_TRUE(contains(terminal.screen(), "--resume")) << terminal.screen();
  // The part that is there is right, and as long as it looks.
  const auto size = std::filesystem::file_size(copy);
  EXPECT_LT(size, 100ULL << 30U);
  must_run("cmp -n " + std::to_string(size) + " " + disk_ + " " + copy);
  EXPECT_TRUE(contains(text_of(folder_ / "map"), "?")) << text_of(folder_ / "map");
}

TEST_F(Verbs, MapTilesTheDeviceAndIsTrue) {
  SKIP_WITHOUT("qemu-img");
  const std::string image = folder_ / "vm.qcow2";
  must_run("qemu-img convert -f raw -O qcow2 " + disk_ + " " + image);
  const auto runs = nlohmann::json::parse(peelfs_apart("map --json " + image + " vm").output);
  std::uint64_t at = 0;
  const std::string bytes = text_of(disk_);
  const std::string stored = text_of(image);
  std::uint64_t data = 0;
  for (const auto& run : runs) {
    EXPECT_EQ(run.at("start"), at);
    const std::uint64_t length = run.at("length");
    if (run.contains("filename")) {
      EXPECT_EQ(run.at("filename"), image);
      const std::uint64_t offset = run.at("offset");
      EXPECT_TRUE(bytes.compare(at, length, stored, offset, length) == 0) << run;
      data += length;
    } else {
      EXPECT_EQ(run.at("zero"), true) << run;
      EXPECT_EQ(bytes.find_first_not_of('\0', at) >= at + length, true) << run;
    }
    at += length;
  }
  EXPECT_EQ(at, 16777216U);
  EXPECT_GE(data, 4U << 20U);
  const std::string text = must_run(PEELFS_PROGRAM " map " + image + " vmp2");
  EXPECT_TRUE(contains(text, " of " + image)) << text;
}

TEST(Program, HelpTeaches) {
  const Outputs program = peelfs_apart("--help");
  EXPECT_EQ(program.exit_code, 0);
  EXPECT_EQ(program.errors, "");
  for (const char* verb : {"mount", "ls", "cat", "export", "map", "umount", "unlock"}) {
    EXPECT_TRUE(contains(program.output, verb));
    const Outputs help = peelfs_apart(std::string(verb) + " --help");
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_TRUE(contains(
        help.output, std::string("peelfs ") + (std::string(verb) == "mount" ? "[mount]" : verb)))
        << help.output;
    EXPECT_TRUE(contains(help.output, "Exit status")) << help.output;
  }
  std::istringstream lines(program.output);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 90U) << line;
}

TEST(Program, VersionAndMistakes) {
  EXPECT_TRUE(contains(must_run(PEELFS_PROGRAM " --version"), "peelfs "));
  const Outputs nothing = peelfs_apart("");
  EXPECT_EQ(nothing.exit_code, 1) << "mount(8): wrong invocation";
  EXPECT_EQ(nothing.output, "");
  EXPECT_EQ(peelfs_apart("ls --frob x").exit_code, 2);
}

TEST(Program, CompletionOffersVerbsAndDevices) {
  SKIP_WITHOUT("bash");
  const auto complete = [](const std::string& words) {
    return must_run(
        "bash -c '. " + source_folder() + "/contrib/completion/peelfs.bash; COMP_WORDS=(" + words +
        "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _peelfs 2>/dev/null; echo ${COMPREPLY[@]}'");
  };
  EXPECT_EQ(complete("peelfs un"), "unlock\n");
  EXPECT_EQ(complete("peelfs ls --js"), "--json\n");
  EXPECT_EQ(complete("peelfs export --sparse al"), "always\n");
  EXPECT_EQ(complete("peelfs -o allow_"), "allow_other\n");
}

}  // namespace
}  // namespace peelfs::test
