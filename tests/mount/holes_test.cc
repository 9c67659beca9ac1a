// Holes: what lseek and st_blocks say, against the host's own file and against qemu-img.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <random>

#include "mounted.h"

namespace peelfs::test {
namespace {

struct Stretch {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const Stretch&) const = default;
};

void PrintTo(const Stretch& stretch, std::ostream* out) {
  *out << stretch.offset << "+" << stretch.length;
}

/// The data of a file as lseek tells it.
std::vector<Stretch> data_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_GE(fd, 0);
  std::vector<Stretch> found;
  off_t at = 0;
  while ((at = ::lseek(fd, at, SEEK_DATA)) >= 0) {
    const off_t end = ::lseek(fd, at, SEEK_HOLE);
    EXPECT_GT(end, at);
    if (end <= at) break;
    found.push_back({static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(end - at)});
    at = end;
  }
  EXPECT_EQ(errno, ENXIO);
  ::close(fd);
  return found;
}

std::uint64_t blocks_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks);
}

constexpr std::uint64_t mib = 1 << 20;

TEST(Holes, OfASparseSourceAreTheHosts) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  std::map<std::uint64_t, std::size_t> pieces;
  std::mt19937 random(1);
  for (std::uint64_t at = 0; at < 512 * mib; at += (1 + random() % 64) * 65536) {
    pieces.emplace(at, 65536);
  }
  make_sparse(folder / "sparse.img", 512 * mib, pieces);
  const Mount mount(sh("raw:" + (folder / "sparse.img")));
  EXPECT_EQ(data_of(mount / "sparse"), data_of(folder / "sparse.img"));
  EXPECT_GE(blocks_of(mount / "sparse"), pieces.size() * 65536 / 512) << "an estimate from above";
  EXPECT_LT(blocks_of(mount / "sparse"), 512 * mib / 512);
}

TEST(Holes, SeekStartsInTheMiddleAndEndsAtTheEnd) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  make_sparse(folder / "disk.img", 16 * mib, {{4 * mib, mib}, {8 * mib, mib}});
  const Mount mount(sh("raw:" + (folder / "disk.img")));
  const int fd = ::open((mount / "disk").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(::lseek(fd, 0, SEEK_DATA), off_t(4 * mib));
  EXPECT_EQ(::lseek(fd, 4 * mib + 77, SEEK_DATA), off_t(4 * mib + 77));
  EXPECT_EQ(::lseek(fd, 4 * mib + 77, SEEK_HOLE), off_t(5 * mib));
  EXPECT_EQ(::lseek(fd, 77, SEEK_HOLE), 77);
  EXPECT_EQ(::lseek(fd, 10 * mib, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_EQ(::lseek(fd, 16 * mib, SEEK_HOLE), -1);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_EQ(::lseek(fd, 16 * mib - 1, SEEK_HOLE), off_t(16 * mib - 1));
  ::close(fd);
}

TEST(Holes, AFullFileHasNone) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  write_file(folder / "full.img", pattern(3 * mib, 5));
  ::sync();
  const Mount mount(sh("raw:" + (folder / "full.img")));
  EXPECT_EQ(data_of(mount / "full"), (std::vector<Stretch>{{0, 3 * mib}}));
  EXPECT_EQ(blocks_of(mount / "full"), 3 * mib / 512);
}

TEST(Holes, OfAPartitionOnASparseDiskAreSeenByCp) {
  NEED_MOUNTS();
  NEED_PROGRAM("sfdisk");
  const TemporaryDirectory folder;
  // The disk stores more than the partition is long: an estimate from the disk alone would hide its
  // holes.
  make_sparse(folder / "disk.img", 64 * mib, {{16 * mib, 32 * mib}, {4 * mib, mib}});
  must_run("printf 'label: dos\\nstart=2048,size=20480\\n' | PATH=$PATH:/usr/sbin sfdisk -q " +
           sh(folder / "disk.img"));
  const Mount mount(sh(folder / "disk.img"));
  EXPECT_LT(blocks_of(mount / "diskp1"), 10 * mib / 512);
  EXPECT_EQ(data_of(mount / "diskp1"), (std::vector<Stretch>{{3 * mib, mib}}));
  must_run("cp --sparse=auto " + sh(mount / "diskp1") + " " + sh(folder / "copy"));
  must_run("cmp " + sh(mount / "diskp1") + " " + sh(folder / "copy"));
  EXPECT_LT(blocks_of(folder / "copy"), 2 * mib / 512);
}

TEST(Holes, OfAQcow2AreThoseThatQemuSees) {
  NEED_MOUNTS();
  NEED_PROGRAM("qemu-img");
  const TemporaryDirectory folder;
  std::map<std::uint64_t, std::size_t> pieces;
  std::mt19937 random(2);
  for (int i = 0; i < 60; ++i) pieces[random() % 4096 * 65536] = 65536;
  make_sparse(folder / "disk.raw", 256 * mib, pieces);
  must_run("qemu-img convert -O qcow2 " + sh(folder / "disk.raw") + " " +
           sh(folder / "disk.qcow2"));
  std::vector<Stretch> expected;
  for (const auto& run_of :
       nlohmann::json::parse(must_run("qemu-img map --output=json " + sh(folder / "disk.qcow2")))) {
    if (!run_of["data"].get<bool>()) continue;
    const Stretch stretch{run_of["start"], run_of["length"]};
    if (!expected.empty() && expected.back().offset + expected.back().length == stretch.offset) {
      expected.back().length += stretch.length;
    } else {
      expected.push_back(stretch);
    }
  }
  const Mount mount(sh(folder / "disk.qcow2"));
  EXPECT_EQ(data_of(mount / "disk"), expected);
  must_run("cmp " + sh(mount / "disk") + " " + sh(folder / "disk.raw"));
  EXPECT_LT(blocks_of(mount / "disk"), 256 * mib / 512);
}

TEST(Holes, AHugeEmptyImageAnswersAtOnce) {
  NEED_MOUNTS();
  NEED_PROGRAM("qemu-img");
  const TemporaryDirectory folder;
  must_run("qemu-img create -q -f qcow2 " + sh(folder / "huge.qcow2") + " 8T");
  const auto begin = std::chrono::steady_clock::now();
  const Mount mount(sh(folder / "huge.qcow2"));
  EXPECT_EQ(data_of(mount / "huge"), std::vector<Stretch>{});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace peelfs::test
