// Small ext filesystems that are written to, and what e2fsprogs says of them afterwards.
#pragma once

#include "ext_support.h"
#include "peelfs/error.h"

namespace peelfs::test {

class ExtWrite : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("debugfs") || !have_program("e2fsck")) {
      GTEST_SKIP() << "needs mke2fs, debugfs and e2fsck (e2fsprogs)";
    }
  }

  /// Files: plain.img (all data), sparse.img (holes, unwritten blocks where there are extents, an
  /// end within a block), many.img (every other KiB), grow.img, other.img.
  Buffer make(const std::string& options, const std::string& size = "12M") {
    const std::string tree = directory_ / "tree";
    must_run("rm -rf '" + tree + "' && mkdir '" + tree + "'");
    write_at(tree + "/plain.img", 0, pattern(200'000, 1));
    write_at(tree + "/sparse.img", 300'000, pattern(100'000, 2));
    write_at(tree + "/sparse.img", 1'500'000, pattern(123, 3));
    for (std::uint64_t i = 0; i < 200; ++i) {
      write_at(tree + "/many.img", i * 8192, pattern(1024, i));
    }
    write_at(tree + "/grow.img", 0, pattern(70'001, 4));
    write_at(tree + "/other.img", 0, pattern(300'000, 5));
    image_ = directory_ / "image";
    must_run("rm -f '" + image_ + "'");
    EXPECT_TRUE(make_filesystem(image_, size, options + " -d '" + tree + "'"));
    if (options.find("ext4") != std::string::npos) {
      must_run("/sbin/debugfs -w -R 'fallocate /sparse.img 20 60' '" + image_ + "' 2>/dev/null");
    }
    // mke2fs -d does not count what it copies.
    if (options.find("quota") != std::string::npos) fsck("-fy");
    EXPECT_EQ(fsck("-fn"), 0) << options << said_;
    return read_file(image_);
  }

  /// e2fsck's exit code; what it said goes to the failing test.
  int fsck(const std::string& options) {
    const CommandResult result = run("/sbin/e2fsck " + options + " '" + image_ + "'");
    said_ = result.output;
    return result.exit_code;
  }
  void put_image(Bytes bytes) { write_file(image_, bytes); }

  /// A file as debugfs reads it.
  Buffer dump(const std::string& name) {
    const std::string out = directory_ / "dumped";
    must_run("rm -f '" + out + "' && /sbin/debugfs -R 'dump /" + name + " " + out + "' '" + image_ +
             "' 2>/dev/null");
    return read_file(out);
  }

  static std::vector<std::string> kinds() {
    return {"-t ext2 -b 1024",
            "-t ext2 -b 4096",
            "-t ext3 -b 1024",
            "-t ext4 -b 1024 -O 64bit,metadata_csum",
            "-t ext4 -b 4096 -O 64bit,metadata_csum,flex_bg",
            "-t ext4 -b 1024 -g 1024 -O ^metadata_csum,uninit_bg,^flex_bg,^64bit,^resize_inode",
            "-t ext4 -b 2048 -O ^has_journal,metadata_csum -I 1024"};
  }

  ScratchDirectory directory_;
  std::string image_, said_;
};

/// A write, and the same to a model. Files grow by whole sectors.
inline void write_both(const BlockDevice& device, Buffer& model, std::uint64_t offset,
                       const Buffer& bytes) {
  write(device, offset, bytes);
  if (model.size() < offset + bytes.size()) model.resize(round_up(offset + bytes.size(), 512));
  std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace peelfs::test
