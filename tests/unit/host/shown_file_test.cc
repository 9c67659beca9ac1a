// Marks on files that a mount shows, between two processes.
#include "host/shown_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/image_lock.h"
#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs {
namespace {

/// A process that has a file open as a mount does, until this goes.
class Server {
 public:
  Server(const std::string& path, bool mounted) {
    int to[2];
    int from[2];
    if (::pipe(to) != 0 || ::pipe(from) != 0) std::abort();
    child_ = ::fork();
    if (child_ == 0) {
      ::close(to[1]);
      announce_mount();
      const auto file = HostFile::open(path);
      // No filesystem of the kernel has this number, so no mount has it.
      if (mounted) announce_mount(makedev(0, 0xffffe));
      char byte = 0;
      [[maybe_unused]] ssize_t ignored = ::write(from[1], "", 1);
      ignored = ::read(to[0], &byte, 1);
      ::_exit(0);
    }
    ::close(to[0]);
    ::close(from[1]);
    alive_ = to[1];
    char byte = 0;
    [[maybe_unused]] const ssize_t ignored = ::read(from[0], &byte, 1);
    ::close(from[0]);
  }
  ~Server() {
    ::close(alive_);
    ::waitpid(child_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  pid_t child_ = -1;
  int alive_ = -1;
};

class ShownFile : public ::testing::Test {
 protected:
  void SetUp() override { test::write_file(path_, test::pattern(65536, 1)); }
  std::string refusal(ImageUse use) const {
    try {
      lock_image(*HostFile::open(other_, HostFile::Access::read_write), use);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.error_number(), EBUSY) << error.what();
      return error.what();
    }
  }
  test::TemporaryDirectory directory_;
  const std::string path_ = directory_ / "disk.img";
  const std::string other_ = directory_ / "link";
};

TEST_F(ShownFile, IsNotWrittenUnderAnyName) {
  test::must_run("ln -s disk.img " + other_);
  for (const bool mounted : {false, true}) {
    const Server server(path_, mounted);
    EXPECT_NE(refusal(ImageUse::written).find("a mount of peelfs that is not seen from here"),
              std::string::npos)
        << refusal(ImageUse::written);
    EXPECT_EQ(refusal(ImageUse::relied_on), "") << "an overlay over what is only read";
  }
  EXPECT_EQ(refusal(ImageUse::written), "") << "the mark ends with the process";
}

TEST_F(ShownFile, OfAnotherFileWithTheSameNameIsNoMark) {
  const Server server(path_, true);
  test::must_run("mv " + path_ + " " + path_ + ".old && cp " + path_ + ".old " + path_ +
                 " && ln -s disk.img " + other_);
  EXPECT_EQ(refusal(ImageUse::written), "");
}

TEST_F(ShownFile, QemuIsNotDisturbed) {
  if (!test::have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const Server server(path_, true);
  EXPECT_NE(test::run("qemu-io -f raw -c 'write 0 4k' " + path_ + " </dev/null")
                .output.find("wrote 4096/4096"),
            std::string::npos);
}

TEST_F(ShownFile, ALockOnTheWholeFileIsNoMark) {
  const auto file = HostFile::open(path_);
  struct flock whole {};
  whole.l_type = F_RDLCK;
  whole.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(file->descriptor(), F_OFD_SETLK, &whole), 0);
  EXPECT_FALSE(shown_at(*HostFile::open(path_)).has_value());
}

}  // namespace
}  // namespace peelfs
