// How `peelfs ls` looks: columns, widths, colours, reasons below the tree; and what it says of
// partitions and members, beside what other programs say of the same images.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/overlays.h"
#include "cli/text.h"
#include "cli/tree_columns.h"
#include "cli/verb_table.h"
#include "support/paths.h"

namespace peelfs::test {
namespace {

using nlohmann::json;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

class Ls : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    disk_ = folder_ / "disk.img";
    make_disk(disk_);
  }
  /// What `peelfs ls` draws on a terminal of so many columns.
  static std::string on_terminal(unsigned columns, const std::string& arguments,
                                 const std::string& environment = "TERM=xterm") {
    Terminal terminal("stty cols " + std::to_string(columns) +
                      "; unset NO_COLOR; export LC_ALL=C.UTF-8 " + environment +
                      "; exec " PEELFS_PROGRAM " ls --no-prompt " + arguments);
    terminal.finish();
    return terminal.screen();
  }
  json document(const std::string& arguments) const {
    return json::parse(peelfs_apart("ls --json " + arguments).output).at("blockdevices");
  }
  TemporaryDirectory folder_;
  std::string disk_;
};

TEST_F(Ls, AReasonStandsBelowTheTreeOnce) {
  must_run("truncate -s 5M " + disk_);
  const Outputs listed = peelfs_apart("ls " + disk_);
  const std::vector<std::string> lines = lines_of(listed.output);
  ASSERT_EQ(lines.size(), 7U) << listed.output;
  EXPECT_TRUE(lines[2].ends_with(" damaged")) << lines[2];
  EXPECT_EQ(lines[4], "");
  EXPECT_TRUE(lines[5].starts_with("diskp1: damaged: the partition ends beyond the end"))
      << lines[5];
  EXPECT_EQ(count_of(listed.output, "only the first"), 1U) << listed.output;
  // The same of several devices is said once, of all of them.
  must_run("cp " + disk_ + " " + (folder_ / "other.img"));
  const std::string both = peelfs_apart("ls " + disk_ + " " + (folder_ / "other.img")).output;
  EXPECT_TRUE(contains(both, "\ndiskp1, otherp1: damaged: ")) << both;
  EXPECT_EQ(count_of(both, "only the first"), 1U) << both;
}

TEST_F(Ls, FitsTheTerminal) {
  const std::string source = "a-name-that-takes-many-columns=" + disk_;
  const auto widest = [](const std::string& screen) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
    std::size_t most = 0;
    for (const std::string& line : lines_of(screen))
      most = std::max(most, cli::display_width(line));
    std::setlocale(LC_CTYPE, "C");
    return most;
  };
  const std::string narrow = on_terminal(80, source);
  EXPECT_LE(widest(narrow), 80U) << narrow;
  EXPECT_FALSE(contains(narrow, "UUID")) << narrow;
  EXPECT_TRUE(contains(narrow, "cliroot")) << narrow;
  const std::string wide = on_terminal(120, source);
  EXPECT_TRUE(contains(wide, " UUID")) << wide;
  EXPECT_GT(widest(wide), 80U) << wide;
  // Each of the columns that are left out goes whole, and a chosen one stays.
  EXPECT_FALSE(contains(on_terminal(50, source), "LABEL"));
  EXPECT_TRUE(contains(on_terminal(50, "-o NAME,UUID " + source), " UUID"));
  EXPECT_LE(widest(on_terminal(80, "-l " + source)), 80U);
  // Without a terminal nothing is left out.
  EXPECT_TRUE(contains(peelfs_apart("ls " + source).output, " UUID"));

  must_run("truncate -s 5M " + disk_);
  const std::string reasons = on_terminal(80, disk_);
  EXPECT_TRUE(contains(reasons, "\r\n  ")) << reasons;
  for (const std::string& line : lines_of(reasons)) {
    // Escape sequences take no column.
    EXPECT_LE(line.size(), 80U + 4 * count_of(line, "\x1b[") + 2 * count_of(line, "─") +
                               2 * count_of(line, "├") + 2 * count_of(line, "└"))
        << line;
  }
}

TEST_F(Ls, ColoursOnlyWhereTheyAreWanted) {
  must_run("truncate -s 5M " + disk_);
  const std::string red = "\x1b[31mdamaged\x1b[0m";
  EXPECT_TRUE(contains(on_terminal(80, disk_), red));
  EXPECT_FALSE(contains(on_terminal(80, disk_, "TERM=dumb"), "\x1b"));
  EXPECT_FALSE(contains(on_terminal(80, disk_, "TERM=xterm NO_COLOR=1"), "\x1b"));
  EXPECT_TRUE(contains(on_terminal(80, disk_, "TERM=xterm NO_COLOR="), red));
  EXPECT_FALSE(contains(on_terminal(80, "--color=never " + disk_), "\x1b"));
  EXPECT_TRUE(contains(on_terminal(80, "--color=always " + disk_, "TERM=xterm NO_COLOR=1"), red));
  EXPECT_FALSE(contains(peelfs_apart("ls " + disk_).output, "\x1b"));
  EXPECT_TRUE(contains(peelfs_apart("ls --color always " + disk_).output, red));
}

TEST_F(Ls, BranchesAreDrawnAsThePersonSays) {
  const auto ls = [&](const std::string& locale, const std::string& signs) {
    return run("LC_ALL=" + locale + " " PEELFS_PROGRAM " ls --tree=" + signs + " " + disk_).output;
  };
  EXPECT_TRUE(contains(ls("C.UTF-8", "ascii"), "|-diskp1"));
  EXPECT_TRUE(contains(ls("C.UTF-8", "auto"), "├─diskp1"));
  EXPECT_TRUE(contains(ls("C", "unicode"), "├─diskp1"));
  EXPECT_TRUE(contains(ls("C", "auto"), "|-diskp1"));
}

TEST_F(Ls, ColumnsAreChosenAsForLsblk) {
  EXPECT_EQ(peelfs_apart("ls -n --tree ascii -o name,START,Sectors,offset,partn " + disk_).output,
            "disk\n"
            "|-diskp1  2048   16384 1048576     1\n"
            "`-diskp2 18432    8192 9437184     2\n");
  // A column that is asked for stays though nothing is in it.
  const std::string kept = peelfs_apart("ls -o NAME,HOLDER,SIZE " + disk_).output;
  EXPECT_TRUE(kept.starts_with("NAME     HOLDER SIZE\n")) << kept;
  const std::string more = peelfs_apart("ls -o +PTTYPE " + disk_).output;
  EXPECT_EQ(lines_of(more).front().substr(0, 15), "NAME     TYPE S") << more;
  EXPECT_TRUE(lines_of(more)[1].ends_with(" dos")) << more;
}

TEST_F(Ls, EveryColumnIsDocumentedAndCompleted) {
  SKIP_WITHOUT("bash");
  const std::string help = cli::help_text(*cli::find_verb("ls"));
  const Buffer manual = read_file(source_folder() + "/contrib/peelfs.1");
  const std::string offered =
      run("bash -c '. " + source_folder() +
          "/contrib/completion/peelfs.bash; COMP_WORDS=(peelfs ls -o \"\"); COMP_CWORD=3; _peelfs; "
          "printf \" %s \" \"${COMPREPLY[@]}\"' </dev/null 2>&1")
          .output;
  for (const cli::TreeColumn& column : cli::tree_columns()) {
    const std::string name(column.name);
    EXPECT_TRUE(contains(help, name)) << name;
    std::string roff = name;
    if (const std::size_t dash = roff.find('-'); dash != std::string::npos) roff.insert(dash, "\\");
    EXPECT_TRUE(contains(std::string(as_text(manual)), roff)) << name;
    EXPECT_TRUE(contains(offered, " " + name + " ")) << offered;
  }
}

/// Start, sectors, type by name and boot flag of each partition, as a program's words for them.
class Tables : public Ls, public ::testing::WithParamInterface<const char*> {};

TEST_P(Tables, ArePartitionedAsSfdiskSays) {
  const std::string path = folder_ / "table.img";
  must_run("truncate -s 200M " + path + " && printf '" + std::string(GetParam()) +
           "' | sfdisk -q " + path);
  const json table = json::parse(must_run("sfdisk -J " + path)).at("partitiontable");
  std::vector<std::string> names = lines_of(must_run("sfdisk -q -l -o Type " + path));
  names.erase(names.begin());
  const json devices = document(path);
  const json& found = devices.at(0).at("children");
  const json& expected = table.at("partitions");
  ASSERT_EQ(found.size(), expected.size());
  ASSERT_EQ(names.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const json& one = expected[i];
    SCOPED_TRACE(one.dump());
    EXPECT_EQ(found[i].at("start"), one.at("start"));
    EXPECT_EQ(found[i].at("offset"), one.at("start").get<std::uint64_t>() * 512);
    const bool extended = one.at("type") == "5" || one.at("type") == "f";
    // Of an extended partition there is its boot record to be seen, as with the kernel.
    EXPECT_EQ(found[i].at("sectors"), extended ? nlohmann::json(2) : one.at("size"));
    while (names[i].ends_with(' ')) names[i].pop_back();
    EXPECT_EQ(found[i].at("parttypename"), names[i]);
    const bool boot = one.value("bootable", false) ||
                      contains(one.value("attrs", std::string()), "LegacyBIOSBootable");
    EXPECT_EQ(found[i].at("boot"), boot);
    EXPECT_TRUE(one.at("node").get<std::string>().ends_with(
        std::to_string(found[i].at("partn").get<unsigned>())));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ls, Tables,
    ::testing::Values(
        "label: dos\nstart=63,size=8MiB,type=c,bootable\nsize=8MiB,type=82\n"
        "size=100MiB,type=f\nsize=8MiB,type=8e\nsize=8MiB,type=83\nsize=8MiB,type=7\n",
        "label: gpt\nsize=8MiB,type=uefi\nsize=8MiB,type=linux,attrs=LegacyBIOSBootable\n"
        "size=8MiB,type=lvm\nsize=8MiB,type=e3c9e316-0b5c-4db8-817d-f92df00215ae\n",
        "label: gpt\n3: size=8MiB,type=swap\n7: size=8MiB,type=raid\n"));

TEST_F(Ls, MembersOfABtrfsAreCounted) {
  SKIP_WITHOUT("mkfs.btrfs");
  const std::string one = folder_ / "one.img";
  const std::string two = folder_ / "two.img";
  const CommandResult made =
      run("truncate -s 130M " + one + " " + two +
          "; PATH=$PATH:/usr/sbin mkfs.btrfs -q -L pool -d raid1 -m raid1 " + one + " " + two);
  if (made.exit_code != 0) GTEST_SKIP() << made.output;
  EXPECT_TRUE(contains(must_run("PATH=$PATH:/usr/sbin btrfs inspect-internal dump-super " + one),
                       "num_devices\t\t2"));
  const std::string alone = peelfs_apart("ls -n -o MEMBERS,GROUP " + one).output;
  EXPECT_EQ(alone, "1 of 2  btrfs pool\n");
  const std::string both = peelfs_apart("ls -n -o MEMBERS " + one + " " + two).output;
  EXPECT_EQ(both, "2 of 2\n2 of 2\n");
  // A copy of one is not the other.
  must_run("cp " + one + " " + (folder_ / "copy.img"));
  EXPECT_EQ(peelfs_apart("ls -n -o MEMBERS " + one + " " + (folder_ / "copy.img")).output,
            "1 of 2\n1 of 2\n");
  EXPECT_TRUE(contains(peelfs_apart("ls -l " + one).output, "1 of 2"));
  // One device is no group.
  must_run("truncate -s 130M " + (folder_ / "single.img") +
           "; PATH=$PATH:/usr/sbin mkfs.btrfs -q " + (folder_ / "single.img"));
  EXPECT_FALSE(document(folder_ / "single.img").at(0).contains("group"));
}

TEST_F(Ls, TheHolderOfALockIsNamed) {
  SKIP_WITHOUT("qemu-io");
  must_run("(qemu-io -f raw -c 'sleep 4000' " + disk_ + " >/dev/null 2>&1 &) ; sleep 1");
  const std::string listed = peelfs_apart("ls -q -l " + disk_).output;
  EXPECT_TRUE(contains(listed, "\ndisk: in use: qemu-io (pid ")) << listed;
  EXPECT_TRUE(contains(listed, " writes it")) << listed;
  EXPECT_TRUE(contains(document("-q " + disk_).at(0).at("holder").get<std::string>(), "qemu-io"));
  EXPECT_FALSE(contains(peelfs_apart("ls -q " + disk_).output, "in use"));
  EXPECT_TRUE(
      wait_until([&] { return !contains(peelfs_apart("ls -q -l " + disk_).output, "in use"); }));
}

}  // namespace
}  // namespace peelfs::test
