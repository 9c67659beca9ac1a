// Parts of the mount that need no kernel: what it makes of mountinfo, of options, of a flood of
// failures.
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/mountinfo.h"
#include "mount/inodes.h"
#include "mount/lanes.h"
#include "mount/log.h"
#include "mount/preflight.h"
#include "mount/process.h"
#include "mounted.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"

namespace peelfs::test {
namespace {

TEST(Mountinfo, ALineIsTakenApart) {
  const auto entry = parse_mountinfo_line(
      "97 29 0:51 / /mnt/with\\040blank ro,nosuid - fuse.peelfs a\\134b\\054 "
      "ro,user_id=1000,group_id=100,max_read=1048576");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->device, makedev(0, 51));
  EXPECT_EQ(entry->mountpoint, "/mnt/with blank");
  EXPECT_EQ(entry->type, "fuse.peelfs");
  EXPECT_EQ(entry->source, "a\\b,");
  EXPECT_EQ(entry->id_option("user_id"), 1000UL);
  EXPECT_EQ(entry->id_option("group_id"), 100UL);
  EXPECT_EQ(entry->id_option("id"), std::nullopt);
}

TEST(Mountinfo, AnyNumberOfTagsStandsBeforeTheSeparator) {
  for (const char* const tags : {"", "shared:1 ", "shared:1 master:2 propagate_from:3 "}) {
    const auto entry =
        parse_mountinfo_line(std::string("1 2 8:1 / /m rw ") + tags + "- ext4 /dev/sda1 rw");
    ASSERT_TRUE(entry) << tags;
    EXPECT_EQ(entry->type, "ext4");
    EXPECT_FALSE(entry->is_peelfs());
  }
}

TEST(Mountinfo, WhatIsNoLineIsNone) {
  for (const char* const line :
       {"", "1 2 8:1 / /m rw", "1 2 8:1 / /m rw - ext4", "1 2 8 / /m rw - ext4 x rw",
        "1 2 a:b / /m rw - e x r", "1 2 :1 / /m rw - ext4 x rw"}) {
    EXPECT_FALSE(parse_mountinfo_line(line)) << line;
  }
}

TEST(Mountinfo, PathsAreMadeWithoutAskingTheLastComponent) {
  const TemporaryDirectory folder;
  must_run("mkdir " + sh(folder / "real") + " && ln -s real " + sh(folder / "link"));
  EXPECT_EQ(resolve_mountpoint(folder / "real"), folder / "real");
  EXPECT_EQ(resolve_mountpoint(folder / "real///"), folder / "real");
  EXPECT_EQ(resolve_mountpoint(folder / "link"), folder / "real");
  EXPECT_EQ(resolve_mountpoint(folder / "link/../real/."), folder / "real");
  EXPECT_EQ(resolve_mountpoint("/proc"), "/proc");
  EXPECT_EQ(resolve_mountpoint("/"), "/");
  EXPECT_THROW(resolve_mountpoint(folder / "nothing"), Error);
}

TEST(Options, FsnameIsEscapedForLibfuse) {
  EXPECT_EQ(escape_option("fsname=a,b\\c"), "fsname=a\\,b\\\\c");
  EXPECT_EQ(escape_option("plain"), "plain");
}

TEST(Options, WhatTheKernelKnowsIsPassedOnAndTheRestRefused) {
  MountOptions options;
  options.fsname = "x";
  options.kernel_options = {"nodev", "noexec", "relatime", "ro", "max_read=65536"};
  const FuseOptions made = fuse_options(options);
  EXPECT_EQ(made.max_read, 65536U);
  EXPECT_EQ(made.list, (std::vector<std::string>{"ro", "default_permissions", "subtype=peelfs",
                                                 "fsname=x", "nodev", "noexec", "max_read=65536"}));
  for (const char* const wrong :
       {"rw", "user", "max_read=", "max_read=1", "max_read=99999999999999999999", "max_read=4096k",
        "nodev,rw", ""}) {
    options.kernel_options = {wrong};
    EXPECT_THROW(fuse_options(options), Error) << wrong;
  }
  options.kernel_options = {"max_read=999999999"};
  EXPECT_EQ(fuse_options(options).max_read, kMaxReadSize) << "never more than buffers are made for";
}

TEST(Options, AnEndlessFsnameIsCut) {
  MountOptions options;
  options.fsname = std::string(10'000, 'x');
  EXPECT_LT(fuse_options(options).list[3].size(), 4096U);
}

TEST(LogLimiterTest, LetsABurstThroughThenOneInAWhileAndCounts) {
  LogLimiter limiter;
  const auto begin = LogLimiter::Clock::now();
  std::uint64_t held = 0;
  unsigned written = 0;
  for (int i = 0; i < 1000; ++i) written += limiter.allow(held, begin) ? 1 : 0;
  EXPECT_EQ(written, 8U);
  EXPECT_TRUE(limiter.allow(held, begin + std::chrono::seconds(11)));
  EXPECT_EQ(held, 992U);
  EXPECT_FALSE(limiter.allow(held, begin + std::chrono::seconds(12)));
  // Quiet for long: the burst is there again.
  written = 0;
  for (int i = 0; i < 100; ++i) {
    written += limiter.allow(held, begin + std::chrono::seconds(100)) ? 1 : 0;
  }
  EXPECT_EQ(written, 8U);
}

TEST(DirectoryTest, TakesNamesOnceAndNoneThatAreNoFileNames) {
  Directory directory;
  EXPECT_TRUE(directory.add("a", 2, S_IFREG));
  EXPECT_FALSE(directory.add("a", 3, S_IFREG));
  for (const std::string& wrong :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"),
        std::string(256, 'x'), std::string("a\0b", 3)}) {
    EXPECT_FALSE(directory.add(wrong, 4, S_IFREG)) << wrong;
  }
  ASSERT_NE(directory.find("a"), nullptr);
  EXPECT_EQ(directory.find("a")->inode, 2U);
  EXPECT_EQ(directory.find("b"), nullptr);
  EXPECT_EQ(directory.entries().size(), 1U);
}

std::shared_ptr<const DeviceFile> file_of(DevicePtr device) {
  return std::make_shared<const DeviceFile>("x", std::move(device), DeviceFile::Sources{},
                                            std::make_shared<Lane>(), timespec{});
}

TEST(DeviceFileTest, AFailureBelowIsDataForWhoLooksForHoles) {
  const DevicePtr broken =
      make_unreadable(1 << 20, Error(Fault::locked, "no key"), "a locked thing");
  const auto file = file_of(broken);
  EXPECT_EQ(file->seek(77, SEEK_DATA, [] { return false; }), 77U);
  EXPECT_EQ(file->seek(77, SEEK_HOLE, [] { return false; }), 1U << 20);
  EXPECT_EQ(file->blocks().count, (1U << 20) / 512) << "cp must come to read it";
  Buffer bytes(512);
  bool answered = false;
  const auto answer = [&answered](std::span<const iovec> pieces) { answered = pieces.empty(); };
  EXPECT_THROW(file->lend(0, bytes, nullptr, answer), Error);
  EXPECT_FALSE(answered);
  file->lend(1 << 20, bytes, nullptr, answer);
  EXPECT_TRUE(answered) << "the end of the file";
}

/// Alternates between a hole and data, one sector each: nothing can be merged.
class Comb : public BlockDevice {
 public:
  Comb(std::uint64_t size, bool holes) : BlockDevice(size), holes_(holes) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t run = std::min<std::uint64_t>(length, 512 - offset % 512);
    return holes_ ? Extent::zeroes(run) : Extent::computed(run);
  }
  void compute(std::uint64_t, MutableBytes) const override {}
  std::string describe() const override { return "comb"; }

 private:
  bool holes_;
};

TEST(DeviceFileTest, ASearchEndsInTimeAndSaysData) {
  const std::uint64_t size = std::uint64_t{1} << 50;
  const auto begin = std::chrono::steady_clock::now();
  const auto holes = file_of(std::make_shared<Comb>(size, true));
  const std::uint64_t at = holes->seek(0, SEEK_DATA, [] { return false; });
  EXPECT_GT(at, 0U) << "as far as it has come";
  EXPECT_LT(at, size);
  const auto data = file_of(std::make_shared<Comb>(size, false));
  EXPECT_EQ(data->seek(0, SEEK_HOLE, [] { return false; }), size);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

TEST(DeviceFileTest, ASearchCanBeInterrupted) {
  const auto file = file_of(std::make_shared<Comb>(std::uint64_t{1} << 50, true));
  try {
    file->seek(0, SEEK_DATA, [] { return true; });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EINTR);
  }
}

TEST(DeviceFileTest, BlocksAreBelowTheSizeWhereHolesMayBe) {
  const auto file = file_of(std::make_shared<Comb>(1 << 20, true));
  EXPECT_LT(file->blocks().count, (1U << 20) / 512);
  EXPECT_GE(file->blocks().count, 1U) << "0 would tell tar that there is no data at all";
}

TEST(Helpers, ProgramsAreFoundAndTheirFailuresReported) {
  EXPECT_EQ(run_helper("sh", {"-c", "echo one; echo two >&2; exit 3"}).exit_code, 3);
  EXPECT_EQ(run_helper("sh", {"-c", "echo one; echo two >&2"}).output, "one; two");
  EXPECT_EQ(run_helper("no-such-program-at-all", {}).exit_code, 127);
  EXPECT_EQ(run_helper("sh", {"-c", "head -c 1000000 /dev/zero | tr '\\0' x"}).exit_code, 0)
      << "a talkative helper is not waited for with a full pipe";
}

TEST(Helpers, WhatIsWrittenToStandardErrorIsCaptured) {
  CapturedErrors captured;
  EXPECT_EQ(::write(STDERR_FILENO, "one\ntwo\n", 8), 8);
  EXPECT_EQ(captured.finish(), "one; two");
}

}  // namespace
}  // namespace peelfs::test
