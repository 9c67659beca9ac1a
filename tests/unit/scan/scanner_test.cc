// The scanner with layers made for the purpose: this program defines the table of layers itself.
#include "scan/scanner.h"
#include "peelfs/formats.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <set>
#include <sstream>

#include "peelfs/devices.h"
#include "scan/graph.h"
#include "support/support.h"

namespace peelfs {

namespace {

std::vector<std::string> words_of(const BlockDevice& device) {
  const Buffer head = read_up_to(device, 0, 64);
  std::istringstream text(ByteReader(head, "head").text(0, head.size()));
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  words.resize(std::max<std::size_t>(words.size(), 4));
  return words;
}

/// Layers of these tests begin with a line of words: MAGIC ARGUMENT...
template <const char* magic>
std::optional<Claim> probe_magic(const ProbeInput& input) {
  const auto words = words_of(input.device);
  if (words[0] != magic) return std::nullopt;
  Claim claim;
  claim.format = words[0];
  return claim;
}

constexpr char split_magic[] = "SPLIT";
constexpr char image_magic[] = "IMAGE";
constexpr char lock_magic[] = "LOCK";
constexpr char files_magic[] = "FILES";
constexpr char bomb_magic[] = "BOMB";
constexpr char refuse_magic[] = "REFUSE";
constexpr char shots_magic[] = "SHOTS";

DevicePtr rest_of(const Member& member) {
  return make_slice(member.device, 512, member.device->size() - 512, "rest");
}

Inner inner(std::string kind, std::string name, DevicePtr device) {
  Inner result;
  result.kind = std::move(kind);
  result.name = std::move(name);
  result.path = {result.name};
  result.device = std::move(device);
  return result;
}

/// Two partitions, of equal size, behind the first 512 bytes.
Opened open_split(const OpenInput& input) {
  const Member& member = input.members[0];
  const std::uint64_t half = (member.device->size() - 512) / 2;
  Opened opened;
  for (std::uint64_t i = 0; i < 2; ++i) {
    opened.devices.push_back(inner("part", member.stem + "p" + std::to_string(i + 1),
                                   make_slice(member.device, 512 + i * half, half, "half")));
    if (words_of(*member.device)[1] == "cut") {
      opened.devices.back().trouble = Trouble{Trouble::damaged, "the partition is cut off"};
    }
  }
  return opened;
}

Opened open_image(const OpenInput& input) {
  const Member& member = input.members[0];
  Opened opened;
  opened.devices.push_back(inner(
      "disk", member.unpacks_to_stem ? member.stem : member.stem + "_image", rest_of(member)));
  opened.trouble = Trouble{Trouble::note, "the image was not closed cleanly"};
  return opened;
}

Opened open_lock(const OpenInput& input) {
  const Member& member = input.members[0];
  const std::string wanted = words_of(*member.device)[1];
  for (const auto& key : input.keys.candidates({member.stem})) {
    if (as_text(key->bytes()) != wanted) continue;
    Opened opened;
    opened.devices.push_back(inner("crypt", member.tail + "_crypt", rest_of(member)));
    return opened;
  }
  Opened locked;
  locked.trouble = Trouble{Trouble::locked, "no key fits"};
  return locked;
}

Opened open_files(const OpenInput& input) {
  Opened opened;
  if (input.image_depth >= input.limits.search_depth) return opened;
  Inner file = inner("file", "guest.img", rest_of(input.members[0]));
  file.stem = "guest";
  file.image_file = true;
  opened.devices.push_back(std::move(file));
  return opened;
}

Opened open_bomb(const OpenInput& input) {
  Opened opened;
  opened.devices.push_back(inner("part", "b", input.members[0].device));
  opened.devices.push_back(inner("part", "c", input.members[0].device));
  return opened;
}

Opened open_refuse(const OpenInput&) {
  throw Error(Fault::damaged, "table is damaged").found("3").expected("4");
}

/// GROUP name member-uuid count [generation]: a member with another generation than the first is
/// stale. With "claimed:N" as count the members say how many they are, and opening does not.
std::optional<Claim> probe_group(const ProbeInput& input) {
  const auto words = words_of(input.device);
  if (words[0] != "GROUP") return std::nullopt;
  Claim claim;
  claim.format = "GROUP";
  claim.uuid = words[2];
  claim.membership = Membership{words[1] == "?" ? "" : words[1], "", words[2]};
  if (words[3].starts_with("claimed:")) {
    claim.membership->expected = static_cast<unsigned>(std::stoul(words[3].substr(8)));
  }
  if (words.size() > 4) claim.membership->generation = std::stoul(words[4]);
  return claim;
}

Opened open_group(const OpenInput& input) {
  const std::string count = words_of(*input.members[0].device)[3];
  const std::size_t wanted = count.starts_with("claimed:") ? 0 : std::stoul(count);
  Opened opened;
  for (std::size_t i = 1; i < input.members.size(); ++i) {
    const Membership& first = *input.members[0].claim->membership;
    const Membership& other = *input.members[i].claim->membership;
    if (other.group.empty() || other.generation == first.generation) continue;
    opened.reports.push_back({i, {Trouble::note, "it is stale"}, true});
  }
  std::vector<Piece> pieces;
  for (const Member& member : input.members) {
    pieces.push_back({member.device, 512, member.device->size() - 512});
  }
  opened.devices.push_back(inner("lvm", input.members[0].claim->membership->group + "-lv",
                                 make_concat(pieces, Error(Fault::missing, "gone"), "lv")));
  for (std::size_t i = 0; i < input.members.size(); ++i) {
    if (input.members[i].claim->membership->group.empty()) opened.adopted.push_back(i);
  }
  if (input.members.size() < wanted)
    opened.trouble = Trouble{Trouble::degraded, "a member is missing"};
  return opened;
}

/// SHOTS name:seconds...: a disk and its snapshots, in pieces of 1024 bytes each.
Opened open_shots(const OpenInput& input) {
  const Member& member = input.members[0];
  Opened opened;
  std::uint64_t at = 512;
  for (const std::string& word : words_of(*member.device)) {
    if (word.empty()) continue;
    const bool live = word == "SHOTS";
    const std::size_t colon = word.find(':');
    Inner one =
        inner(live ? "disk" : "snapshot", member.stem + (live ? "" : "@" + word.substr(0, colon)),
              make_slice(member.device, at, 1024, "shot"));
    if (!live) {
      one.moment = Moment{word.substr(0, colon),
                          static_cast<std::uint32_t>(std::stoul(word.substr(colon + 1))), 0};
    }
    opened.devices.push_back(std::move(one));
    at += 1024;
  }
  return opened;
}

std::optional<Claim> probe_throw(const ProbeInput& input) {
  if (words_of(input.device)[0] == "THROW") throw Error(Fault::damaged, "mine, but unreadable");
  return std::nullopt;
}

const Formats& table() {
  static constexpr std::array<std::string_view, 1> suffixes{".qcow2"};
  static constexpr std::array rows{
      Layer{"shots", &probe_magic<shots_magic>, &open_shots, {.image = true}},
      Layer{.name = "image",
            .probe = &probe_magic<image_magic>,
            .open = &open_image,
            .traits = {.image = true},
            .suffixes = suffixes},
      Layer{"throw", &probe_throw, &open_refuse},
      Layer{"luks", &probe_magic<lock_magic>, &open_lock, {.detached_header = true}},
      Layer{"group", &probe_group, &open_group},
      Layer{"split", &probe_magic<split_magic>, &open_split},
      Layer{"files", &probe_magic<files_magic>, &open_files},
      Layer{"bomb", &probe_magic<bomb_magic>, &open_bomb},
      Layer{"refuse", &probe_magic<refuse_magic>, &open_refuse},
  };
  static constexpr Formats formats{rows};
  return formats;
}

class ScannerTest : public ::testing::Test {
 protected:
  static Buffer block(const std::string& head, const Buffer& content) {
    Buffer bytes(512);
    std::copy_n(as_bytes(head).data(), head.size(), bytes.data());
    bytes.insert(bytes.end(), content.begin(), content.end());
    return bytes;
  }
  static Buffer join(Buffer a, const Buffer& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  /// A disk with snapshots, on each of them a member of a group with bytes of its own.
  static Buffer shots(const std::string& names, const std::string& member, std::uint64_t seed) {
    Buffer bytes;
    const auto count = 2 + std::count(names.begin(), names.end(), ' ');
    for (int i = 0; i < count; ++i) bytes = join(bytes, block(member, plain(seed + i, 512)));
    return block("SHOTS " + names, bytes);
  }
  static Buffer plain(std::uint64_t seed = 1, std::size_t size = 4096) {
    return test::pattern(size, seed);
  }

  void add(const std::string& name, const Buffer& bytes, bool raw = false) {
    const std::string path = directory_ / name;
    test::write_file(path, bytes);
    const SourceSpec spec{path, "", raw};
    OpenedSources opened = open_sources({&spec, 1}, {}, table());
    ASSERT_TRUE(opened.failures.empty());
    scanner_.add(opened.sources.front());
  }
  /// One line a device, in the order of the tree: "name(kind,state) < parents".
  std::string tree() {
    scanner_.settle();
    return printed();
  }
  std::string printed() {
    std::ostringstream text;
    const auto tree = scanner_.tree();
    for (const auto& [id, node] : tree->nodes) {
      text << node->name << "(" << node->kind;
      if (node->hidden) text << ",hidden";
      if (node->trouble) text << "," << node->trouble->state;
      text << ")";
      for (const std::uint64_t parent : node->parents) text << " < " << tree->at(parent).name;
      text << "\n";
    }
    return text.str();
  }
  const Node& node(const std::string& name) {
    const auto tree = scanner_.tree();
    for (const auto& [id, node] : tree->nodes) {
      if (node->name == name) return *(kept_ = node);
    }
    ADD_FAILURE() << "no " << name;
    return *kept_;
  }

  test::TemporaryDirectory directory_;
  Limits limits_;
  std::shared_ptr<KeyRing> keys_ = std::make_shared<KeyRing>();
  Scanner scanner_{table(), limits_, keys_, {}};
  std::shared_ptr<const Node> kept_;
};

TEST_F(ScannerTest, ARawSourceIsADisk) {
  add("disk.img", plain());
  EXPECT_EQ(tree(), "disk(disk)\n");
}

TEST_F(ScannerTest, PartitionsInPartitions) {
  add("disk.img", block("SPLIT", join(block("SPLIT", plain()), plain(2, 4608))));
  EXPECT_EQ(tree(),
            "disk(disk)\ndiskp1(part) < disk\ndiskp2(part) < disk\n"
            "diskp1p1(part) < diskp1\ndiskp1p2(part) < diskp1\n");
}

TEST_F(ScannerTest, AnImageFormatTakesTheSourcesPlaceWithItsTrouble) {
  add("os43.qcow2", block("IMAGE", block("SPLIT", plain())));
  EXPECT_EQ(tree(),
            "os43.qcow2(file,hidden,note)\nos43(disk,note) < os43.qcow2\n"
            "os43p1(part) < os43\nos43p2(part) < os43\n");
}

TEST_F(ScannerTest, RawMeansNoImageFormatAtFirst) {
  add("os43.qcow2", block("IMAGE", plain()), true);
  EXPECT_EQ(tree(), "os43(disk)\n");
}

TEST_F(ScannerTest, ImageFilesUnpackToDisksOfTheirStem) {
  add("host.img", block("FILES", block("SPLIT", plain())));
  EXPECT_EQ(tree(),
            "host(disk)\nguest.img(file) < host\nguest(disk) < guest.img\n"
            "guestp1(part) < guest\nguestp2(part) < guest\n");
  EXPECT_EQ(node("guestp1").image_depth, 1U);
}

TEST_F(ScannerTest, AnImageFormatInAFile) {
  add("host.img", block("FILES", block("IMAGE", plain())));
  EXPECT_EQ(tree(), "host(disk)\nguest.img(file,note) < host\nguest(disk) < guest.img\n");
}

TEST_F(ScannerTest, DepthBoundsTheSearch) {
  Buffer bytes = plain();
  for (int i = 0; i < 6; ++i) bytes = block("FILES", bytes);
  add("host.img", bytes);
  scanner_.settle();
  unsigned files = 0;
  for (const auto& [id, node] : scanner_.tree()->nodes) files += node->kind == "file" ? 1 : 0;
  EXPECT_EQ(files, limits_.search_depth);
}

TEST_F(ScannerTest, DamageStaysVisibleWithItsReason) {
  add("a.img", block("REFUSE", plain()));
  add("b.img", block("THROW", plain()));
  EXPECT_EQ(tree(), "a(disk,damaged)\nb(disk,damaged)\n");
  EXPECT_EQ(node("a").trouble->reason, "table is damaged (found 3, expected 4)");
}

TEST_F(ScannerTest, DamageInAnImageFileIsTheDisks) {
  add("host.img", block("FILES", block("THROW", plain())));
  EXPECT_EQ(tree(), "host(disk)\nguest.img(file) < host\nguest(disk,damaged) < guest.img\n");
}

TEST_F(ScannerTest, BombsAreCapped) {
  limits_.devices = 2000;
  Scanner scanner(table(), limits_, keys_, {});
  test::write_file(directory_ / "a.img", block("BOMB", plain()));
  const SourceSpec spec{directory_ / "a.img", "", false};
  scanner.add(open_sources({&spec, 1}, {}, table()).sources.front());
  scanner.settle();
  EXPECT_EQ(scanner.tree()->nodes.size(), limits_.devices);
  bool said = false;
  for (const auto& [id, node] : scanner.tree()->nodes) said |= node->trouble.has_value();
  EXPECT_TRUE(said);
}

TEST_F(ScannerTest, UnlockShowsWhatIsInside) {
  add("a.img", block("LOCK sesame", block("SPLIT", plain())));
  EXPECT_EQ(tree(), "a(disk,locked)\n");
  const std::uint64_t id = node("a").id;
  KeyRing wrong;
  wrong.add_for_all(Secret(as_bytes("open")));
  EXPECT_FALSE(scanner_.retry(id, wrong));
  EXPECT_EQ(printed(), "a(disk,locked)\n");
  KeyRing right;
  right.add_for_all(Secret(as_bytes("sesame")));
  const auto before = scanner_.tree();
  EXPECT_TRUE(scanner_.retry(id, right));
  EXPECT_EQ(printed(),
            "a(disk)\na_crypt(crypt) < a\na_cryptp1(part) < a_crypt\na_cryptp2(part) < a_crypt\n");
  EXPECT_EQ(before->nodes.size(), 1U) << "a published tree never changes";
}

TEST_F(ScannerTest, WhatWasWrittenIsPeeledAfresh) {
  add("disk.img", block("SPLIT", join(block("SPLIT", plain()), plain(2, 4608))));
  tree();
  const std::uint64_t disk = node("disk").id;
  const std::uint64_t part = node("diskp1").id;
  const DevicePtr disk_device = node("disk").device;
  const DevicePtr second = node("diskp2").device;
  const DevicePtr inside = node("diskp1p1").device;
  const auto write = [&](std::uint64_t offset, const std::string& text) {
    std::fstream file(directory_ / "disk.img", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file << text;
  };
  scanner_.repeel({part});
  EXPECT_EQ(node("diskp1p1").device == inside, false) << "made anew, though it is the same";
  EXPECT_EQ(node("diskp2").device, second) << "what does not lie on it stays";
  write(512, "nothing");
  scanner_.repeel({part, 12345});
  EXPECT_EQ(printed(), "disk(disk)\ndiskp1(part) < disk\ndiskp2(part) < disk\n");
  EXPECT_EQ(node("diskp1").layer, "");
  write(512, "SPLIT  ");
  scanner_.repeel({part});
  EXPECT_EQ(node("diskp1p2").kind, "part");
  // An image format that was written to a disk is not followed.
  write(0, "IMAGE");
  scanner_.repeel({disk});
  EXPECT_EQ(printed(), "disk(disk)\n");
  EXPECT_EQ(node("disk").device, disk_device);
}

TEST_F(ScannerTest, AMemberThatIsNoneAnyMoreLeavesItsGroup) {
  add("a.img", block("GROUP g 1 2", plain()));
  add("b.img", block("GROUP g 2 2", plain(2)));
  const std::string whole = tree();
  const std::uint64_t a = node("a").id;
  const std::uint64_t b = node("b").id;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::fstream file(directory_ / name, std::ios::in | std::ios::out | std::ios::binary);
    file << text;
  };
  write("a.img", "xxxxx");
  scanner_.repeel({a});
  EXPECT_NE(printed(), whole);
  write("b.img", "xxxxx");
  scanner_.repeel({b});
  EXPECT_EQ(printed(), "a(disk)\nb(disk)\n");
  write("b.img", "GROUP");
  scanner_.repeel({b});
  write("a.img", "GROUP");
  scanner_.repeel({a});
  EXPECT_EQ(printed(), whole);
}

TEST_F(ScannerTest, GroupsAreOpenedOnceAllMembersAreThere) {
  add("a.img", block("GROUP vg u1 2", plain(1)));
  add("b.img", block("SPLIT", join(block("GROUP vg u2 2", plain(2, 1536)), plain(3, 2048))));
  EXPECT_EQ(tree(), "a(disk)\nb(disk)\nbp1(part) < b\nbp2(part) < b\nvg-lv(lvm) < a < bp1\n");
}

TEST_F(ScannerTest, AMemberThatWasLockedCompletesItsGroup) {
  add("a.img", block("GROUP vg u1 2", plain(1)));
  add("b.img", block("LOCK k", block("GROUP vg u2 2", plain(2))));
  EXPECT_EQ(tree(), "a(disk,degraded)\nb(disk,locked)\nvg-lv(lvm) < a\n");
  EXPECT_NE(node("a").group, 0U);
  EXPECT_TRUE(node("a").group_incomplete);
  const std::uint64_t lv = node("vg-lv").id;
  KeyRing ring;
  ring.add_for_all(Secret(as_bytes("k")));
  EXPECT_TRUE(scanner_.retry(node("b").id, ring));
  EXPECT_NE(node("vg-lv").id, lv) << "another device: the old one lacked a part";
  EXPECT_EQ(node("vg-lv").device->size(), 8192U);
  EXPECT_FALSE(node("a").trouble);
  EXPECT_FALSE(node("a").group_incomplete);
  const std::uint64_t group = node("a").group;
  EXPECT_EQ(node("b_crypt").group, group);
}

TEST_F(ScannerTest, WhatAPartitionTableSaidOfAMemberStays) {
  add("a.img", block("SPLIT cut", join(block("GROUP vg u1 1", plain(1, 1536)),
                                       block("LOCK k", plain(2, 1536)))));
  EXPECT_EQ(tree(), "a(disk)\nap1(part,damaged) < a\nap2(part,locked) < a\nvg-lv(lvm) < ap1\n");
  EXPECT_EQ(node("ap1").trouble->reason, "the partition is cut off");
  KeyRing ring;
  ring.add_for_all(Secret(as_bytes("k")));
  EXPECT_TRUE(scanner_.retry(node("ap2").id, ring));
  EXPECT_EQ(node("ap2").trouble->reason, "the partition is cut off");
}

TEST_F(ScannerTest, ClonesNeverMix) {
  for (const std::uint64_t i : {1, 2}) {
    add("vm" + std::to_string(i) + ".img",
        block("SPLIT", join(block("GROUP vg u1 2", plain(i, 512)),
                            block("GROUP vg u2 2", plain(10 + i, 512)))));
  }
  scanner_.settle();
  unsigned volumes = 0;
  const auto tree = scanner_.tree();
  for (const auto& [id, node] : tree->nodes) {
    if (node->kind != "lvm") continue;
    ++volumes;
    ASSERT_EQ(node->parents.size(), 2U);
    const Node& first = tree->at(node->parents[0]);
    const Node& second = tree->at(node->parents[1]);
    EXPECT_EQ(first.parents, second.parents) << "both from one source";
    const std::uint64_t which = tree->at(first.parents[0]).name == "vm1" ? 1 : 2;
    EXPECT_EQ(read_bytes(*node->device, 0, 512), plain(which, 512));
  }
  EXPECT_EQ(volumes, 2U);
}

TEST_F(ScannerTest, HomelessMembersAreOfferedToTheGroup) {
  add("a.img", block("GROUP vg u1 2", plain(1)));
  add("b.img", block("GROUP ? u2 2", plain(2)));
  EXPECT_EQ(tree(), "a(disk)\nb(disk)\nvg-lv(lvm) < a\n");
  EXPECT_EQ(node("vg-lv").device->size(), 8192U);
}

TEST_F(ScannerTest, AHomelessMemberAloneSaysSo) {
  add("b.img", block("GROUP ? u2 2", plain(2)));
  EXPECT_EQ(tree(), "b(disk,missing)\n");
}

TEST_F(ScannerTest, WhatIsSaidOfOneMemberStandsThereAlone) {
  add("a.img", block("GROUP vg u1 2 7", plain(1)));
  add("b.img", block("GROUP vg u2 2 5", plain(2)));
  EXPECT_EQ(tree(), "a(disk)\nb(disk,note)\nvg-lv(lvm) < a < b\n");
  EXPECT_FALSE(node("a").stale);
  EXPECT_TRUE(node("b").stale);
  EXPECT_EQ(node("b").trouble->reason, "it is stale");
  EXPECT_EQ(node("b").membership->member, "u2");
  EXPECT_EQ(node("b").membership->generation, 5U);
  test::write_file(directory_ / "b.img", block("GROUP vg u2 2 7", plain(2)));
  scanner_.repeel({node("b").id});
  EXPECT_FALSE(node("b").stale);
  EXPECT_FALSE(node("b").trouble);
}

TEST_F(ScannerTest, AGroupThatHasFewerMembersThanTheySayIsIncomplete) {
  add("a.img", block("GROUP vg u1 claimed:2", plain(1)));
  EXPECT_EQ(tree(), "a(disk)\nvg-lv(lvm) < a\n");
  EXPECT_TRUE(node("a").group_incomplete);
  EXPECT_EQ(node("a").membership->expected, 2U);
  add("b.img", block("GROUP vg u2 claimed:2", plain(2)));
  EXPECT_EQ(tree(), "a(disk)\nb(disk)\nvg-lv(lvm) < a < b\n");
  EXPECT_FALSE(node("a").group_incomplete);
}

TEST_F(ScannerTest, DetachedHeaders) {
  const Buffer header = block("LOCK k", {});
  keys_->add_for_all(Secret(as_bytes("k")));
  Scanner scanner(table(), limits_, keys_,
                  {{.device = "data", .header = std::make_shared<test::MemoryDevice>(header)},
                   {.device = "nobody", .header = std::make_shared<test::MemoryDevice>(header)}});
  test::write_file(directory_ / "data.img", block("LOCK k", plain()));
  const SourceSpec spec{directory_ / "data.img", "", false};
  scanner.add(open_sources({&spec, 1}, {}, table()).sources.front());
  scanner.settle();
  EXPECT_EQ(scanner.tree()->nodes.size(), 2U);
  ASSERT_EQ(scanner.unused_directives().size(), 1U);
  EXPECT_EQ(scanner.unused_directives().front().device, "nobody");
}

// --- moments ---

TEST_F(ScannerTest, MembersOfOtherMomentsAreNotMixed) {
  // a: now, s1, s2; b: now, s2. In order, b's first snapshot would join a's first one.
  add("a.img", shots("s1:1700000000 s2:1700003600", "GROUP vg u1 2", 10));
  add("b.img", shots("s2:1700003602", "GROUP vg u2 2", 20));
  scanner_.settle();
  const auto tree = scanner_.tree();
  std::multiset<std::string> shown;
  for (const auto& [id, node] : tree->nodes) {
    if (node->kind != "lvm") continue;
    std::string line;
    for (const std::uint64_t parent : node->parents) line += tree->at(parent).name + " ";
    shown.insert(line);
  }
  EXPECT_EQ(shown, (std::multiset<std::string>{"a b ", "a@s1 ", "a@s2 b@s2 "}));
  EXPECT_NE(node("a@s1").trouble->reason.find("members of another moment are not mixed with a@s1 "
                                              "(taken at 2023-11-14 22:13:20 UTC): u2 is in b of "),
            std::string::npos)
      << node("a@s1").trouble->reason;
  EXPECT_FALSE(node("a").trouble);
}

TEST_F(ScannerTest, SnapshotsTakenOneAfterTheOtherAreJoinedAndSaidToBe) {
  add("a.img", shots("s:1700000000 t:1700000100", "GROUP vg u1 2", 10));
  add("b.img", shots("s:1700000008 t:1700000100", "GROUP vg u2 2", 20));
  scanner_.settle();
  const auto tree = scanner_.tree();
  const std::string apart =
      "snapshots taken 8 seconds apart, from 2023-11-14 22:13:20 to 2023-11-14 22:13:28 UTC; if "
      "the guest ran meanwhile, ";
  unsigned volumes = 0;
  for (const auto& [id, node] : tree->nodes) {
    if (node->kind != "lvm") continue;
    ++volumes;
    ASSERT_EQ(node->parents.size(), 2U);
    const bool joined = tree->at(node->parents.front()).name == "a@s";
    EXPECT_EQ(node->trouble.has_value(), joined);
    if (!joined || !node->trouble) continue;
    EXPECT_EQ(node->trouble->state, Trouble::note);
    EXPECT_EQ(node->trouble->reason, "its members are " + apart + "this mixes them");
  }
  EXPECT_EQ(volumes, 3U);
  for (const char* const name : {"a@s", "b@s"}) {
    ASSERT_TRUE(node(name).trouble) << name;
    EXPECT_EQ(node(name).trouble->state, Trouble::note);
    EXPECT_EQ(node(name).trouble->reason,
              "the members of its group are " + apart + "what lies on them is mixed");
    EXPECT_FALSE(node(name).group_incomplete);
  }
  for (const char* const name : {"a", "b", "a@t", "b@t"}) EXPECT_FALSE(node(name).trouble) << name;
}

TEST_F(ScannerTest, AHomelessMemberIsNearAllOthers) {
  // c is 10 seconds from b, and 20 from a.
  add("b.img", shots("s:1700000010", "GROUP vg u2 3", 10));
  add("a.img", shots("s:1700000000", "GROUP vg u1 3", 20));
  add("c.img", shots("s:1700000020", "GROUP ? u3 3", 30));
  scanner_.settle();
  EXPECT_EQ(node("b@s").trouble->state, Trouble::degraded);
  EXPECT_EQ(node("c@s").trouble->state, Trouble::missing);
  EXPECT_FALSE(node("c").trouble);
}

TEST_F(ScannerTest, AHomelessMemberIsOfOneMomentToo) {
  add("a.img", shots("s1:1700000000", "GROUP vg u1 2", 10));
  add("b.img", shots("s2:1700000000", "GROUP ? u2 2", 20));
  scanner_.settle();
  const auto tree = scanner_.tree();
  for (const auto& [id, node] : tree->nodes) {
    if (node->kind != "lvm") continue;
    EXPECT_EQ(node->device->size() > 512, node->parents.front() == this->node("a").id)
        << "only the live ones are together";
  }
  EXPECT_EQ(node("a@s1").trouble->state, Trouble::degraded);
  EXPECT_EQ(node("b@s2").trouble->state, Trouble::missing);
}

TEST_F(ScannerTest, AHomelessMemberOfWhichThereAreTwoIsNotGuessed) {
  add("a.img", block("GROUP vg u1 2", plain(1)));
  add("b.img", block("GROUP ? u2 2", plain(2)));
  add("c.img", block("GROUP ? u2 2", plain(3)));
  EXPECT_EQ(tree(), "a(disk,degraded)\nb(disk,missing)\nc(disk,missing)\nvg-lv(lvm) < a\n");
}

TEST_F(ScannerTest, WhatIdentificationMayReadEnds) {
  limits_.run_identify_bytes = 10'000;
  Scanner scanner(table(), limits_, keys_, {});
  for (const char* const name : {"a.img", "b.img", "c.img", "d.img"}) {
    test::write_file(directory_ / name, block("SPLIT", plain()));
    const SourceSpec spec{directory_ / name, "", false};
    scanner.add(open_sources({&spec, 1}, {}, table()).sources.front());
  }
  scanner.settle();
  unsigned left_out = 0;
  for (const auto& [id, node] : scanner.tree()->nodes) {
    left_out += node->trouble && node->trouble->reason.starts_with("not looked into") ? 1 : 0;
  }
  EXPECT_GT(left_out, 1U);
  ASSERT_EQ(scanner.endings().size(), 1U);
  EXPECT_NE(scanner.endings().front().find("--identify-bytes"), std::string::npos);
}

// --- troubles ---

}  // namespace
}  // namespace peelfs
