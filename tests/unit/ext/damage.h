// An ext filesystem in memory whose bytes a test changes.
#pragma once

#include "ext/ext_disk.h"
#include "ext_support.h"
#include "peelfs/error.h"

namespace peelfs::test {

/// A small filesystem with disk images, made without privileges, whose bytes a test changes.
class Damage : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("debugfs")) {
      GTEST_SKIP() << "needs mke2fs and debugfs (e2fsprogs)";
    }
  }

  /// Without checksums, so that the structure itself has to give the damage away.
  void make(const std::string& options = "-t ext4 -b 1024 -O ^metadata_csum,^64bit") {
    const std::string tree = directory_ / "tree";
    must_run("mkdir -p '" + tree + "/dir'");
    // One kibibyte of data in every two: an extent tree with two levels below the inode.
    const Buffer bytes = pattern(1024, 1);
    for (std::uint64_t i = 0; i < 600; ++i) write_at(tree + "/many.img", i * 2048, bytes);
    write_at(tree + "/dir/plain.img", 0, pattern(100'000, 2));
    image_path_ = directory_ / "image";
    ASSERT_TRUE(make_filesystem(image_path_, "8M", options + " -d '" + tree + "'"));
    device_ = std::make_shared<MemoryDevice>(read_file(image_path_));
  }

  std::string debugfs(const std::string& command) {
    return must_run("/sbin/debugfs -R '" + command + "' '" + image_path_ + "' 2>/dev/null");
  }

  /// Where the inode of a path stands in the image.
  std::size_t inode_at(const std::string& path) {
    const std::string text = debugfs("imap " + path);
    // "... located at block 38, offset 0x0080"
    const auto block = std::stoul(text.substr(text.find("block ", text.find("located")) + 6));
    const auto offset = std::stoul(text.substr(text.find("offset ") + 7), nullptr, 16);
    return block * block_size() + offset;
  }
  std::size_t i_block_at(const std::string& path) { return inode_at(path) + 0x28; }
  std::size_t block_size() const { return 1024U << get32(bytes(), 1024 + 0x18); }

  /// First block of a directory.
  std::size_t directory_block_at(const std::string& path) {
    return std::stoul(debugfs("bmap " + path + " 0")) * block_size();
  }

  Buffer& bytes() const { return device_->bytes(); }
  SeenImage see(const Limits& limits = {}) const { return SeenImage(device_, limits); }
  std::string failure(const std::string& path) const {
    return read_failure(*see().at(path).device);
  }
  static ::testing::AssertionResult says(const std::string& text,
                                         const std::vector<std::string>& parts) {
    for (const std::string& part : parts) {
      if (text.find(part) == std::string::npos) {
        return ::testing::AssertionFailure()
               << "\"" << text << "\" does not say \"" << part << "\"";
      }
    }
    return ::testing::AssertionSuccess();
  }

  TemporaryDirectory directory_;
  std::string image_path_;
  std::shared_ptr<MemoryDevice> device_;
};

#define EXPECT_SAYS(text, ...) EXPECT_TRUE(says((text), {__VA_ARGS__}))

}  // namespace peelfs::test
