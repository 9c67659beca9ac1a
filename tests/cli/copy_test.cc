// Copying devices that are partly unreadable, and the record of it.
#include "peel/copy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "peel/map_file.h"
#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs::cli {
namespace {

using test::TemporaryDirectory;

struct Span {
  std::uint64_t start = 0;
  std::uint64_t length = 0;
};

/// Bytes in memory, some of which cannot be read, and some of which are nowhere.
class Faulty : public BlockDevice {
 public:
  Faulty(Buffer bytes, std::vector<Span> bad, std::vector<Span> holes = {})
      : BlockDevice(bytes.size()),
        bytes_(std::move(bytes)),
        bad_(std::move(bad)),
        holes_(std::move(holes)) {
    for (const Span& hole : holes_) {
      std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(hole.start), hole.length,
                  std::byte{0});
    }
  }
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    std::uint64_t end = offset + length;
    for (const Span& hole : holes_) {
      if (offset >= hole.start && offset < hole.start + hole.length) {
        return Extent::zeroes(std::min(end, hole.start + hole.length) - offset);
      }
      if (hole.start > offset) end = std::min(end, hole.start);
    }
    return Extent::computed(end - offset);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    for (const Span& bad : healed_ ? std::vector<Span>() : bad_) {
      if (offset < bad.start + bad.length && bad.start < offset + out.size()) {
        throw Error(Fault::io, "bad sector at " + std::to_string(std::max(offset, bad.start)));
      }
    }
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
  }
  std::string describe() const override { return "faulty"; }

  /// What a copy must hold: the bytes, with whole bad sectors as zeroes.
  Buffer expected() const {
    Buffer result = bytes_;
    for (const Span& bad : bad_) {
      const std::uint64_t from = round_down(bad.start, 512);
      const std::uint64_t to =
          std::min<std::uint64_t>(size(), round_up(bad.start + bad.length, 512));
      std::fill_n(result.begin() + static_cast<std::ptrdiff_t>(from), to - from, std::byte{0});
    }
    return result;
  }
  const Buffer& bytes() const { return bytes_; }
  void heal() { healed_ = true; }

 private:
  Buffer bytes_;
  std::vector<Span> bad_, holes_;
  bool healed_ = false;
};

class File {
 public:
  explicit File(const std::string& path)
      : target_{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), path, true} {}
  ~File() { ::close(target_.fd); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const Target& target() const { return target_; }
  void resize(std::uint64_t size) {
    ASSERT_EQ(::ftruncate(target_.fd, static_cast<off_t>(size)), 0);
  }
  std::uint64_t stored() const {
    struct stat status {};
    ::fstat(target_.fd, &status);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }

 private:
  Target target_;
};

CopyOptions plain() {
  CopyOptions options;
  options.interrupted = [] { return false; };
  options.progress = [](std::uint64_t, std::uint64_t) {};
  return options;
}

std::uint64_t total_bad(const CopyResult& result) {
  std::uint64_t sum = 0;
  for (const BadPlace& place : result.bad) sum += place.length;
  return sum;
}

TEST(Copy, EveryByteOfAGoodDevice) {
  const TemporaryDirectory folder;
  const Faulty device(test::pattern((9U << 20U) + 12345, 1), {});
  File file(folder / "copy");
  CopyMap map(device.size());
  const CopyResult result = copy_device(device, file.target(), plain(), map);
  EXPECT_TRUE(result.finished);
  EXPECT_TRUE(result.bad.empty());
  EXPECT_EQ(test::read_file(folder / "copy"), device.bytes());
  EXPECT_EQ(map.total(CopyMap::State::done), device.size());
}

TEST(Copy, NothingReadableIsLostAroundBadPlaces) {
  const TemporaryDirectory folder;
  const std::uint64_t size = (9U << 20U) + 300;
  // One byte; a sector; over the border of two chunks; two neighbours; the odd end of the device.
  const std::vector<Span> bad{{1000, 1},      {65536, 512},   {(4U << 20U) - 700, 1500},
                              {6000128, 512}, {6000640, 512}, {size - 1, 1}};
  const Faulty device(test::pattern(size, 2), bad);
  File file(folder / "copy");
  CopyMap map(size);
  const CopyResult result = copy_device(device, file.target(), plain(), map);
  EXPECT_TRUE(result.finished);
  file.resize(size);
  EXPECT_EQ(test::read_file(folder / "copy"), device.expected());
  ASSERT_EQ(result.bad.size(), 5U) << "neighbouring sectors are one place";
  EXPECT_EQ(result.bad[0].start, 512U);
  EXPECT_EQ(result.bad[0].length, 512U);
  EXPECT_NE(result.bad[0].reason.find("bad sector at 1000"), std::string::npos)
      << result.bad[0].reason;
  EXPECT_EQ(result.bad[1].start, 65536U);
  EXPECT_EQ(result.bad[2].start, (4U << 20U) - 1024);
  EXPECT_EQ(result.bad[2].length, 2048U);
  EXPECT_EQ(result.bad[4].start, round_down(size - 1, 512));
  EXPECT_EQ(map.total(CopyMap::State::bad), total_bad(result));
  EXPECT_EQ(map.total(CopyMap::State::done), size - total_bad(result));
}

TEST(Copy, RandomBadPlaces) {
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    const TemporaryDirectory folder;
    const std::uint64_t size = 1 + random() % (5U << 20U);
    std::vector<Span> bad;
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t start = random() % size;
      bad.push_back({start, 1 + random() % std::min<std::uint64_t>(size - start, 9000)});
    }
    const Faulty device(test::pattern(size, 4), bad);
    File file(folder / "copy");
    CopyMap map(size);
    const CopyResult result = copy_device(device, file.target(), plain(), map);
    file.resize(size);
    EXPECT_EQ(test::read_file(folder / "copy"), device.expected());
    EXPECT_EQ(map.total(CopyMap::State::untried), 0U);
    EXPECT_EQ(map.total(CopyMap::State::bad), total_bad(result));
  }
}

TEST(Copy, HolesAreNotWritten) {
  const TemporaryDirectory folder;
  const std::uint64_t size = 8U << 20U;
  const Faulty device(test::pattern(size, 5), {}, {{0, 1U << 20U}, {3U << 20U, 5U << 20U}});
  File file(folder / "copy");
  CopyMap map(size);
  EXPECT_TRUE(copy_device(device, file.target(), plain(), map).finished);
  file.resize(size);
  EXPECT_EQ(test::read_file(folder / "copy"), device.bytes());
  EXPECT_LE(file.stored(), 2U << 20U);

  File full(folder / "full");
  CopyOptions never = plain();
  never.sparse = Sparse::never;
  CopyMap again(size);
  EXPECT_TRUE(copy_device(device, full.target(), never, again).finished);
  EXPECT_EQ(test::read_file(folder / "full"), device.bytes());
  EXPECT_GE(full.stored(), size);
}

TEST(Copy, StoredZeroesBecomeHolesOnlyWhenAsked) {
  const TemporaryDirectory folder;
  Buffer bytes(4U << 20U);
  const Buffer some = test::pattern(10000, 6);
  std::copy(some.begin(), some.end(), bytes.begin() + 5000);
  bytes[3U << 20U] = std::byte{1};
  const Faulty device(bytes, {});
  File kept(folder / "kept");
  CopyMap map(device.size());
  copy_device(device, kept.target(), plain(), map);
  EXPECT_GE(kept.stored(), device.size());

  File sparse(folder / "sparse");
  CopyOptions always = plain();
  always.sparse = Sparse::always;
  CopyMap again(device.size());
  copy_device(device, sparse.target(), always, again);
  sparse.resize(device.size());
  EXPECT_EQ(test::read_file(folder / "sparse"), bytes);
  EXPECT_LE(sparse.stored(), 64U << 10U);
}

TEST(Copy, StopsAtTheFirstErrorWhenTold) {
  const TemporaryDirectory folder;
  const Faulty device(test::pattern(2U << 20U, 7), {{700000, 1}});
  File file(folder / "copy");
  CopyOptions options = plain();
  options.stop_on_error = true;
  CopyMap map(device.size());
  const CopyResult result = copy_device(device, file.target(), options, map);
  EXPECT_FALSE(result.finished);
  EXPECT_EQ(result.position, round_down(700000, 512));
  const Buffer copied = test::read_file(folder / "copy");
  ASSERT_EQ(copied.size(), round_down(700000, 512)) << "everything before it is there";
  EXPECT_TRUE(std::equal(copied.begin(), copied.end(), device.bytes().begin()));
  ASSERT_EQ(result.bad.size(), 1U);
}

TEST(Copy, AnInterruptedCopyGoesOnAndBadPlacesAreTriedAgain) {
  const TemporaryDirectory folder;
  const std::uint64_t size = 20U << 20U;
  Faulty device(test::pattern(size, 8), {{1U << 20U, 4096}});
  CopyMap map(size);
  {
    File file(folder / "copy");
    CopyOptions options = plain();
    int asked = 0;
    options.interrupted = [&] { return ++asked > 10; };
    const CopyResult result = copy_device(device, file.target(), options, map);
    EXPECT_FALSE(result.finished);
    EXPECT_GT(map.total(CopyMap::State::untried), 0U);
    EXPECT_GT(map.total(CopyMap::State::bad), 0U);
    // It never claims what is not there.
    const Buffer copied = test::read_file(folder / "copy");
    for (const CopyMap::Range& range : map.ranges()) {
      if (range.state != CopyMap::State::done) continue;
      ASSERT_LE(range.start + range.length, copied.size());
      EXPECT_TRUE(
          std::equal(copied.begin() + static_cast<std::ptrdiff_t>(range.start),
                     copied.begin() + static_cast<std::ptrdiff_t>(range.start + range.length),
                     device.bytes().begin() + static_cast<std::ptrdiff_t>(range.start)));
    }
  }
  map.save(folder / "map", 0);
  CopyMap loaded = CopyMap::load(folder / "map", size);
  device.heal();
  File file(folder / "copy");
  const CopyResult result = copy_device(device, file.target(), plain(), loaded);
  EXPECT_TRUE(result.finished);
  EXPECT_TRUE(result.bad.empty());
  EXPECT_EQ(test::read_file(folder / "copy"), device.bytes());
  EXPECT_EQ(loaded.total(CopyMap::State::done), size);
}

TEST(Copy, AFullDiskIsAnErrorThatSaysWhere) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "/dev/full is not here";
  const Faulty device(test::pattern(1U << 20U, 9), {});
  const int fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  CopyMap map(device.size());
  try {
    copy_device(device, {fd, "/dev/full", false}, plain(), map);
    ADD_FAILURE() << "it was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), ENOSPC);
    EXPECT_NE(std::string(error.what()).find("/dev/full at byte 0"), std::string::npos)
        << error.what();
  }
  ::close(fd);
  EXPECT_EQ(map.total(CopyMap::State::done), 0U);
}

TEST(MapFile, MarksLikeAListOfBytes) {
  std::mt19937 random(10);
  constexpr std::uint64_t kSize = 200;
  CopyMap map(kSize);
  std::string bytes(kSize, '?');
  for (int round = 0; round < 2000; ++round) {
    const std::uint64_t start = random() % kSize;
    const std::uint64_t length = random() % (kSize - start + 1);
    const char state = "?-+"[random() % 3];
    map.mark(start, length, static_cast<CopyMap::State>(state));
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(start), length, state);
    std::string rebuilt;
    char last = 0;
    for (const CopyMap::Range& range : map.ranges()) {
      ASSERT_EQ(range.start, rebuilt.size());
      ASSERT_NE(static_cast<char>(range.state), last) << "neighbours of one state are one range";
      last = static_cast<char>(range.state);
      rebuilt.append(range.length, last);
    }
    ASSERT_EQ(rebuilt, bytes);
  }
}

TEST(MapFile, DdrescueCanReadIt) {
  if (!test::have_program("ddrescuelog"))
    GTEST_SKIP() << "ddrescuelog (gddrescue) is not installed";
  const TemporaryDirectory folder;
  CopyMap map(1U << 20U);
  map.mark(0, 524288, CopyMap::State::done);
  map.mark(4096, 512, CopyMap::State::bad);
  map.save(folder / "map", 524288);
  const std::string status = test::must_run("ddrescuelog --show-status " + (folder / "map"));
  EXPECT_NE(status.find("bad-sector"), std::string::npos) << status;
}

struct BadMap {
  std::string text, says;
};

TEST(MapFile, EveryWayToBeWrongIsNamed) {
  const TemporaryDirectory folder;
  const std::string head = "# Mapfile\n0x0  +  1\n";
  const std::vector<BadMap> table{
      {"", "about another device"},
      {head, "about another device"},
      {head + "0x0 0x100 +\n", "found 256 bytes"},
      {head + "0x0 0x1000\n", "line 3"},
      {head + "0x0 0x1000 x\n", "line 3"},
      {head + "zero 0x1000 +\n", "line 3"},
      {head + "0x0 0x1000z +\n", "line 3"},
      {head + "0x0 0x0 +\n", "does not follow"},
      {head + "0x0 0x800 +\n0x900 0x700 +\n", "line 4"},
      {head + "0x0 0x800 +\n0x700 0x900 +\n", "line 4"},
      {head + "0x0 0x2000 +\n", "leaves the device"},
      {head + "0x0 0xffffffffffffffff +\n", "leaves the device"},
      {head + "0x0 0x99999999999999999999 +\n", "line 3"},
  };
  for (const BadMap& bad : table) {
    std::ofstream(folder / "map") << bad.text;
    try {
      CopyMap::load(folder / "map", 4096);
      ADD_FAILURE() << bad.text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(bad.says), std::string::npos) << bad.text << "\n"
                                                                             << error.what();
    }
  }
  EXPECT_THROW(CopyMap::load(folder / "none", 4096), Error);
}

}  // namespace
}  // namespace peelfs::cli
