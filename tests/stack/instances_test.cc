// A volume group over several qcow2 images, each with snapshots of its own: what is shown is of one
// moment, or it is incomplete. qemu-img says what each moment is made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "host/source.h"
#include "peel/catalog.h"
#include "peelfs/formats.h"
#include "scan/scanner.h"
#include "support/fixtures.h"
#include "support/paths.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t first_date = 1'700'000'000;
/// Striped over three disks.
constexpr const char* volume = "vgstr-s3";

class InstancesOfAGroup : public ::testing::Test {
 protected:
  /// A striped volume: its bytes alternate between the disks, so that every mixture shows.
  void SetUp() override {
    for (const char* const program : {"qemu-img", "qemu-io"}) {
      if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
    }
    for (const std::string& disk : disks_) {
      raw_[disk] = fixture_image("str-" + disk);
      if (raw_[disk].empty()) GTEST_SKIP() << "fixture str-" << disk << " is not here";
    }
    make_set("x");
  }

  void make_set(const std::string& folder) {
    fs::create_directory(folder_ / folder);
    for (const std::string& disk : disks_) {
      must_run("qemu-img convert -O qcow2 " + raw_.at(disk) + " " + image(folder, disk));
    }
  }
  std::string image(const std::string& folder, const std::string& disk) const {
    return folder_ / (folder + "/" + disk + ".qcow2");
  }
  /// Changes what the volume holds on each disk.
  void mark(const std::string& folder, int pattern) const {
    for (const std::string& disk : disks_) {
      // All of the data of the physical volume: its metadata ends at 1 MiB.
      must_run("qemu-io -c 'write -q -P " + std::to_string(pattern) + " 1M " +
               std::to_string(fs::file_size(raw_.at(disk)) / 1024 - 1024) + "k' " +
               image(folder, disk));
    }
  }
  void snapshot(const std::string& folder, const std::string& disk, const std::string& name,
                std::uint32_t date) {
    const std::string path = image(folder, disk);
    must_run("qemu-img snapshot -c " + name + " " + path);
    // The entry made last is the last one of the table; its date is that of now.
    Buffer bytes = read_file(path);
    const ByteReader header(bytes, "qcow2");
    std::uint64_t at = header.be64(64);
    for (std::uint32_t i = 0; i + 1 < header.be32(60); ++i) {
      at =
          round_up(at + 40 + header.be32(at + 36) + header.be16(at + 12) + header.be16(at + 14), 8);
    }
    for (std::size_t i = 0; i < 8; ++i) {
      const std::uint32_t value = i < 4 ? date : 0;  // seconds, nanoseconds
      bytes.at(at + 16 + i) = static_cast<std::byte>(value >> (24 - 8 * (i % 4)));
    }
    write_file(path, bytes);
  }
  void snapshot_all(const std::string& folder, const std::string& name, std::uint32_t date) {
    for (const std::string& disk : disks_) snapshot(folder, disk, name, date++);
  }

  std::shared_ptr<const Tree> scan(const std::vector<std::string>& paths) const {
    std::vector<SourceSpec> specs;
    for (const std::string& path : paths) specs.push_back({path, "", false});
    Scanner scanner(standard_formats(), Limits{}, std::make_shared<KeyRing>(), {});
    for (const Source& source : open_sources(specs, {}, standard_formats()).sources)
      scanner.add(source);
    scanner.settle();
    return scanner.tree();
  }
  std::vector<std::string> images(const std::string& folder) const {
    std::vector<std::string> paths;
    for (const std::string& disk : disks_) paths.push_back(image(folder, disk));
    return paths;
  }

  /// What the volume is at one moment, from raw disks that qemu-img made of it.
  std::string truth(const std::string& folder, const std::string& name) const {
    const TemporaryDirectory place;
    std::vector<std::string> paths;
    for (const std::string& disk : disks_) {
      paths.push_back(place / (disk + ".raw"));
      must_run("qemu-img convert -O raw " + (name.empty() ? "" : "-l snapshot.name=" + name + " ") +
               image(folder, disk) + " " + paths.back());
    }
    const auto tree = scan(paths);
    for (const auto& [id, node] : tree->nodes) {
      if (node->name == volume) return sha256(*node->device);
    }
    ADD_FAILURE() << "no volume on the raw disks";
    return "";
  }

  struct Shown {
    std::string digest;             ///< "unreadable" when it is not complete
    std::set<std::string> parents;  ///< stems
    std::string state;              ///< of the volume, or of its members
    std::string reasons;
  };
  static std::vector<Shown> volumes(const Tree& tree) {
    std::vector<Shown> result;
    for (const auto& [id, node] : tree.nodes) {
      if (node->name != volume) continue;
      Shown one;
      try {
        one.digest = sha256(*node->device);
      } catch (const Error&) {
        one.digest = "unreadable";
      }
      if (node->trouble) one.state = state_name(node->trouble->state);
      for (const std::uint64_t parent : node->parents) {
        const Node& member = tree.at(parent);
        one.parents.insert(member.stem);
        if (member.trouble) {
          one.state = state_name(member.trouble->state);
          one.reasons += member.trouble->reason + "\n";
        }
      }
      result.push_back(std::move(one));
    }
    return result;
  }
  /// What stands behind '@' in the names of the members: one moment, or a mixture.
  static std::set<std::string> moments(const Shown& shown) {
    std::set<std::string> result;
    for (const std::string& stem : shown.parents) {
      const auto at = stem.find('@');
      result.insert(at == std::string::npos ? "" : stem.substr(at));
    }
    return result;
  }
  static std::vector<std::string> whole(const std::vector<Shown>& shown) {
    std::vector<std::string> digests;
    for (const Shown& one : shown) {
      EXPECT_EQ(moments(one).size(), 1U) << "a mixture of moments";
      if (one.digest != "unreadable") digests.push_back(one.digest);
      if (one.digest == "unreadable") {
        EXPECT_NE(one.state, "") << "incomplete without a word";
      }
    }
    std::sort(digests.begin(), digests.end());
    return digests;
  }
  static std::vector<std::string> sorted(std::vector<std::string> digests) {
    std::sort(digests.begin(), digests.end());
    return digests;
  }

  const TemporaryDirectory folder_;
  const std::vector<std::string> disks_{"a", "b", "c"};
  std::map<std::string, std::string> raw_;
};

TEST_F(InstancesOfAGroup, UnequalNumbersOfSnapshots) {
  mark("x", 1);
  for (const char* const disk : {"a", "c"}) snapshot("x", disk, "s1", first_date);
  mark("x", 2);
  snapshot_all("x", "s2", first_date + 5000);
  mark("x", 3);
  const auto tree = scan(images("x"));
  const auto shown = volumes(*tree);
  EXPECT_EQ(whole(shown), sorted({truth("x", ""), truth("x", "s2")}));
  const auto lacking = std::find_if(shown.begin(), shown.end(),
                                    [](const Shown& one) { return one.parents.contains("a@s1"); });
  ASSERT_NE(lacking, shown.end());
  EXPECT_EQ(lacking->digest, "unreadable");
  EXPECT_EQ(lacking->parents, (std::set<std::string>{"a@s1", "c@s1"}));
  EXPECT_NE(lacking->reasons.find("another moment"), std::string::npos) << lacking->reasons;
  EXPECT_NE(lacking->reasons.find("b@s2 (taken at 2023-11-1"), std::string::npos)
      << lacking->reasons;
}

TEST_F(InstancesOfAGroup, EqualNumbersOfOtherSnapshots) {
  mark("x", 1);
  snapshot("x", "a", "s1", first_date);
  snapshot("x", "b", "s2", first_date);
  snapshot("x", "c", "s1", first_date + 1);
  mark("x", 2);
  EXPECT_EQ(whole(volumes(*scan(images("x")))), std::vector<std::string>{truth("x", "")});
}

TEST_F(InstancesOfAGroup, OneNameWithOtherDates) {
  mark("x", 1);
  snapshot("x", "a", "daily", first_date);
  snapshot("x", "b", "daily", first_date + 86400);
  snapshot("x", "c", "daily", first_date + 86400);
  mark("x", 2);
  const auto shown = volumes(*scan(images("x")));
  EXPECT_EQ(whole(shown), std::vector<std::string>{truth("x", "")});
  for (const Shown& one : shown) {
    const bool other = one.parents.contains("a@daily") && one.parents.size() > 1;
    EXPECT_FALSE(other);
  }
}

TEST_F(InstancesOfAGroup, TheOrderOfTheSourcesDoesNotMatter) {
  mark("x", 1);
  snapshot_all("x", "s1", first_date);
  mark("x", 2);
  snapshot_all("x", "s2", first_date + 100);
  mark("x", 3);
  const auto all = sorted({truth("x", ""), truth("x", "s1"), truth("x", "s2")});
  std::vector<std::string> paths = images("x");
  std::sort(paths.begin(), paths.end());
  do {
    EXPECT_EQ(whole(volumes(*scan(paths))), all);
  } while (std::next_permutation(paths.begin(), paths.end()));
}

TEST_F(InstancesOfAGroup, CopiesOfAllDisksInFoldersOfTheirOwn) {
  mark("x", 1);
  snapshot_all("x", "s1", first_date);
  mark("x", 2);
  fs::copy(folder_ / "x", folder_ / "y");
  mark("y", 4);
  std::vector<std::string> paths;
  for (const std::string& disk : disks_) {  // a a b b c c
    paths.push_back(image(disk == "b" ? "y" : "x", disk));
    paths.push_back(image(disk == "b" ? "x" : "y", disk));
  }
  const auto shown = volumes(*scan(paths));
  EXPECT_EQ(whole(shown),
            sorted({truth("x", ""), truth("y", ""), truth("x", "s1"), truth("y", "s1")}));
}

TEST_F(InstancesOfAGroup, CopiesInOneFolderAreNotMixed) {
  mark("x", 1);
  for (const std::string& disk : disks_) {
    fs::copy(image("x", disk), folder_ / ("x/" + disk + "-copy.qcow2"));
  }
  mark("x", 2);
  std::vector<std::string> paths = images("x");
  for (const std::string& disk : disks_) paths.push_back(folder_ / ("x/" + disk + "-copy.qcow2"));
  const auto shown = volumes(*scan(paths));
  EXPECT_TRUE(whole(shown).empty());
  ASSERT_FALSE(shown.empty());
  for (const Shown& one : shown) {
    EXPECT_EQ(one.parents.size(), 1U);
    EXPECT_NE(one.reasons.find("name only the sources of one copy"), std::string::npos)
        << one.reasons;
  }
}

}  // namespace
}  // namespace peelfs::test
