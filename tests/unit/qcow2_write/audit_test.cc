// Images whose tables contradict their counts: nothing is written to them.
#include <gtest/gtest.h>

#include "../qcow2/qcow2_support.h"
#include "peelfs/host_file.h"
#include "qcow2/overlay.h"

namespace peelfs {
namespace {

using test::must_run;
using test::OpenedImage;
using test::Spoiled;
using test::TemporaryDirectory;

class Audit : public ::testing::Test {
 protected:
  /// Makes an image with data, lets `spoil` change its bytes, and opens it for writing.
  template <typename Spoil>
  void expect_refusal(const std::string& prepare, const Spoil& spoil, const std::string& reason) {
    must_run("I=" + path_ + "; rm -f $I; qemu-img create -q -f qcow2 $I 8M && " +
             "qemu-io -f qcow2 -c 'write -P 65 0 1M' $I >/dev/null && " + prepare);
    Spoiled image(path_);
    spoil(image);
    test::write_file(path_, image.bytes());
    const std::string before = test::sha256(image.bytes());
    const OpenedImage opened = test::open_qcow2(
        make_storage_device(HostFile::open(path_, HostFile::Access::read_write)), nullptr);
    EXPECT_FALSE(opened.disk().writable());
    EXPECT_NE(opened.disk().read_only_reason().find(reason), std::string::npos)
        << opened.disk().read_only_reason();
    EXPECT_EQ(test::sha256(test::read_file(path_)), before);
  }

  const TemporaryDirectory folder_;
  const std::string path_ = folder_ / "image.qcow2";
  static constexpr std::uint64_t offset_mask = 0x00ff'ffff'ffff'fe00;
};

TEST_F(Audit, ACountThatIsTooLow) {
  expect_refusal(
      "true",
      [](Spoiled& image) {
        const std::uint64_t block = image.get64(image.get64(48));
        const std::uint64_t data = image.get64(image.l2_entry(0, 3)) & offset_mask;
        image.put16(block + 2 * (data >> 16U), 0);
      },
      "reference counts are wrong");
}

TEST_F(Audit, AnEntryThatCallsASharedClusterItsOwn) {
  expect_refusal(
      "qemu-img snapshot -c one $I",
      [](Spoiled& image) {
        const std::size_t at = image.l2_entry(0, 2);
        image.put64(at, image.get64(at) | 1ULL << 63U);
      },
      "its own");
}

TEST_F(Audit, ABitmapThatRefersToData) {
  expect_refusal(
      "qemu-img bitmap --add $I one",
      [](Spoiled& image) {
        // The extension, its directory's first entry, and that one's table.
        std::size_t at = 104 + 8;
        while (image.get32(at) != 0x23852875) {
          ASSERT_NE(image.get32(at), 0U);
          at += 8 + round_up(image.get32(at + 4), 8);
        }
        const std::uint64_t directory = image.get64(at + 8 + 16);
        const std::uint64_t table = image.get64(directory);
        image.put64(table, image.get64(image.l2_entry(0, 5)) & offset_mask);
      },
      "reference counts are wrong");
}

TEST_F(Audit, TwoL1EntriesOfOneTable) {
  expect_refusal(
      "qemu-img resize -q $I 2G",
      [](Spoiled& image) { image.put64(image.l1_entry(1), image.get64(image.l1_entry(0))); },
      "two entries of an L1 table");
}

TEST_F(Audit, DataInTheRefcountTable) {
  expect_refusal(
      "true",
      [](Spoiled& image) {
        const std::uint64_t table = image.get64(48);
        image.put64(image.l2_entry(0, 40), table);  // not called its own, and counted
        image.put16(image.get64(table) + 2 * (table >> 16U), 2);
      },
      "something else refers to a table");
}

TEST_F(Audit, CompressedDataThatReachesBehindTheEnd) {
  expect_refusal(
      "true",
      [](Spoiled& image) {
        const std::uint64_t last = round_down(image.bytes().size() - 1, 65536);
        // As many sectors as a descriptor can name, from the middle of the last cluster on.
        const std::uint64_t sectors = 0xff;
        image.put64(image.l2_entry(0, 50), 1ULL << 62U | sectors << 54U | (last + 32768));
        const std::uint64_t block = image.get64(image.get64(48));
        image.put16(block + 2 * (last >> 16U), 2);
      },
      "reference counts are wrong");
}

TEST_F(Audit, WhatAKillHasLeakedInAnOverlayIsFreed) {
  must_run("qemu-img create -q -f qcow2 " + path_ + " 8M");
  Spoiled image(path_);
  image.bytes().resize(image.bytes().size() + 3 * 65536);
  const std::uint64_t block = image.get64(image.get64(48));
  const std::uint64_t last = image.bytes().size() / 65536;
  for (std::uint64_t i = 1; i <= 3; ++i) image.put16(block + 2 * (last - i), 1);
  test::write_file(path_, image.bytes());
  ASSERT_EQ(test::run("qemu-img check " + path_).exit_code, 3);
  const DevicePtr disk = qcow2::open_overlay(
      make_storage_device(HostFile::open(path_, HostFile::Access::read_write)), nullptr, "overlay");
  disk->flush();
  EXPECT_TRUE(test::read_file(path_) == image.bytes()) << "nothing was written to it";
  write(*disk, 5, Buffer(1));
  disk->flush();
  EXPECT_EQ(test::run("qemu-img check " + path_).exit_code, 0);
}

TEST_F(Audit, AnImageIsNotWrittenWhileAnotherIsBasedOnIt) {
  must_run("cd " + folder_.path() + " && qemu-img create -q -f qcow2 base.qcow2 4M && " +
           "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2");
  const auto open_rw = [&](const std::string& name) {
    return test::open_qcow2(
        make_storage_device(HostFile::open(folder_ / name, HostFile::Access::read_write)),
        test::references_beneath(folder_.path()));
  };
  {
    const OpenedImage base = open_rw("base.qcow2");
    ASSERT_TRUE(base.disk().writable());
    const OpenedImage top = open_rw("top.qcow2");
    EXPECT_TRUE(top.disk().writable());
    EXPECT_FALSE(base.disk().writable());
    EXPECT_THROW(write(base.disk(), 0, Buffer(512)), Error);
    EXPECT_FALSE(open_rw("base.qcow2").disk().writable());
  }
  // Once it has been written to, no image may use it as its backing file.
  const OpenedImage base = open_rw("base.qcow2");
  write(base.disk(), 0, Buffer(512, std::byte{1}));
  const OpenedImage top = open_rw("top.qcow2");
  EXPECT_FALSE(top.disk().writable());
  EXPECT_THROW((void)read_bytes(top.disk(), 0, 512), Error);
}

}  // namespace
}  // namespace peelfs
