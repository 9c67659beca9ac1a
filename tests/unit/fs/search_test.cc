// The search for disk images, over a filesystem that is not ext.
#include "fs/search.h"

#include <memory>
#include <thread>

#include "fs_support.h"
#include "peelfs/budget.h"
#include "peelfs/layer_memory.h"
#include "support/filesystem_contract.h"

namespace peelfs::test {
namespace {

/// /images/{os.qcow2,sub/}, /images/sub/{data.img,note.txt,by-content}
void fill(TestFilesystem& filesystem) {
  filesystem.directory(0, "images", 9);
  filesystem.file(9, "os.qcow2", 5, 1 * MiB, 100 * KiB);
  filesystem.directory(9, "sub", 3);
  filesystem.file(3, "data.img", 8, 2 * MiB, 70 * KiB, 1 * MiB);
  filesystem.file(3, "note.txt", 2, 3 * MiB, 70 * KiB);
  filesystem.file(3, "by-content", 7, 512 * KiB, 64 * KiB);
}

Buffer bytes_with_an_image() {
  Buffer bytes = pattern(4 * MiB, 1);
  const Bytes magic = as_bytes("QFI\xfb");
  std::copy(magic.begin(), magic.end(), bytes.begin() + 512 * KiB);
  return bytes;
}

TEST(FilesystemSearch, ImagesAreFoundByNameAndByContent) {
  const Disk disk(bytes_with_an_image());
  TestFilesystem filesystem(disk.device);
  fill(filesystem);
  const Opened opened = open(filesystem, disk.device);
  EXPECT_EQ(paths_of(opened), "/images/os.qcow2 /images/sub/by-content /images/sub/data.img ");
  EXPECT_EQ(trouble_of(opened), "");
  ASSERT_EQ(opened.filesystems.size(), 1U);
  const Inner& image = opened.devices[0];
  EXPECT_EQ(image.kind, "file");
  EXPECT_EQ(image.name, "os.qcow2");
  EXPECT_EQ(image.stem, "os");
  EXPECT_TRUE(image.image_file);
  EXPECT_EQ(image.device->describe(), "file /images/os.qcow2");
  const Buffer bytes = bytes_with_an_image();
  EXPECT_EQ(sha256(*image.device), sha256(Bytes(bytes).subspan(1 * MiB, 100 * KiB)));
  check_contract(*opened.devices[2].device);
}

TEST(FilesystemSearch, FilesAreLookedAtInTheOrderOfTheirIdsAndHeadsInTheOrderOfTheDisk) {
  const Disk disk(bytes_with_an_image());
  TestFilesystem filesystem(disk.device, 16);
  // Listed in an order that is neither.
  filesystem.file(0, "c", 4, 3 * MiB, 70 * KiB);
  filesystem.file(0, "a", 9, 1 * MiB, 70 * KiB);
  filesystem.file(0, "d", 2, 2 * MiB, 70 * KiB);
  filesystem.file(0, "b", 7, 512 * KiB, 70 * KiB);
  (void)disk.storage->take_requests();
  (void)open(filesystem, disk.device);
  std::vector<std::uint64_t> sectors;
  std::vector<std::uint64_t> heads;
  for (const TestStorage::Request& request : disk.storage->take_requests()) {
    if (request.offset < 16 * 512) {
      sectors.push_back(request.offset / 512);
    } else if (heads.empty() || round_down(request.offset, 512 * KiB) != heads.back()) {
      heads.push_back(round_down(request.offset, 512 * KiB));
    }
  }
  // The root twice: what it is, and to list it.
  EXPECT_EQ(sectors, (std::vector<std::uint64_t>{0, 0, 2, 4, 7, 9}));
  EXPECT_EQ(heads, (std::vector<std::uint64_t>{512 * KiB, 1 * MiB, 2 * MiB, 3 * MiB}));
}

TEST(FilesystemSearch, AHardLinkIsOneFileAndALoopEnds) {
  const Disk disk;
  TestFilesystem filesystem(disk.device);
  filesystem.directory(0, "one", 1);
  filesystem.hard_link(1, "up", 0);
  filesystem.hard_link(1, "myself", 1);
  filesystem.file(1, "a.img", 2, 1 * MiB, 70 * KiB);
  filesystem.hard_link(0, "b.img", 2);
  EXPECT_EQ(paths_of(open(filesystem, disk.device)), "/b.img ") << "the nearest name";
}

TEST(FilesystemSearch, LimitsEndItAndSaySo) {
  const Disk disk;
  TestFilesystem filesystem(disk.device);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    filesystem.file(0, std::to_string(i) + ".img", i, 1 * MiB, 70 * KiB);
  }
  Limits limits;
  limits.search_files = 7;
  Opened opened = open(filesystem, disk.device, limits);
  EXPECT_EQ(opened.devices.size(), 7U);
  EXPECT_EQ(trouble_of(opened), "note: only the first 7 files were searched for disk images");
  limits.search_files = 20;
  EXPECT_EQ(trouble_of(open(filesystem, disk.device, limits)), "");
  limits.devices = 3;
  opened = open(filesystem, disk.device, limits);
  EXPECT_EQ(opened.devices.size(), 3U);
  EXPECT_NE(trouble_of(opened).find("note: only the first 3 images"), std::string::npos);
  limits.search_depth = 0;
  opened = open(filesystem, disk.device, limits);
  EXPECT_TRUE(opened.devices.empty());
  EXPECT_EQ(opened.filesystems.size(), 1U) << "it is there, though it is not searched";
  limits.search_depth = 1;
  opened = open(filesystem, disk.device, limits, nullptr, nullptr, 1);
  EXPECT_TRUE(opened.devices.empty());
  EXPECT_NE(trouble_of(opened).find("raise --depth"), std::string::npos);
}

TEST(FilesystemSearch, TheBudgetOfTheRunEndsIt) {
  const Disk disk;
  TestFilesystem filesystem(disk.device);
  fill(filesystem);
  Limits limits;
  limits.run_files = 2;
  Budget budget(limits);
  EXPECT_NE(trouble_of(open(filesystem, disk.device, limits, &budget)).find("not searched further"),
            std::string::npos);
  ASSERT_EQ(budget.endings().size(), 1U);
  EXPECT_NE(budget.endings().front().find("a filesystem of tests"), std::string::npos);
}

TEST(FilesystemSearch, DamageCostsWhatItHits) {
  const Disk disk;
  TestFilesystem filesystem(disk.device);
  filesystem.file(0, "lost.img", 20, 1 * MiB, 70 * KiB);
  filesystem.file(0, "kept.img", 40, 1 * MiB, 70 * KiB);
  filesystem.directory(0, "torn", 1);
  filesystem.file(1, "first.img", 2, 1 * MiB, 70 * KiB);
  filesystem.set_listing(1, TestFilesystem::Listing::damaged);
  filesystem.directory(0, "secret", 3);
  filesystem.set_listing(3, TestFilesystem::Listing::encrypted);
  disk.storage->fail_at(20 * 512, EIO);
  const Opened opened = open(filesystem, disk.device);
  EXPECT_EQ(paths_of(opened), "/kept.img /lost.img /torn/first.img ");
  ASSERT_TRUE(opened.devices[1].trouble);
  EXPECT_EQ(opened.devices[1].trouble->state, Trouble::io);
  const std::string text = trouble_of(opened);
  EXPECT_TRUE(text.starts_with("damaged: ")) << text;
  EXPECT_NE(text.find("/torn: the rest of it is torn"), std::string::npos) << text;
  EXPECT_NE(text.find("/secret was not searched: its names are encrypted"), std::string::npos)
      << text;
}

TEST(FilesystemSearch, ARootThatIsGoneIsATrouble) {
  const Disk disk;
  const TestFilesystem filesystem(disk.device);
  disk.storage->fail_at(0, EIO);
  const Opened opened = open(filesystem, disk.device);
  EXPECT_EQ(opened.filesystems.size(), 1U) << "owners of bytes can still be asked for";
  ASSERT_TRUE(opened.trouble);
  EXPECT_EQ(opened.trouble->state, Trouble::io);
}

TEST(FilesystemSearch, ItsStateIsSaidOfItAndOfItsFiles) {
  const Disk disk;
  TestFilesystem filesystem(disk.device);
  filesystem.file(0, "a.img", 1, 1 * MiB, 70 * KiB);
  Filesystem::State state;
  state.troubles.note("it was not closed");
  state.of_files = "it lies in a filesystem that was not closed";
  filesystem.set_state(state);
  const Member member{disk.device, nullptr, "disk", "disk", false, nullptr};
  const KeyRing keys;
  const Limits limits;
  const OpenInput input{{&member, 1},       keys, limits, nullptr, 0, nullptr, nullptr,
                        &standard_formats()};
  const auto shared = std::make_shared<TestFilesystem>(filesystem, disk.device);
  shared->set_state(state);
  const Opened opened = fs::open_filesystem([&](const DevicePtr&) { return shared; }, "", input);
  EXPECT_EQ(trouble_of(opened), "note: it was not closed");
  ASSERT_EQ(opened.devices.size(), 1U);
  EXPECT_EQ(text_of(*opened.devices[0].trouble), "note: " + state.of_files);
}

TEST(FilesystemSearchMemory, TheSameBytesAreSearchedOnce) {
  const Disk disk(bytes_with_an_image());
  const Disk copy(bytes_with_an_image());
  TestFilesystem filesystem(disk.device);
  fill(filesystem);
  const Limits limits;
  Budget budget(limits);
  LayerMemory memory;
  const auto used = [&] { return limits.run_files - budget.left(Budget::Kind::files); };
  const Opened first = open(filesystem, disk.device, limits, &budget, &memory);
  const std::uint64_t once = used();
  EXPECT_EQ(once, 6U);
  const Opened second = open(filesystem, copy.device, limits, &budget, &memory);
  EXPECT_EQ(used(), once);
  EXPECT_EQ(paths_of(second), paths_of(first));
  ASSERT_EQ(second.devices.size(), 3U);
  (void)copy.storage->take_requests();
  EXPECT_EQ(sha256(*second.devices[0].device), sha256(*first.devices[0].device));
  EXPECT_FALSE(copy.storage->take_requests().empty()) << "its bytes are those of its own copy";
  EXPECT_EQ(sha256(*second.devices[0].references->open("sub/data.img").device),
            sha256(*first.devices[2].device));

  Buffer bytes = bytes_with_an_image();
  bytes[7 * 512] ^= std::byte{1};  // what describes a file
  const Disk other(bytes);
  (void)open(filesystem, other.device, limits, &budget, &memory);
  EXPECT_EQ(used(), 2 * once);
}

TEST(FilesystemSearchMemory, ThreadsThatSearchTheSameAtOncePayOnce) {
  const Limits limits;
  Buffer other = bytes_with_an_image();
  other[7 * 512] ^= std::byte{1};  // what describes a file
  for (int round = 0; round < 4; ++round) {
    Budget budget(limits);
    LayerMemory memory;
    std::vector<std::unique_ptr<Disk>> disks;
    for (int i = 0; i < 8; ++i) {
      disks.push_back(std::make_unique<Disk>(i % 2 == 0 ? bytes_with_an_image() : other));
      disks.back()->storage->set_delay(std::chrono::microseconds(100));
    }
    std::vector<std::string> found(disks.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < disks.size(); ++i) {
        threads.emplace_back([&, i] {
          TestFilesystem filesystem(disks[i]->device);
          fill(filesystem);
          found[i] = paths_of(open(filesystem, disks[i]->device, limits, &budget, &memory));
        });
      }
    }
    for (const std::string& paths : found) EXPECT_EQ(paths, found.front());
    EXPECT_EQ(limits.run_files - budget.left(Budget::Kind::files), 12U) << "6 files, two contents";
  }
}

TEST(FilesystemContract, OfTheOneThatTestsUse) {
  const Disk disk;
  TestFilesystem filesystem(disk.device);
  fill(filesystem);
  filesystem.hard_link(0, "again.img", 8);
  filesystem.link_to(0, "link", 11, "images/sub");
  EXPECT_EQ(check_filesystem(filesystem, *disk.device), 8U);
}

}  // namespace
}  // namespace peelfs::test
