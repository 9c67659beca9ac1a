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
  void name_journal() const {
    test::must_run("export PATH=$PATH:/usr/sbin:/sbin; debugfs -w -R 'feature has_journal' " +
                   image_ + " 2>&1; debugfs -w -R 'ssv journal_uuid " + kUuid + "' " + image_ +
                   " 2>&1");
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
  for (const char* const options :
       {"-b 1024 -O ^has_journal", "-b 2048 -O ^has_journal", "-b 4096 -O ^has_journal",
        "-b 4096 -O ^has_journal,^metadata_csum,^resize_inode"}) {
    make(options);
    name_journal();
    EXPECT_EQ(named(), kUuid) << options;
    lose_first();
    EXPECT_EQ(named(), kUuid) << options;
  }
}

}  // namespace
}  // namespace peelfs::ext
