// Locks on image files, against qemu's own programs in both directions.
#include "host/image_lock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "support/support.h"

namespace peelfs {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// qemu-io with an image open until this goes.
class Guest {
 public:
  Guest(const std::string& options, const std::string& path)
      : pipe_(::popen(
            ("exec qemu-io " + options + " -f qcow2 " + path + " >/dev/null 2>&1").c_str(), "w")) {}
  ~Guest() { end(); }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  void end() {
    if (pipe_ != nullptr) ::pclose(pipe_);
    pipe_ = nullptr;
  }

 private:
  std::FILE* pipe_;
};

class ImageLock : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
    path_ = directory_ / "disk.img";
    // A program that reads a raw image lets others write it; one that reads a qcow2 does not.
    test::must_run("qemu-img create -q -f qcow2 " + path_ + " 1M");
  }
  std::shared_ptr<const HostFile> reading() const { return HostFile::open(path_); }
  std::shared_ptr<const HostFile> writing() const {
    return HostFile::open(path_, HostFile::Access::read_write);
  }
  /// @return what lock_image says; "" when it takes the locks
  static std::string refusal(const HostFile& file, ImageUse use) {
    try {
      lock_image(file, use);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.error_number(), EBUSY) << error.what();
      return error.what();
    }
  }
  bool wait_for_writer() const {
    for (int i = 0; i < 500; ++i) {
      if (!image_writer(*reading()).empty()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  std::string qemu(const std::string& command) const {
    return test::run("qemu-io " + command + " " + path_ + " </dev/null").output;
  }
  test::TemporaryDirectory directory_;
  std::string path_;
};

TEST_F(ImageLock, AGuestThatWritesIsNamedAndKeepsOthersOut) {
  Guest guest("", path_);
  ASSERT_TRUE(wait_for_writer());
  EXPECT_TRUE(contains(image_writer(*reading()), "qemu-io (pid ")) << image_writer(*reading());
  const std::string written = refusal(*writing(), ImageUse::written);
  EXPECT_TRUE(contains(written, "qemu-io (pid ")) << written;
  const std::string relied_on = refusal(*reading(), ImageUse::relied_on);
  EXPECT_TRUE(contains(relied_on, "qemu-io (pid ")) << relied_on;
  guest.end();
  EXPECT_EQ(image_writer(*reading()), "");
  EXPECT_EQ(refusal(*writing(), ImageUse::written), "");
}

TEST_F(ImageLock, AGuestThatReadsKeepsWritersOut) {
  // A reader writes nothing, so a refusal is the only sign that it has the image open. Asking for
  // it takes the lock for a moment; a guest that starts in that moment ends.
  std::optional<Guest> guest;
  std::string why;
  for (int i = 0; i < 200 && why.empty(); ++i) {
    if (i % 20 == 0) guest.emplace("-r", path_);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    why = refusal(*writing(), ImageUse::written);
  }
  EXPECT_TRUE(contains(why, "relies on it")) << why;
  EXPECT_EQ(image_writer(*reading()), "");
  EXPECT_EQ(refusal(*reading(), ImageUse::relied_on), "")
      << "two readers do not disturb each other";
}

TEST_F(ImageLock, QemuHonoursWhatIsWritten) {
  const auto file = writing();
  ASSERT_EQ(refusal(*file, ImageUse::written), "");
  EXPECT_TRUE(contains(qemu("-f qcow2 -c 'write 0 4k'"), "lock"));
  EXPECT_TRUE(contains(qemu("-r -f qcow2 -c 'read 0 4k'"), "lock"));
  EXPECT_TRUE(contains(qemu("-r -U -f qcow2 -c 'read 0 4k'"), "read 4096/4096"));
}

TEST_F(ImageLock, QemuHonoursWhatIsReliedOn) {
  const auto file = reading();
  ASSERT_EQ(refusal(*file, ImageUse::relied_on), "");
  EXPECT_TRUE(contains(qemu("-f qcow2 -c 'write 0 4k'"), "lock"));
  EXPECT_TRUE(contains(qemu("-r -f qcow2 -c 'read 0 4k'"), "read 4096/4096"));
}

TEST_F(ImageLock, LocksEndWithTheFile) {
  auto file = writing();
  ASSERT_EQ(refusal(*file, ImageUse::written), "");
  file.reset();
  EXPECT_TRUE(contains(qemu("-f qcow2 -c 'write 0 4k'"), "wrote 4096/4096"));
}

TEST_F(ImageLock, ARefusalLeavesNoLockBehind) {
  const auto first = writing();
  ASSERT_EQ(refusal(*first, ImageUse::written), "");
  const auto second = writing();
  EXPECT_NE(refusal(*second, ImageUse::written), "");
  EXPECT_NE(refusal(*second, ImageUse::relied_on), "");
  // The second one's own bytes would make the first one's writer look doubled, and stay behind.
  EXPECT_EQ(refusal(*first, ImageUse::written), "");
}

TEST_F(ImageLock, AProbeTakesNothing) {
  const auto file = reading();
  EXPECT_EQ(image_writer(*file), "");
  EXPECT_TRUE(contains(qemu("-f qcow2 -c 'write 0 4k'"), "wrote 4096/4096"));
}

}  // namespace
}  // namespace peelfs
