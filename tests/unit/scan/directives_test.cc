// Devices that are opened as a person says.
#include <gtest/gtest.h>

#include <array>

#include "rows.h"

namespace peelfs::test {
namespace {

constexpr char kImage[] = "IMAGE";
constexpr char kPack[] = "PACK";
constexpr char kSplit[] = "SPLIT";
constexpr char kFiles[] = "FILES";
constexpr char kLock[] = "LOCK";

template <const char* kName>
Opened open_image(const OpenInput& input) {
  const Member& member = input.members.front();
  Opened opened;
  opened.devices.push_back(behind_head(
      member, "disk", member.unpacks_to_stem ? member.stem : member.stem + "_" + kName));
  opened.devices.front().partlabel = kName;
  return opened;
}

Opened open_split(const OpenInput& input) {
  Opened opened;
  opened.devices.push_back(
      behind_head(input.members.front(), "part", input.members.front().stem + "p1"));
  opened.devices.front().partuuid = "1234-01";
  return opened;
}

Opened open_files(const OpenInput& input) {
  Opened opened;
  Inner file = behind_head(input.members.front(), "file", "guest.img");
  file.stem = "guest";
  file.image_file = true;
  opened.devices.push_back(std::move(file));
  return opened;
}

/// Opens with a detached header that begins with LOCK, or by its own.
Opened open_lock(const OpenInput& input) {
  const Member& member = input.members.front();
  const bool is_detached = input.directive != nullptr && input.directive->header != nullptr;
  const BlockDevice& header = is_detached ? *input.directive->header : *member.device;
  if (first_word(header) != kLock) throw Error(Fault::missing, "that is no header");
  Opened opened;
  opened.devices.push_back(behind_head(member, "crypt", member.tail + "_crypt"));
  return opened;
}

/// Has no magic: what the person says is all that is known of it.
Opened open_plain(const OpenInput& input) {
  if (input.directive == nullptr) throw Error(Fault::damaged, "opened without a directive");
  const Member& member = input.members.front();
  const auto offset = input.directive->options.find("offset");
  const std::uint64_t skip =
      offset == input.directive->options.end() ? 0 : std::stoul(offset->second);
  Opened opened;
  opened.devices.push_back(behind_head(member, "crypt", member.tail + "_plain"));
  opened.devices.front().device =
      make_slice(member.device, skip, member.device->size() - skip, "plain");
  return opened;
}

const Formats& table() {
  static constexpr std::array<std::string_view, 2> suffixes{".img", ".pack"};
  static constexpr std::array<std::string_view, 1> image{"image"};
  static constexpr std::array<std::string_view, 1> pack{"pack"};
  static constexpr std::array<std::string_view, 2> split{"split", "SPLIT"};
  static constexpr std::array<std::string_view, 1> files{"files"};
  static constexpr std::array<std::string_view, 1> lock{"lock"};
  static constexpr std::array<std::string_view, 1> plain{"plain"};
  static constexpr std::array<std::string_view, 2> options{"cipher", "offset"};
  static constexpr std::array rows{
      Layer{.name = "image",
            .probe = &probe_word<kImage>,
            .open = &open_image<kImage>,
            .traits = {.image = true},
            .suffixes = suffixes,
            .kinds = image},
      // Claims what the row above claims, too: two readings of one device.
      Layer{.name = "pack",
            .probe =
                [](const ProbeInput& input) {
                  auto claim = probe_word<kPack>(input);
                  return claim ? claim : probe_word<kImage>(input);
                },
            .open = &open_image<kPack>,
            .traits = {.image = true},
            .kinds = pack},
      Layer{.name = "lock",
            .probe = &probe_word<kLock>,
            .open = &open_lock,
            .traits = {.encryption = true, .detached_header = true},
            .kinds = lock},
      Layer{.name = "split", .probe = &probe_word<kSplit>, .open = &open_split, .kinds = split},
      Layer{.name = "files", .probe = &probe_word<kFiles>, .open = &open_files, .kinds = files},
      Layer{.name = "plain", .open = &open_plain, .kinds = plain, .options = options},
  };
  static constexpr Formats formats{rows};
  return formats;
}

class Directives : public ::testing::Test {
 protected:
  static Buffer plain() { return pattern(4096, 1); }

  void add(const std::string& name, const Buffer& bytes) { write_file(folder_ / name, bytes); }

  /// The tree of these sources, each NAME or raw:NAME.
  std::string scan(std::vector<Directive> directives, const std::vector<std::string>& sources) {
    for (const Directive& one : directives) table().check(one);
    const auto shared = std::make_shared<const std::vector<Directive>>(directives);
    scanner_ = std::make_unique<Scanner>(table(), Limits{}, std::make_shared<KeyRing>(),
                                         std::move(directives));
    for (std::string name : sources) {
      SourceSpec spec;
      spec.raw = name.starts_with("raw:");
      spec.path = folder_ / name.substr(spec.raw ? 4 : 0);
      spec.directives = shared;
      const OpenedSources opened = open_sources({&spec, 1}, {}, table());
      for (const SourceFailure& failure : opened.failures) failure_ = failure.error.what();
      for (const Source& source : opened.sources) scanner_->add(source);
    }
    scanner_->settle();
    return printed(*scanner_->tree());
  }
  std::string trouble(const std::string& name) { return trouble_of(*scanner_->tree(), name); }
  static std::string usage_of(const Directive& directive) {
    try {
      table().check(directive);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::usage);
      return error.what();
    }
  }

  TemporaryDirectory folder_;
  std::unique_ptr<Scanner> scanner_;
  std::string failure_;
};

TEST_F(Directives, WhatHasNoMagicIsOpenedOnlySo) {
  add("a.img", plain());
  EXPECT_EQ(scan({}, {"a.img"}), "a(disk)\n");
  EXPECT_EQ(scan({{.device = "a", .kind = "plain"}}, {"a.img"}), "a(disk)\na_plain(crypt) < a\n");
  EXPECT_TRUE(scanner_->unused_directives().empty());
  const std::string offset =
      scan({{.device = "a", .kind = "plain", .options = {{"offset", "1024"}}}}, {"a.img"});
  EXPECT_EQ(offset, "a(disk)\na_plain(crypt) < a\n");
  EXPECT_EQ(find_node(*scanner_->tree(), "a_plain")->device->size(), 3072U);
}

TEST_F(Directives, EveryNameOfADeviceIsOne) {
  add("a.img", block("SPLIT", plain()));
  for (const char* const name : {"ap1", "1234-01"}) {
    EXPECT_EQ(scan({{.device = name, .kind = "plain"}}, {"a.img"}),
              "a(disk)\nap1(part) < a\nap1_plain(crypt) < ap1\n")
        << name;
  }
  for (const std::string& name : {std::string("a"), std::string("a.img"), folder_ / "a.img"}) {
    EXPECT_EQ(scan({{.device = name, .kind = "plain"}}, {"a.img"}),
              "a(disk)\na_plain(crypt) < a\na_plainp1(part) < a_plain\n")
        << name;
  }
}

TEST_F(Directives, OfTwoReadingsThePersonsIsTaken) {
  add("a.img", block("IMAGE", plain()));
  scan({}, {"a.img"});
  EXPECT_EQ(find_node(*scanner_->tree(), "a")->partlabel, kImage);
  // The stem is the name of the disk inside, too, which is not asked to be an image itself.
  for (const char* const name : {"a", "a.img"}) {
    EXPECT_EQ(scan({{.device = name, .kind = "pack"}}, {"a.img"}),
              "a.img(file,hidden)\na(disk) < a.img\n");
    EXPECT_EQ(find_node(*scanner_->tree(), "a")->partlabel, kPack);
  }
}

TEST_F(Directives, RawLooksForNoImageFormat) {
  add("a.img", block("IMAGE", block("SPLIT", plain())));
  for (const char* const name : {"a", "a.img"}) {
    EXPECT_EQ(scan({{.device = name, .kind = "raw"}}, {"a.img"}), "a(disk)\n");
  }
  add("b.img", block("SPLIT", block("IMAGE", plain())));
  EXPECT_EQ(scan({}, {"b.img"}), "b(disk)\nbp1(part) < b\nbp1_IMAGE(disk) < bp1\n");
  EXPECT_EQ(scan({{.device = "bp1", .kind = "raw"}}, {"b.img"}), "b(disk)\nbp1(part) < b\n");
  EXPECT_EQ(scan({{.device = "b", .kind = "raw"}}, {"b.img"}),
            "b(disk)\nbp1(part) < b\nbp1_IMAGE(disk) < bp1\n")
      << "said of the disk, not of what lies in it";
}

TEST_F(Directives, NoneLooksIntoNothingAndSaysSo) {
  add("a.img", block("SPLIT", block("SPLIT", plain())));
  EXPECT_EQ(scan({{.device = "ap1", .kind = "none"}}, {"a.img"}), "a(disk)\nap1(part,note) < a\n");
  EXPECT_EQ(trouble("ap1"), "note: not looked into: --as says so");
  // Of an image by its stem it is said of the disk in it, by its file name of the file.
  add("b.img", block("IMAGE", block("SPLIT", plain())));
  EXPECT_EQ(scan({{.device = "b", .kind = "none"}}, {"b.img"}),
            "b.img(file,hidden)\nb(disk,note) < b.img\n");
  EXPECT_EQ(scan({{.device = "b.img", .kind = "none"}}, {"b.img"}), "b(disk,note)\n");
}

TEST_F(Directives, AnImageFileInAFilesystem) {
  add("host.img", block("FILES", block("SPLIT", plain())));
  EXPECT_EQ(scan({{.device = "guest", .kind = "none"}}, {"host.img"}),
            "host(disk)\nguest.img(file) < host\nguest(disk,note) < guest.img\n");
  EXPECT_EQ(scan({{.device = "guest.img", .kind = "none"}}, {"host.img"}),
            "host(disk)\nguest.img(file,note) < host\n");
  EXPECT_EQ(scan({{.device = "guest.img", .kind = "pack"}}, {"host.img"}),
            "host(disk)\nguest.img(file,denied) < host\n");
  add("host2.img", block("FILES", block("IMAGE", block("SPLIT", plain()))));
  EXPECT_EQ(scan({{.device = "guest", .kind = "raw"}}, {"host2.img"}),
            "host2(disk)\nguest.img(file) < host2\nguest(disk) < guest.img\n");
}

TEST_F(Directives, ADeviceThatIsNoSuchThing) {
  add("a.img", block("SPLIT", plain()));
  add("b.img", plain());
  EXPECT_EQ(
      scan({{.device = "a", .kind = "files"}, {.device = "b", .kind = "lock"}}, {"a.img", "b.img"}),
      "a(disk,denied)\nb(disk,denied)\n");
  EXPECT_EQ(
      trouble("a"),
      "denied: --as: a is no files (found SPLIT, expected the signature of files); leave --as "
      "out, or name what it is");
  EXPECT_NE(trouble("b").find("b is no lock (found nothing that is known"), std::string::npos);
  EXPECT_EQ(scanner_->refused_directives().size(), 2U);
  EXPECT_TRUE(scanner_->unused_directives().empty());
}

TEST_F(Directives, UnusedOnesAreTold) {
  add("a.img", plain());
  scan({{.device = "nobody", .kind = "plain"}, {.device = "a", .kind = "none"}}, {"a.img"});
  ASSERT_EQ(scanner_->unused_directives().size(), 1U);
  EXPECT_EQ(scanner_->unused_directives().front().device, "nobody");
  EXPECT_TRUE(scanner_->refused_directives().empty());
}

TEST_F(Directives, WhatMakesNoSenseIsRefused) {
  EXPECT_EQ(usage_of({.device = "a", .kind = "plain", .options = {{"cipher", "x"}}}), "");
  EXPECT_EQ(usage_of({.device = "a", .kind = "paln"}),
            "--as a: there is no such kind (found 'paln', expected raw, none, image, pack, lock, "
            "split, files, plain)");
  EXPECT_EQ(usage_of({.device = "a", .kind = "plain", .options = {{"size", "1"}}}),
            "--as a: plain takes no option 'size' (expected cipher, offset)");
  EXPECT_EQ(usage_of({.device = "a", .kind = "raw", .options = {{"size", "1"}}}),
            "--as a: raw takes no option 'size' (expected no options)");
  const auto header = std::make_shared<MemoryDevice>(block("LOCK", {}));
  EXPECT_EQ(usage_of({.device = "a", .header = header}), "");
  EXPECT_EQ(usage_of({.device = "a", .kind = "lock", .header = header}), "");
  EXPECT_NE(usage_of({.device = "a", .kind = "raw", .header = header}), "");
  EXPECT_NE(usage_of({.device = "a", .kind = "split", .header = header}), "");
}

TEST_F(Directives, AHeaderIsPartOfOne) {
  add("a.img", block("SPLIT", plain()));
  const auto header = std::make_shared<MemoryDevice>(block("LOCK", {}));
  for (const char* const kind : {"", "lock"}) {
    EXPECT_EQ(scan({{.device = "a", .kind = kind, .header = header}}, {"a.img"}),
              "a(disk)\na_crypt(crypt) < a\n");
  }
  const auto other = std::make_shared<MemoryDevice>(block("SPLIT", {}));
  EXPECT_EQ(scan({{.device = "a", .header = other}}, {"a.img"}), "a(disk,missing)\n");
  // Of a source in an image format, the header is that of the disk in it.
  add("b.img", block("IMAGE", plain()));
  EXPECT_EQ(scan({{.device = "b", .header = header}}, {"b.img"}),
            "b.img(file,hidden)\nb(disk) < b.img\nb_crypt(crypt) < b\n");
  // Also of one whose file is called as the disk is: no suffix tells them apart.
  add("c", block("IMAGE", plain()));
  EXPECT_EQ(scan({{.device = "c", .header = header}}, {"c"}),
            "c(file,hidden)\nc(disk) < c\nc_crypt(crypt) < c\n");
  add("d", plain());
  EXPECT_EQ(scan({{.device = "d", .header = header}}, {"d"}), "d(disk)\nd_crypt(crypt) < d\n");
}

TEST_F(Directives, RawAndAnImageFormatContradictEachOther) {
  add("a.img", block("IMAGE", plain()));
  EXPECT_EQ(scan({{.device = "a", .kind = "pack"}}, {"raw:a.img"}), "");
  EXPECT_NE(failure_.find("is given both as raw and as pack"), std::string::npos) << failure_;
  EXPECT_EQ(scan({{.device = "a", .kind = "raw"}}, {"raw:a.img"}), "a(disk)\n");
}

TEST_F(Directives, TheyHoldWhenDevicesAreLookedAtAgain) {
  add("a.img", block("SPLIT", block("SPLIT", plain())));
  const std::string before =
      scan({{.device = "ap1", .kind = "plain", .options = {{"offset", "512"}}}}, {"a.img"});
  EXPECT_EQ(before, "a(disk)\nap1(part) < a\nap1_plain(crypt) < ap1\n");
  scanner_->repeel({find_node(*scanner_->tree(), "a")->id});
  EXPECT_EQ(printed(*scanner_->tree()), before);
  scanner_->repeel({find_node(*scanner_->tree(), "ap1")->id});
  EXPECT_EQ(printed(*scanner_->tree()), before);
}

TEST_F(Directives, OneByTheFileNameHoldsAlthoughTheDiskIsCalledWithoutItsSuffix) {
  add("a.img", block("SPLIT", plain()));
  const std::string before = scan({{.device = "a.img", .kind = "plain"}}, {"a.img"});
  EXPECT_EQ(before, "a(disk)\na_plain(crypt) < a\na_plainp1(part) < a_plain\n");
  scanner_->repeel({find_node(*scanner_->tree(), "a")->id});
  EXPECT_EQ(printed(*scanner_->tree()), before);
}

// The guest owns the bytes of its disk.
TEST_F(Directives, AGuestThatWritesAHeaderIsNotFollowed) {
  add("a.img", plain());
  EXPECT_EQ(scan({{.device = "a", .kind = "pack"}}, {"a.img"}), "a(disk,denied)\n");
  add("a.img", block("PACK", pattern(3584, 1)));
  scanner_->repeel({find_node(*scanner_->tree(), "a")->id});
  EXPECT_EQ(printed(*scanner_->tree()), "a(disk,denied)\n");
  EXPECT_NE(trouble("a").find("what a guest writes to its disk never makes an image format of it"),
            std::string::npos)
      << trouble("a");
}

TEST_F(Directives, ADeviceIsNamedOnceItsFinalNameIsKnown) {
  add("a.img", block("SPLIT", plain()));
  const Directive directive{.device = "x.ap1", .kind = "plain"};
  EXPECT_EQ(scan({directive}, {"a.img"}), "a(disk)\nap1(part) < a\n");
  scanner_->direct(find_node(*scanner_->tree(), "ap1")->id, directive);
  EXPECT_EQ(printed(*scanner_->tree()), "a(disk)\nap1(part) < a\nap1_plain(crypt) < ap1\n");
  EXPECT_TRUE(scanner_->unused_directives().empty());
}

}  // namespace
}  // namespace peelfs::test
