// Which devices may be open for writing at the same time.
#include <sys/wait.h>

#include <chrono>

#include "support/fixtures.h"
#include "writable.h"

namespace peelfs::test {
namespace {

using Conflict = WritableDisk;
using Clock = std::chrono::steady_clock;

/// Holds a file open for writing in another process.
class Holder {
 public:
  explicit Holder(const std::string& path) {
    int ready[2] = {-1, -1};
    EXPECT_EQ(::pipe(ready), 0);
    child_ = ::fork();
    if (child_ == 0) {
      const int fd = ::open(path.c_str(), O_RDWR);
      const char answer = fd >= 0 ? 'y' : 'n';
      [[maybe_unused]] const ssize_t ignored = ::write(ready[1], &answer, 1);
      ::pause();
      ::_exit(0);
    }
    char answer = 0;
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Holder() { end(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  void end() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
      child_ = -1;
    }
  }
  pid_t pid() const { return child_; }

 private:
  pid_t child_ = -1;
};

TEST_F(Conflict, WhatOverlapsIsBusyAndTheHolderIsNamed) {
  const auto begin = Clock::now();
  {
    const Holder holder(file("dp1"));
    EXPECT_EQ(Fd(file("d"), O_RDWR).error(), EBUSY);
    EXPECT_EQ(Fd(file("d"), O_RDONLY).error(), 0) << "looking is free";
    const std::string log = mount_->log();
    EXPECT_NE(log.find("d is in use"), std::string::npos) << log;
    EXPECT_NE(log.find("(pid " + std::to_string(holder.pid()) + ") has dp1 open for writing"),
              std::string::npos)
        << log;
  }
  EXPECT_EQ(Fd(file("d"), O_RDWR).error(), 0) << "once it is gone";
  {
    const Holder holder(file("d"));
    for (const char* name : {"dp1", "dp3", "dp5", "dp6"}) {
      EXPECT_EQ(Fd(file(name), O_WRONLY).error(), EBUSY) << name;
      EXPECT_EQ(Fd(file(name), O_RDONLY).error(), 0) << name;
    }
  }
  EXPECT_EQ(Fd(file("dp5"), O_RDWR).error(), 0);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20)) << "nothing waited needlessly";
}

TEST_F(Conflict, WhatDoesNotOverlapIsFree) {
  const Fd one(file("dp1"), O_RDWR);
  const Fd again(file("dp1"), O_RDWR);
  const Fd three(file("dp3"), O_RDWR);
  const Fd five(file("dp5"), O_WRONLY);
  const Fd six(file("dp6"), O_RDWR);
  EXPECT_EQ(one.error() + again.error() + three.error() + five.error() + six.error(), 0);
}

TEST_F(Conflict, AnExtendedPartitionIsInTheWayOfItsLogicalOnes) {
  const Mount mount("-o rw,writable=plainp2 " + sh(plain_));
  Fd extended(mount / "plainp2", O_RDWR);
  ASSERT_EQ(extended.error(), 0) << mount.log();
  EXPECT_EQ(Fd(mount / "plainp5", O_RDWR).error(), EBUSY);
  EXPECT_EQ(Fd(mount / "plain", O_RDWR).error(), EBUSY);
  extended.close();
  const Fd logical(mount / "plainp5", O_RDWR);
  EXPECT_EQ(logical.error(), 0);
  EXPECT_EQ(Fd(mount / "plainp2", O_RDWR).error(), EBUSY);
}

TEST_F(Conflict, OneAfterTheOtherIsNeverBusy) {
  // RELEASE comes after close(2) has returned.
  const Buffer bytes = pattern(4096, 1);
  const std::vector<std::string> names{"dp1", "d", "dp5", "d", "dp3"};
  for (unsigned i = 0; i < 300; ++i) {
    Fd fd(file(names[i % names.size()]), O_RDWR);
    ASSERT_EQ(fd.error(), 0) << i << mount_->log();
    if (i % 3 == 0 && i % names.size() % 2 == 0) {
      ASSERT_EQ(fd.write(4096, bytes), 0);
    }
    ASSERT_EQ(fd.close(), 0);
  }
}

TEST_F(Conflict, AShellSequenceIsNeverBusy) {
  NEED_PROGRAM("mkfs.ext4");
  const std::string script =
      "mkfs.ext4 -q -F " + sh(file("dp1")) + " && for i in 1 2 3 4 5; do e2fsck -fy " +
      sh(file("dp1")) + " >/dev/null; e2fsck -fy " + sh(file("dp1")) +
      " >/dev/null || exit 1; sfdisk -q --part-type " + sh(file("d")) +
      " 3 83 || exit 2; tune2fs -L l$i " + sh(file("dp1")) +
      " >/dev/null || exit 3; dd if=" + sh(file("d")) + " of=" + sh(file("d")) +
      " bs=512 count=1 conv=notrunc status=none || exit 4; done";
  const CommandResult result = run(script);
  EXPECT_EQ(result.exit_code, 0) << result.output << mount_->log();
  EXPECT_EQ(mount_->log().find("is in use"), std::string::npos) << mount_->log();
  EXPECT_TRUE(is_mounted(mount_->path()));
  EXPECT_EQ(run("e2fsck -fn " + sh(file("dp1"))).exit_code, 0);
}

TEST_F(Conflict, ACloseThatIsNoneDoesNotBlockForever) {
  Fd fd(file("dp1"), O_RDWR);
  const int second = ::dup(fd.get());
  fd.close();  // a FLUSH, but no RELEASE follows
  const auto begin = Clock::now();
  EXPECT_EQ(Fd(file("d"), O_RDWR).error(), EBUSY);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(15));
  EXPECT_EQ(Fd(file("d"), O_RDONLY).read(0, 512).size(), 512U);
  const Buffer bytes = pattern(512, 2);
  EXPECT_EQ(::pwrite(second, bytes.data(), 512, 0), 512) << "it goes on writing";
  EXPECT_EQ(Fd(file("d"), O_RDWR).error(), EBUSY);
  ::close(second);
  EXPECT_EQ(Fd(file("d"), O_RDWR).error(), 0);
}

TEST_F(Conflict, OpensThatWaitBlockNobody) {
  Fd fd(file("dp1"), O_RDWR);
  const int second = ::dup(fd.get());
  fd.close();
  std::vector<pid_t> waiting;
  for (int i = 0; i < 40; ++i) {  // more than the mount has threads
    waiting.push_back(::fork());
    if (waiting.back() == 0) {
      ::_exit(::open(file("d").c_str(), O_RDWR) < 0 && errno == EBUSY ? 0 : 1);
    }
  }
  const Fd reader(file("dp3"), O_RDONLY | O_DIRECT);
  Aligned memory(4096);
  const auto begin = Clock::now();
  EXPECT_EQ(::pread(reader.get(), memory.bytes().data(), 4096, 0), 4096);
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1500));
  for (const pid_t pid : waiting) {
    int status = -1;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  ::close(second);
}

TEST(ConflictVolumes, TwoVolumesOfAGroupAreFreeAndTheirDiskIsNot) {
  NEED_MOUNTS();
  const std::string image = fixture_image("fslvs");
  if (image.empty()) GTEST_SKIP() << "fixture fslvs is not here";
  const TemporaryDirectory folder;
  const std::string source = folder / "fslvs.raw";
  must_run("cp --sparse=always " + sh(image) + " " + sh(source) + " && chmod 600 " + sh(source));
  const Mount mount("-o rw " + sh("raw:" + source));
  const std::string listing = must_run("ls " + sh(mount.path()));
  std::vector<std::string> volumes;
  std::size_t begin = 0;
  for (std::size_t end = listing.find('\n'); end != std::string::npos;
       end = listing.find('\n', begin)) {
    const std::string name = listing.substr(begin, end - begin);
    struct stat status {};
    if (::stat((mount / name).c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        name.find('-') != std::string::npos && (status.st_mode & 0200U) != 0) {
      volumes.push_back(name);
    }
    begin = end + 1;
  }
  ASSERT_GE(volumes.size(), 2U) << listing;
  const Fd first(mount / volumes[0], O_RDWR);
  const Fd second(mount / volumes[1], O_RDWR);
  EXPECT_EQ(first.error() + second.error(), 0) << mount.log();
  const Fd disk(mount / "fslvs", O_RDWR);
  EXPECT_TRUE(disk.error() == EBUSY || disk.error() == EROFS || disk.error() == EACCES)
      << disk.error();
  const Buffer bytes = pattern(4096, 9);
  EXPECT_EQ(first.write(8192, bytes), 0);
  EXPECT_EQ(second.read(8192, 4096) == bytes, false);
}

}  // namespace
}  // namespace peelfs::test
