// Listing a directory without leaving a trace in it.
#include "host/folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

timespec access_time(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_atim;
}

TEST(NamesInAFolder, AreSortedAndLeaveItsAccessTimeAlone) {
  const TemporaryDirectory folder;
  fs::create_directory(folder / "d");
  for (const char* name : {"b.img", "a.img", ".hidden"}) {
    write_file(folder / ("d/" + std::string(name)), {});
  }
  // Long ago: relatime writes an access time only where it is older than the last change.
  const timespec past[] = {{981173106, 0}, {0, UTIME_OMIT}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "d").c_str(), past, 0), 0);
  EXPECT_EQ(names_in(folder / "d"), (std::vector<std::string>{".hidden", "a.img", "b.img"}));
  EXPECT_EQ(access_time(folder / "d").tv_sec, past[0].tv_sec);
  std::size_t listed = 0;
  for (const auto& entry : fs::directory_iterator(folder / "d")) listed += entry.exists() ? 1 : 0;
  EXPECT_EQ(listed, 3U);
  if (access_time(folder / "d").tv_sec == past[0].tv_sec) {
    GTEST_SKIP() << "nothing changes access times here";
  }
}

TEST(NamesInAFolder, OneThatCannotBeListedIsAnError) {
  const TemporaryDirectory folder;
  EXPECT_THROW(names_in(folder / "nothing"), Error);
  write_file(folder / "file", {});
  EXPECT_THROW(names_in(folder / "file"), Error);
}

}  // namespace
}  // namespace peelfs::test
