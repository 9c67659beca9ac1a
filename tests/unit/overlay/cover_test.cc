// Overlays over sources: how qemu sees them, which source they belong to, and what is refused.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "overlay_support.h"

namespace peelfs::overlay {
namespace {

namespace fs = std::filesystem;

TEST_F(OverlayTest, QemuSeesWhatWasWrittenAndTheSourceStays) {
  const std::string source = make_raw();
  const Buffer original = test::read_file(source);
  Buffer expected = original;
  {
    const auto sources = covered({source});
    const BlockDevice& device = *sources[0].overlay;
    EXPECT_EQ(device.size(), original.size()) << "exactly, though the qcow2 rounds up";
    for (const std::uint64_t offset : {0ULL, 70'000ULL, 3'000'001ULL, 5'242'900ULL}) {
      const Buffer data = test::pattern(77, offset + 7);
      write(device, offset, data);
      std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    zero(device, 1U << 20U, 200'000, WriteKind::discard);
    std::fill_n(expected.begin() + (1 << 20), 200'000, std::byte{0});
    EXPECT_EQ(read_bytes(device, 0, expected.size()), expected);
    device.flush();
  }
  EXPECT_EQ(test::read_file(source), original);
  test::must_run("qemu-img check -q " + overlay("disk"));
  const auto info =
      nlohmann::json::parse(test::must_run("qemu-img info --output=json " + overlay("disk")));
  EXPECT_EQ(info.at("backing-filename"), source);
  EXPECT_EQ(info.at("backing-filename-format"), "raw");
  test::must_run("qemu-img convert -O raw " + overlay("disk") + " " + (directory_ / "all"));
  Buffer all = test::read_file(directory_ / "all");
  EXPECT_EQ(all.size(), round_up(expected.size(), 512));
  all.resize(expected.size());
  EXPECT_EQ(all, expected);
  struct stat status {};
  ASSERT_EQ(::stat(overlay("disk").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);

  const auto again = covered({source});
  EXPECT_EQ(read_bytes(*again[0].overlay, 0, expected.size()), expected) << "it goes on";
}

TEST_F(OverlayTest, AQcow2SourceIsCoveredAsItsDisk) {
  const std::string raw = make_raw("plain", 3);
  const std::string source = directory_ / "vm.qcow2";
  test::must_run("qemu-img convert -c -O qcow2 " + raw + " " + source);
  const std::string before = test::sha256(test::read_file(source));
  {
    const auto sources = covered({source});
    EXPECT_TRUE(sources[0].overlay_unpacked);
    write(*sources[0].overlay, 12345, test::pattern(100'000, 9));
    sources[0].overlay->flush();
  }
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
  const auto info =
      nlohmann::json::parse(test::must_run("qemu-img info --output=json " + overlay("vm")));
  EXPECT_EQ(info.at("backing-filename-format"), "qcow2");
  Buffer expected = test::read_file(raw);
  const Buffer data = test::pattern(100'000, 9);
  std::copy(data.begin(), data.end(), expected.begin() + 12345);
  test::must_run("qemu-img convert -O raw " + overlay("vm") + " " + (directory_ / "all"));
  Buffer all = test::read_file(directory_ / "all");
  all.resize(expected.size());
  EXPECT_EQ(all, expected);
}

TEST_F(OverlayTest, RawMeansTheBytesOfTheImage) {
  const std::string source = directory_ / "vm.qcow2";
  test::must_run("qemu-img create -q -f qcow2 " + source + " 1G");
  const auto sources = covered({"raw:" + source});
  EXPECT_FALSE(sources[0].overlay_unpacked);
  EXPECT_EQ(sources[0].overlay->size(), fs::file_size(source));
}

TEST_F(OverlayTest, LockedAgainstGuestsAndOneAnother) {
  const std::string source = make_raw();
  const auto sources = covered({source});
  EXPECT_TRUE(contains(refusal({source}), "in use")) << refusal({source});
  EXPECT_TRUE(contains(test::run("qemu-img info " + overlay("disk")).output, "lock"));
  EXPECT_TRUE(contains(test::run("qemu-io -f raw -c 'write 0 512' " + source).output, "lock"));
}

TEST_F(OverlayTest, AChangedSourceIsRefused) {
  const std::string source = make_raw();
  mark(source);
  test::must_run("printf X | dd of=" + source + " bs=1 seek=100 conv=notrunc status=none");
  const std::string why = refusal({source});
  EXPECT_TRUE(contains(why, "the first 1048576 bytes")) << why;
  test::must_run("truncate -s +512 " + source);
  EXPECT_TRUE(contains(refusal({source}), "5242980")) << refusal({source});
}

TEST_F(OverlayTest, ATouchedSourceNeedsAWord) {
  const std::string source = make_raw();
  mark(source);
  test::must_run("touch -d '2001-02-03 04:05:06' " + source);
  EXPECT_TRUE(contains(refusal({source}), "--accept-source")) << refusal({source});
  { const auto sources = covered({source}, Request::Kind::persistent, true); }
  EXPECT_EQ(refusal({source}), "") << "it is remembered";
}

TEST_F(OverlayTest, AnotherSourceIsRefused) {
  { const auto sources = covered({make_raw("disk.img", 1)}); }
  const std::string why = refusal({"disk=" + make_raw("other.img", 2)});
  EXPECT_TRUE(contains(why, "does not belong")) << why;
}

TEST_F(OverlayTest, TwoSourcesOfOneName) {
  fs::create_directory(directory_ / "sub");
  const std::string why = refusal({make_raw(), make_raw("sub/disk.img", 2)});
  EXPECT_TRUE(contains(why, "NAME=PATH")) << why;
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(OverlayTest, NothingIsLeftWhenOneOfThemCannotBe) {
  const std::string encrypted = directory_ / "secret.qcow2";
  test::must_run(
      "qemu-img create -q -f qcow2 --object secret,id=s,data=x -o "
      "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 " +
      encrypted + " 1M");
  const std::string why = refusal({make_raw(), encrypted});
  EXPECT_TRUE(contains(why, "encrypted")) << why;
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(OverlayTest, WhatLiesThereIsNeverOverwritten) {
  const std::string source = make_raw();
  fs::create_directory(folder_);
  test::must_run("qemu-img create -q -f qcow2 " + overlay("disk") + " 1M");
  EXPECT_TRUE(contains(refusal({source}), "no overlay that peelfs has made"));
  test::write_file(overlay("disk"), test::pattern(4096, 1));
  EXPECT_TRUE(contains(refusal({source}), "no overlay that peelfs has made"));
  fs::remove(overlay("disk"));
  fs::create_symlink(source, overlay("disk"));
  EXPECT_TRUE(contains(refusal({source}), "symbolic link"));
  fs::remove(overlay("disk"));
  // The source itself, by its own name in its own directory.
  test::must_run("qemu-img create -q -f qcow2 " + overlay("disk") + " 1M");
  EXPECT_TRUE(contains(refusal({overlay("disk")}), "the source itself"));
}

TEST_F(OverlayTest, ADirectoryThatCannotBeUsed) {
  const std::string source = make_raw();
  folder_ = directory_ / "no/such";
  EXPECT_TRUE(contains(refusal({source}), "No such file")) << refusal({source});
  folder_ = source;
  EXPECT_TRUE(contains(refusal({source}), "no directory")) << refusal({source});
  folder_ = directory_ / "closed";
  fs::create_directory(folder_);
  fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  EXPECT_TRUE(contains(refusal({source}), "Permission denied")) << refusal({source});
}

TEST_F(OverlayTest, AFullDisk) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can mount a small tmpfs";
  fs::create_directory(folder_);
  test::must_run("mount -t tmpfs -o size=64k,mode=0755 none " + folder_);
  const std::string why = refusal({make_raw()});
  const bool empty = fs::is_empty(folder_);
  test::must_run("umount " + folder_);
  EXPECT_TRUE(contains(why, "No space left")) << why;
  EXPECT_TRUE(empty);
}

TEST_F(OverlayTest, NamesAreFileNames) {
  Source source;
  source.stem = "a b/c:d%";
  EXPECT_EQ(overlay_path("d/", source), "d/a%20b%2Fc%3Ad%25.qcow2");
  source.stem = "..";
  EXPECT_EQ(overlay_path("d", source), "d/%2E..qcow2");
}

TEST_F(OverlayTest, ATemporaryOneLeavesNothing) {
  const std::string place = directory_ / "tmp";
  fs::create_directory(place);
  ::setenv("TMPDIR", place.c_str(), 1);
  const std::string source = make_raw();
  const std::string before = test::sha256(test::read_file(source));
  {
    const auto sources = covered({source}, Request::Kind::temporary);
    EXPECT_TRUE(fs::is_empty(place)) << "nothing that a kill could leave";
    const Buffer data = test::pattern(1000, 5);
    write(*sources[0].overlay, 4000, data);
    sources[0].overlay->flush();
    EXPECT_EQ(read_bytes(*sources[0].overlay, 4000, 1000), data);
  }
  ::unsetenv("TMPDIR");
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
}

TEST_F(OverlayTest, LookingNeedsOneAndWritesNothing) {
  const std::string source = make_raw();
  EXPECT_TRUE(contains(refusal({source}, Request::Kind::view), "no directory of overlays"));
  fs::create_directory(folder_);
  EXPECT_TRUE(contains(refusal({source}, Request::Kind::view), "no overlay of these sources"));
  { const auto sources = covered({source}); }
  const std::string before = test::sha256(test::read_file(overlay("disk")));
  const auto sources = covered({source}, Request::Kind::view);
  EXPECT_FALSE(sources[0].overlay->writable());
  EXPECT_EQ(test::sha256(test::read_file(overlay("disk"))), before);
}

}  // namespace
}  // namespace peelfs::overlay
