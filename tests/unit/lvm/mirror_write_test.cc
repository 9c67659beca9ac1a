// Mirrors that are written to: every leg has every byte, and a crash in between is noticed.
#include <gtest/gtest.h>

#include "lvm_open.h"
#include "maker.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "raid/dm_marks.h"
#include "support/fixtures.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t kExtent = 65536;
constexpr std::uint64_t kStart = 1U << 20U;
constexpr std::uint64_t kData = kStart + kExtent;
constexpr std::size_t kLog = kStart + 1024;  // the bits, on the third disk

using Disks = std::vector<std::shared_ptr<MemoryDevice>>;

std::vector<DevicePtr> devices(const Disks& disks) {
  return {disks.begin(), disks.end()};
}

/// "m": extents 1 to 8 of two disks; the log is on a third.
Disks mirror_disks(bool log_on_disk, std::uint8_t clean = 0xff) {
  GroupSpec spec;
  spec.members = 3;
  spec.pe_count = 16;
  spec.volumes =
      volume_text("m",
                  {segment_text(0, 8,
                                "type = \"mirror\"\nmirror_count = 2\nregion_size = 128\n" +
                                    std::string(log_on_disk ? "mirror_log = \"m_mlog\"\n" : "") +
                                    "mirrors = [\n\"m_mimage_0\", 0,\n\"m_mimage_1\", 0\n]")}) +
      hidden_volume("m_mimage_0", "pv0", 1, 8) + hidden_volume("m_mimage_1", "pv1", 1, 8) +
      hidden_volume("m_mlog", "pv2", 0, 1);
  Disks disks;
  for (const StampedDiskPtr& disk : make_group(spec)) {
    disks.push_back(writable_memory(read_bytes(*disk, 0, disk->size())));
  }
  // In sync, as the log says.
  std::copy_n(disks[0]->bytes().begin() + kData, 8 * kExtent, disks[1]->bytes().begin() + kData);
  Buffer log(1025);
  log[0] = std::byte{0x72}, log[1] = std::byte{0x52}, log[2] = std::byte{0x69};
  log[3] = std::byte{0x4d}, log[4] = std::byte{2}, log[8] = std::byte{8};
  log[1024] = std::byte{clean};
  std::copy(log.begin(), log.end(), disks[2]->bytes().begin() + kStart);
  return disks;
}

Bytes leg(const Disks& disks, std::size_t number) {
  return Bytes(disks[number]->bytes()).subspan(kData, 8 * kExtent);
}

bool equal(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

TEST(LvmMirrorWrite, EveryLegHasEveryByte) {
  for (const bool log_on_disk : {false, true}) {
    const Disks disks = mirror_disks(log_on_disk);
    Buffer first = disks[0]->bytes();
    {
      const OpenGroup group = open_lvm(devices(disks));
      const Buffer whole = check_write_contract(*group.at("vgs-m").device);
      EXPECT_TRUE(equal(leg(disks, 0), whole));
      EXPECT_TRUE(equal(leg(disks, 1), whole));
      EXPECT_GT(disks[0]->flushes(), 0U);
      EXPECT_EQ(disks[0]->flushes(), disks[1]->flushes());
    }
    // Nothing else on the disks has changed.
    std::copy_n(first.begin(), kData, disks[0]->bytes().begin());
    EXPECT_EQ(disks[2]->bytes()[kLog], std::byte{0xff});
    EXPECT_TRUE(equal(Bytes(first).subspan(9 * kExtent + kStart),
                      Bytes(disks[0]->bytes()).subspan(9 * kExtent + kStart)));
  }
}

TEST(LvmMirrorWrite, TheLogSaysSoWhileLegsMayDiffer) {
  const Disks disks = mirror_disks(true);
  const OpenGroup group = open_lvm(devices(disks));
  const BlockDevice& mirror = *group.at("vgs-m").device;
  const auto log = [&] { return disks[2]->bytes()[kLog]; };
  EXPECT_EQ(log(), std::byte{0xff});
  write(mirror, 5, pattern(3, 1));
  EXPECT_EQ(log(), std::byte{0});
  EXPECT_GT(disks[2]->flushes(), 0U);
  mirror.flush();
  EXPECT_EQ(log(), std::byte{0xff});
  zero(mirror, 0, 100, WriteKind::zeroes);
  EXPECT_EQ(log(), std::byte{0});
  // A crash now: the next open gives a device that cannot be written and reads from the first leg.
  const OpenGroup after = open_lvm(devices(disks));
  EXPECT_FALSE(after.at("vgs-m").device->writable());
  EXPECT_NE(after.at("vgs-m").device->read_only_reason().find("in sync"), std::string::npos);
}

TEST(LvmMirrorWrite, PartsAreNotWrittenToByThemselves) {
  const Disks disks = mirror_disks(true);
  const OpenGroup group = open_lvm(devices(disks));
  for (const char* name : {"vgs-m_mimage_0", "vgs-m_mimage_1", "vgs-m_mlog"}) {
    const Inner& part = group.at(name);
    EXPECT_FALSE(part.device->writable()) << name;
    EXPECT_NE(part.device->read_only_reason().find("part of another"), std::string::npos);
  }
}

TEST(LvmMirrorWrite, ALegThatIsNotThereOrNotInSyncRefusesAllWrites) {
  const Disks disks = mirror_disks(true);
  const auto refused = [](const OpenGroup& group) {
    const BlockDevice& mirror = *group.at("vgs-m").device;
    try {
      write(mirror, 0, Buffer(1));
    } catch (const Error& error) {
      EXPECT_EQ(error.error_number(), EROFS);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refused(open_lvm({disks[0], disks[2]})).find("would split it"), std::string::npos);
  EXPECT_NE(refused(open_lvm({disks[1], disks[2]})).find("would split it"), std::string::npos);
  const auto floor = std::make_shared<MemoryDevice>(disks[1]->bytes());
  EXPECT_NE(refused(open_lvm({disks[0], floor, disks[2]})).find("cannot be written to"),
            std::string::npos);
  EXPECT_NE(refused(open_lvm(devices(mirror_disks(true, 0xf7)))).find("not all regions"),
            std::string::npos);
}

/// A leg that fails its nth write.
class Failing : public BlockDevice {
 public:
  Failing(DevicePtr lower, unsigned good)
      : BlockDevice(lower->size()), lower_(lower), good_(good) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    read(*lower_, offset, out);
  }
  void store(std::uint64_t offset, Bytes data) const override {
    if (good_-- == 0) throw Error(Fault::io, "bad sector").with_errno(EIO);
    write(*lower_, offset, data);
  }
  bool writable() const noexcept override { return true; }
  std::string describe() const override { return "failing"; }

 private:
  const DevicePtr lower_;
  mutable unsigned good_;
};

TEST(LvmMirrorWrite, AWriteThatReachedOneLegOnlyStopsEverything) {
  const auto good = writable_memory(Buffer(4096)), log = writable_memory(Buffer(1));
  {
    const DevicePtr bad = std::make_shared<Failing>(writable_memory(Buffer(4096)), 1U);
    const DevicePtr mirror =
        raid::make_mirror({{good, 0, 4096}, {bad, 0, 4096}},
                          {{log, 0, Buffer(1, std::byte{1}), Buffer(1, std::byte{2})}}, "mirror");
    write(*mirror, 0, pattern(512, 1));
    EXPECT_THROW(write(*mirror, 0, pattern(512, 2)), Error);
    EXPECT_THROW(write(*mirror, 0, pattern(512, 2)), Error);
    EXPECT_THROW(zero(*mirror, 0, 512, WriteKind::zeroes), Error);
    EXPECT_THROW(mirror->flush(), Error);
  }
  EXPECT_EQ(log->bytes()[0], std::byte{2}) << "the legs differ, and nobody may think otherwise";
}

TEST(LvmMirrorWrite, LegsThatCannotBeZeroedAreWritten) {
  const auto first = writable_memory(pattern(4096, 1)), second = writable_memory(pattern(4096, 1));
  const DevicePtr clumsy = std::make_shared<Failing>(second, 1000U);  // no store_zeroes
  const DevicePtr mirror = raid::make_mirror({{first, 0, 4096}, {clumsy, 0, 4096}}, {}, "mirror");
  zero(*mirror, 100, 3000, WriteKind::discard);
  EXPECT_EQ(first->bytes(), second->bytes());
  EXPECT_EQ(read_bytes(*mirror, 100, 3000), Buffer(3000));
}

// Arrays that a kernel made.
class LvmRaidFixture : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"rd-a", "rd-b", "rd-c", "rd-d", "rd-e", "rd-f"}) {
      disks_.push_back(writable_memory(read_file(fixture_image(name))));
    }
  }
  Disks disks_;
};

TEST_F(LvmRaidFixture, Raid1IsWrittenOnBothLegsAndMarkedMeanwhile) {
  unsigned written = 0;
  for (const Inner& inner : open_lvm(devices(disks_)).opened.devices) {
    const std::string name = inner.name;
    const OpenGroup group = open_lvm(devices(disks_));
    const Inner* first = group.find(name + "_rimage_0");
    const Inner* meta = group.find(name + "_rmeta_1");
    const Inner& array = group.at(name);
    if (first == nullptr || meta == nullptr || !array.device->writable()) continue;
    ++written;
    const Buffer was = read_bytes(*meta->device, 0, meta->device->size());
    write(*array.device, 1000, pattern(5000, 3));
    const Buffer marked = read_bytes(*meta->device, 0, meta->device->size());
    EXPECT_EQ(ByteReader(marked, "superblock").le64(40), 0U) << "array_resync_offset";
    EXPECT_EQ(marked[4096 + 256], std::byte{0xff});
    EXPECT_FALSE(open_lvm(devices(disks_)).at(name).device->writable());
    const Buffer whole = check_write_contract(*array.device);
    for (unsigned i = 0; const Inner* leg = group.find(name + "_rimage_" + std::to_string(i));
         ++i) {
      EXPECT_TRUE(read_bytes(*leg->device, 0, whole.size()) == whole) << name << " leg " << i;
    }
    array.device->flush();
    array.device->flush();
    EXPECT_TRUE(read_bytes(*meta->device, 0, was.size()) == was) << name;
    EXPECT_TRUE(read_bytes(*open_lvm(devices(disks_)).at(name).device, 0, whole.size()) == whole);
  }
  EXPECT_GE(written, 1U);
}

}  // namespace
}  // namespace peelfs::test
