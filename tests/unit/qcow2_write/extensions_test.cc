// What peelfs notes in the headers of images: at any power cut the old note or the new one, and
// other programs may write the header in between.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>

#include "qcow2/overlay.h"
#include "support/recording.h"

namespace peelfs::qcow2 {
namespace {

using test::must_run;

/// Types of our own, among them that of no length and one that fills several sectors.
constexpr std::array<std::uint32_t, 4> types{0x504c4670, 0x504c4673, 0x504c466d, 0x504c4621};

class Extensions : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    // qemu puts the backing file's name right behind the extensions.
    must_run("cd " + folder_.path() + " && truncate -s 1M base other && " +
             "qemu-img create -q -f qcow2 -o cluster_size=4096 -b base -F raw image.qcow2 && " +
             "qemu-io -f qcow2 -c 'write -P 65 0 100k' image.qcow2 >/dev/null");
  }

  /// @return "" or what qemu finds, and what is left of the notes once it has written the header
  std::string broken(const Buffer& image) const {
    test::write_file(path_, image);
    const auto check = test::run("cd " + folder_.path() + " && qemu-img check image.qcow2");
    if (check.exit_code != 0 && check.exit_code != 3) return check.output;
    // Once: another time would turn the order of the notes back to what it was.
    const auto rebase = test::run("cd " + folder_.path() +
                                  " && qemu-img rebase -u -f qcow2 -F raw -b other image.qcow2 &&"
                                  " qemu-io -r -c 'read -P 65 0 100k' image.qcow2");
    return rebase.exit_code == 0 ? "" : rebase.output;
  }

  const test::TemporaryDirectory folder_;
  const std::string path_ = folder_ / "image.qcow2";
};

struct Change {
  std::size_t begin = 0, end = 0;  ///< positions in the log
  std::uint32_t type = 0;
  std::optional<Buffer> data;
};

/// What may stand in an image: by type, the note when the power went, and perhaps the next one.
bool allowed(const std::vector<Change>& changes, std::size_t cut, std::uint32_t type,
             const std::optional<Buffer>& found) {
  std::optional<Buffer> old;
  for (const Change& change : changes) {
    if (change.type != type) continue;
    if (change.end <= cut) old = change.data;
    if (change.begin < cut && cut < change.end && found == change.data) return true;
  }
  return found == old;
}

TEST_F(Extensions, OldOrNewAtEveryPowerCut) {
  std::mt19937_64 random(5);
  const auto disk = std::make_shared<test::RecordingDevice>(test::read_file(path_));
  std::vector<Change> changes;
  for (unsigned round = 0; round < 120; ++round) {
    Change change;
    change.begin = disk->position();
    change.type = types[random() % types.size()];
    if (random() % 10 == 0) {
      remove_extension(*disk, change.type);
    } else {
      change.data = test::pattern(random() % 5 == 0 ? 0 : random() % 700, random());
      write_extension(*disk, {change.type, *change.data});
    }
    change.end = disk->position();
    changes.push_back(change);
  }
  for (unsigned round = 0; round < 150; ++round) {
    const std::size_t cut = random() % (disk->position() + 1);
    const Buffer image = disk->after_power_cut(cut, random, round % 4 == 0);
    const auto device = std::make_shared<test::MemoryDevice>(image);
    for (const std::uint32_t type : types) {
      ASSERT_TRUE(allowed(changes, cut, type, read_extension(*device, type)))
          << "type " << type << ", cut at " << cut << " of " << disk->position();
    }
    ASSERT_EQ(broken(image), "") << "cut at " << cut;
    const DevicePtr rewritten = test::file_device(path_);
    for (const std::uint32_t type : types) {
      ASSERT_TRUE(allowed(changes, cut, type, read_extension(*rewritten, type)))
          << "type " << type << ", cut at " << cut << ", once qemu has written the header";
    }
  }
}

TEST_F(Extensions, WhatQemuHasWrittenLeavesTheNewNotes) {
  const Buffer older = test::pattern(100, 1);
  const Buffer newer = test::pattern(100, 2);
  Buffer image = test::read_file(path_);
  {
    const auto disk = test::writable_memory(image);
    write_extension(*disk, {types[0], older});
    write_extension(*disk, {types[0], newer});
    image = disk->bytes();
  }
  ASSERT_EQ(broken(image), "");
  EXPECT_EQ(read_extension(*test::file_device(path_), types[0]), newer);
}

TEST_F(Extensions, WhatDoesNotFitIsRefusedAndNothingIsLost) {
  const auto disk = test::writable_memory(test::read_file(path_));
  const Buffer note = test::pattern(1500, 1);
  write_extension(*disk, {types[0], note});
  try {
    write_extension(*disk, {types[1], test::pattern(3000, 2)});
    FAIL() << "there is no room for it";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), ENOSPC) << error.what();
  }
  EXPECT_EQ(read_extension(*disk, types[0]), note);
  EXPECT_FALSE(read_extension(*disk, types[1]));
  EXPECT_EQ(broken(disk->bytes()), "");
}

}  // namespace
}  // namespace peelfs::qcow2
