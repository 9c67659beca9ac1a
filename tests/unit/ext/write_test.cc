// Files of ext filesystems that are written to, against e2fsck and debugfs.
#include <thread>

#include "write_support.h"

namespace peelfs::test {
namespace {

/// The errno and the message that a call throws; 0 when it does not.
template <typename Call>
std::pair<int, std::string> failure_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.error_number(), error.what()};
  }
  return {0, ""};
}

TEST_F(ExtWrite, KeepsTheContractOverDataHolesAndUnwrittenBlocks) {
  for (const std::string& kind : kinds()) {
    for (const std::string name : {"plain.img", "sparse.img", "many.img"}) {
      const auto disk = writable_memory(make(kind));
      Buffer whole;
      {
        const SeenImage seen(disk);
        whole = check_write_contract(*seen.at(name).device, name.size());
        check_contract(*seen.at(name).device);
      }
      put_image(disk->bytes());
      EXPECT_EQ(fsck("-fn"), 0) << kind << " " << name << "\n" << said_;
      EXPECT_TRUE(dump(name) == whole) << kind << " " << name;
      EXPECT_TRUE(dump("other.img") == pattern(300'000, 5)) << kind;
      EXPECT_TRUE(read_bytes(*SeenImage(disk).at(name).device, 0, whole.size()) == whole) << kind;
    }
  }
}

TEST_F(ExtWrite, FilesGrowSideBySide) {
  for (const std::string& kind : kinds()) {
    const auto disk = writable_memory(make(kind, "24M"));
    Buffer grow = pattern(70'001, 4), other = pattern(300'000, 5);
    {
      const SeenImage seen(disk);
      const DevicePtr a = seen.at("grow.img").device->growable();
      const DevicePtr b = seen.at("other.img").device->growable();
      ASSERT_TRUE(a && b);
      EXPECT_EQ(read_bytes(*a, 70'001, 100'000), Buffer(100'000));
      for (unsigned i = 0; i < 60; ++i) {
        write_both(*a, grow, grow.size() + (i % 7 == 0 ? 33'333 : 0), pattern(20'000 + i, i));
        write_both(*b, other, other.size(), pattern(65'536, i + 100));
        if (i % 20 == 10) a->flush();
        if (i % 9 == 0) {
          EXPECT_TRUE(read_bytes(*a, 0, grow.size()) == grow) << kind << i;
          EXPECT_TRUE(read_bytes(*b, 0, other.size()) == other) << kind << i;
        }
      }
      // The device that was opened before keeps its size, and is not read as if that were all.
      EXPECT_EQ(seen.at("grow.img").device->size(), 70'001U);
      EXPECT_EQ(failure_of([&] { (void)read_bytes(*seen.at("grow.img").device, 0, 512); }).first,
                EIO);
      EXPECT_LE(grow.size(), a->allocated_bytes() + 60 * 33'333);
      write_both(*seen.at("grow.img").device, grow, 69'990, pattern(11, 9));
      EXPECT_TRUE(read_bytes(*a, 0, grow.size()) == grow) << kind;
      a->flush();
      // The filesystem may have been changed as a whole before it was opened again: devices that
      // were opened before refuse all writes.
      EXPECT_EQ(SeenImage(disk).at("grow.img").device->size(), grow.size());
      EXPECT_EQ(failure_of([&] { write(*a, grow.size(), Buffer(70'000)); }).first, ESTALE);
    }
    put_image(disk->bytes());
    EXPECT_EQ(fsck("-fn"), 0) << kind << "\n" << said_;
    EXPECT_TRUE(dump("grow.img") == grow) << kind;
    EXPECT_TRUE(dump("other.img") == other) << kind;
    // A second session goes on where the first has ended.
    {
      const SeenImage seen(disk);
      const DevicePtr a = seen.at("grow.img").device->growable();
      write_both(*a, grow, grow.size() + 5000, pattern(5000, 77));
      a->flush();
    }
    put_image(disk->bytes());
    EXPECT_EQ(fsck("-fn"), 0) << kind << "\n" << said_;
    EXPECT_TRUE(dump("grow.img") == grow) << kind;
  }
}

TEST_F(ExtWrite, TheKernelReadsWhatWeWrote) {
  if (!can_mount()) GTEST_SKIP() << cannot_mount();
  for (const std::string& kind : kinds()) {
    const auto disk = writable_memory(make(kind, "24M"));
    Buffer grow = pattern(70'001, 4);
    {
      const DevicePtr a = SeenImage(disk).at("grow.img").device->growable();
      for (unsigned i = 0; i < 200; ++i) write_both(*a, grow, i * 37'003, pattern(5000, i));
      a->flush();
    }
    put_image(disk->bytes());
    const KernelMount mount(image_, "ro");
    ASSERT_TRUE(mount.mounted()) << kind;
    EXPECT_TRUE(read_file(mount / "grow.img") == grow) << kind;
  }
}

TEST_F(ExtWrite, TheFilesystemsOwnTablesAreNotOverwritten) {
  make("-t ext2 -b 1024");
  // Group 0's inode table, as a damaged or hostile block map would name it.
  const std::string table =
      must_run("/sbin/dumpe2fs '" + image_ +
               "' 2>/dev/null | sed -n 's/.*Inode table at \\([0-9]*\\).*/\\1/p' | head -1");
  must_run("/sbin/debugfs -w -R 'sif /plain.img block[1] " + table.substr(0, table.find('\n')) +
           "' '" + image_ + "' 2>/dev/null");
  const Buffer before = read_file(image_);
  const auto disk = writable_memory(before);
  const SeenImage seen(disk);
  const DevicePtr file = seen.at("plain.img").device;
  ASSERT_TRUE(file->writable()) << file->read_only_reason();
  const auto [error_number, message] = failure_of([&] { write(*file, 1024, Buffer(1024)); });
  EXPECT_EQ(error_number, EIO);
  EXPECT_NE(message.find("own tables"), std::string::npos) << message;
  EXPECT_EQ(failure_of([&] { zero(*file, 1024, 1024, WriteKind::zeroes); }).first, EIO);
  EXPECT_TRUE(disk->bytes() == before);
  EXPECT_EQ(failure_of([&] { write(*file, 0, Buffer(1024)); }).first, 0);
}

// Bytes behind the end within the last block do not belong to the file; they must not appear when
// it grows.
TEST_F(ExtWrite, WhatLaysBehindTheEndDoesNotBecomeData) {
  const auto disk = writable_memory(make("-t ext4 -b 4096"));
  {
    const SeenImage seen(disk);
    const Extent last = seen.at("grow.img").device->map(70'000, 1);
    ASSERT_EQ(last.kind, ExtentKind::lower);
    std::fill_n(disk->bytes().begin() + static_cast<std::ptrdiff_t>(last.offset) + 1, 2000,
                std::byte{0xee});
    const DevicePtr grow = seen.at("grow.img").device->growable();
    write(*grow, 71'000, pattern(10, 1));
    write(*grow, 200'000, pattern(10, 1));
    EXPECT_EQ(read_bytes(*grow, 70'001, 999), Buffer(999));
    EXPECT_EQ(read_bytes(*grow, 71'010, 100'000), Buffer(100'000));
  }
}

TEST_F(ExtWrite, AFullFilesystemIsNoSpaceAndStaysWhole) {
  for (const std::string& kind : kinds()) {
    const auto disk = writable_memory(make(kind));
    Buffer grow = pattern(70'001, 4);
    {
      const SeenImage seen(disk);
      const DevicePtr a = seen.at("grow.img").device->growable();
      const Buffer chunk = pattern(50'000, 6);
      std::pair<int, std::string> failure;
      for (unsigned i = 0; i < 1000 && failure.first == 0; ++i) {
        failure = failure_of([&] { write_both(*a, grow, grow.size(), chunk); });
      }
      EXPECT_EQ(failure.first, ENOSPC) << failure.second;
      EXPECT_NE(failure.second.find("full"), std::string::npos) << failure.second;
      EXPECT_EQ(failure_of([&] { a->flush(); }).first, 0) << kind;
      // What has a place can still be written.
      write_both(*a, grow, 100, pattern(1000, 8));
      a->flush();
      grow.resize(std::max<std::size_t>(grow.size(), 0));
      EXPECT_TRUE(read_bytes(*a, 0, grow.size()) == grow) << kind;
    }
    put_image(disk->bytes());
    EXPECT_EQ(fsck("-fn"), 0) << kind << "\n" << said_;
    Buffer dumped = dump("grow.img");
    ASSERT_GE(dumped.size(), grow.size());
    dumped.resize(grow.size());  // the write that failed may have come a part of the way
    EXPECT_TRUE(dumped == grow) << kind;
  }
}

TEST_F(ExtWrite, ZeroesNeedNoSpace) {
  const auto disk = writable_memory(make("-t ext4 -b 4096"));
  {
    const SeenImage seen(disk);
    const DevicePtr device = seen.at("sparse.img").device;
    zero(*device, 0, device->size(), WriteKind::discard);
    EXPECT_EQ(read_bytes(*device, 0, device->size()), Buffer(device->size()));
  }
  put_image(disk->bytes());
  EXPECT_EQ(fsck("-fn"), 0) << said_;
  EXPECT_EQ(dump("sparse.img"), Buffer(dump("sparse.img").size()));
}

TEST_F(ExtWrite, WhatCannotBeWrittenSaysWhy) {
  const Buffer clean = make("-t ext4 -b 4096");
  const auto refusal = [&](const std::string& command, const std::string& name = "plain.img") {
    put_image(clean);
    must_run("/sbin/debugfs -w -R '" + command + "' '" + image_ + "' 2>/dev/null");
    const auto disk = writable_memory(read_file(image_));
    const SeenImage seen(disk);
    const DevicePtr device = seen.at(name).device;
    EXPECT_FALSE(device->writable()) << command;
    const auto [number, text] = failure_of([&] { write(*device, 0, Buffer(1)); });
    EXPECT_EQ(number, EROFS) << command;
    return text;
  };
  EXPECT_NE(refusal("feature needs_recovery").find("journal needs recovery"), std::string::npos);
  EXPECT_NE(refusal("ssv state 0").find("not cleanly unmounted"), std::string::npos);
  EXPECT_NE(refusal("ssv state 3").find("errors"), std::string::npos);
  EXPECT_NE(refusal("ssv last_orphan 15").find("deleted"), std::string::npos);
  EXPECT_NE(refusal("feature mmp").find("multi-mount"), std::string::npos);
  EXPECT_NE(refusal("feature FEATURE_R30").find("features"), std::string::npos);
  EXPECT_NE(refusal("sif plain.img flags 0x80010").find("immutable"), std::string::npos);
  EXPECT_NE(refusal("sif plain.img flags 0x80020").find("append-only"), std::string::npos);
  EXPECT_NE(refusal("sif plain.img flags 0x180000").find("verity"), std::string::npos);
}

// Where no space may be allocated, what is stored can still be overwritten.
TEST_F(ExtWrite, FeaturesWithoutAllocation) {
  for (const char* feature :
       {"quota", "project,quota", "inline_data", "encrypt", "verity", "bigalloc"}) {
    const std::string kind = std::string("-t ext4 -b 4096 -I 256 -O ") + feature;
    if (run("truncate -s 16M " + (directory_ / "try") + " && /sbin/mke2fs -q -F " + kind + " " +
            (directory_ / "try"))
            .exit_code != 0) {
      continue;
    }
    const auto disk = writable_memory(make(kind, "16M"));
    {
      const SeenImage seen(disk);
      const DevicePtr plain = seen.at("plain.img").device, sparse = seen.at("sparse.img").device;
      write(*plain, 1000, pattern(5000, 9));
      const auto [number, text] = failure_of([&] { write(*sparse, 1'000'000, pattern(5000, 9)); });
      EXPECT_EQ(number, ENOSPC) << feature;
      EXPECT_NE(text.find(std::string(feature).substr(std::string(feature).find(',') + 1)),
                std::string::npos)
          << text;
    }
    put_image(disk->bytes());
    EXPECT_EQ(fsck("-fn"), 0) << feature << said_;
    Buffer expected = pattern(200'000, 1);
    const Buffer bytes = pattern(5000, 9);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + 1000);
    EXPECT_TRUE(dump("plain.img") == expected) << feature;
  }
}

TEST_F(ExtWrite, ReadersBesideAGrowingMapSeeOldOrNew) {
  const auto disk = writable_memory(make("-t ext4 -b 1024", "24M"));
  const SeenImage seen(disk);
  const DevicePtr many = seen.at("many.img").device;
  std::atomic<bool> done = false;
  std::string failure;
  std::thread reader([&] {
    try {
      for (unsigned i = 0; !done; ++i) {
        const std::uint64_t offset = i * 8192ULL % (190 * 8192ULL);
        const Buffer bytes = read_bytes(*many, offset, 8192);
        const Buffer kept = pattern(1024, offset / 8192);
        if (!std::equal(kept.begin(), kept.end(), bytes.begin())) failure = "a kept byte is wrong";
        for (std::size_t at = 1024; at < bytes.size(); ++at) {
          if (bytes[at] != std::byte{0} && bytes[at] != std::byte{0x77}) failure = "a wrong byte";
        }
      }
    } catch (const std::exception& error) {
      failure = error.what();
    }
  });
  for (unsigned i = 0; i < 190; ++i) {
    write(*many, i * 8192ULL + 1024, Buffer(7168, std::byte{0x77}));
    many->flush();
  }
  done = true;
  reader.join();
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace peelfs::test
