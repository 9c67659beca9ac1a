// External journals, as mke2fs and debugfs write them down.
#include "ext/journal_device.h"

#include <gtest/gtest.h>

#include "support/support.h"

namespace peelfs::ext {
namespace {

const std::string kUuid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

class JournalDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("mke2fs") || !test::have_program("debugfs")) {
      GTEST_SKIP() << "e2fsprogs is not installed";
    }
  }
  void make(const std::string& options) const {
    test::must_run("export PATH=$PATH:/usr/sbin:/sbin; rm -f " + image_ + "; truncate -s 300M " +
                   image_ + "; mke2fs -q -F -t ext4 " + options + " " + image_);
  }
  /// In the superblock and, as tune2fs does it and debugfs does not, in the copy in block group 1.
  void name_journal(std::uint64_t copy_at) const {
    test::must_run("export PATH=$PATH:/usr/sbin:/sbin; debugfs -w -R 'feature has_journal' " +
                   image_ + " 2>&1; debugfs -w -R 'ssv journal_uuid " + kUuid + "' " + image_ +
                   " 2>&1; dd if=" + image_ + " of=" + image_ +
                   " bs=1024 skip=1 count=1 conv=notrunc status=none seek=" +
                   std::to_string(copy_at / 1024) + "; printf '\\001' | dd of=" + image_ +
                   " bs=1 conv=notrunc status=none seek=" + std::to_string(copy_at + 0x5a));
  }
  void lose_first() const {
    test::must_run("dd if=/dev/zero of=" + image_ +
                   " bs=1024 seek=1 count=1 conv=notrunc status=none");
  }
  std::optional<std::string> named() const { return external_journal(*test::file_device(image_)); }
  const test::TemporaryDirectory folder_;
  const std::string image_ = folder_ / "fs";
};

TEST_F(JournalDevice, InsideOrNone) {
  make("");
  EXPECT_EQ(named(), std::nullopt);
  lose_first();
  EXPECT_EQ(named(), std::nullopt);
  make("-O ^has_journal");
  EXPECT_EQ(named(), std::nullopt);
  make("-O journal_dev");
  EXPECT_EQ(named(), std::nullopt) << "a journal has none";
  test::write_file(image_, test::pattern(1U << 20U, 3));
  EXPECT_EQ(named(), std::nullopt);
}

TEST_F(JournalDevice, OutsideAlsoWhenTheFirstSuperblockIsLost) {
  struct Layout {
    const char* options;
    std::uint64_t copy_at;
  };
  for (const Layout& layout :
       {Layout{"-b 1024 -O ^has_journal", 8193ULL * 1024},
        Layout{"-b 2048 -O ^has_journal", 16384ULL * 2048},
        Layout{"-b 4096 -O ^has_journal", 32768ULL * 4096},
        Layout{"-b 4096 -O ^has_journal,^metadata_csum,^resize_inode", 32768ULL * 4096}}) {
    make(layout.options);
    name_journal(layout.copy_at);
    EXPECT_EQ(named(), kUuid) << layout.options;
    lose_first();
    EXPECT_EQ(named(), kUuid) << layout.options;
  }
}

}  // namespace
}  // namespace peelfs::ext
