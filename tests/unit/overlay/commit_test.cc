// Bringing overlays into their sources: exact, refused where it must be, and finished after a stop.
#include <filesystem>
#include <stdexcept>

#include "overlay_support.h"

namespace peelfs::overlay {
namespace {

namespace fs = std::filesystem;

class Commit : public OverlayTest {
 protected:
  /// Writes here and there. @return what the disk holds then
  Buffer change(const std::string& source, const Buffer& original) const {
    Buffer expected = original;
    const auto sources = covered({source});
    const BlockDevice& device = *sources[0].overlay;
    for (const std::uint64_t offset : {100ULL, 900'000ULL, 2'500'000ULL, 5'242'970ULL}) {
      const std::size_t length = std::min<std::uint64_t>(150'000, original.size() - offset);
      const Buffer data = test::pattern(length, offset);
      write(device, offset, data);
      std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    zero(device, 3U << 20U, 300'000, WriteKind::zeroes);
    std::fill_n(expected.begin() + (3 << 20), 300'000, std::byte{0});
    device.flush();
    return expected;
  }
  static Buffer disk_of(const std::string& image, std::size_t size, const std::string& into) {
    test::must_run("qemu-img convert -O raw " + image + " " + into);
    Buffer bytes = test::read_file(into);
    bytes.resize(size);
    return bytes;
  }
};

TEST_F(Commit, IntoARawSource) {
  const std::string source = make_raw();
  const Buffer expected = change(source, test::read_file(source));
  const auto done = commit(commit_of({source}));
  ASSERT_EQ(done.size(), 1U);
  EXPECT_GT(done[0].data, 0U);
  EXPECT_GT(done[0].zeroes, 0U);
  EXPECT_FALSE(done[0].resumed);
  EXPECT_EQ(test::read_file(source), expected);
  EXPECT_FALSE(fs::exists(overlay("disk")));
}

TEST_F(Commit, IntoAQcow2Source) {
  const std::string raw = make_raw("plain", 3);
  const std::string source = directory_ / "vm.qcow2";
  test::must_run("qemu-img convert -c -O qcow2 " + raw + " " + source);
  const Buffer expected = change(source, test::read_file(raw));
  commit(commit_of({source}));
  test::must_run("qemu-img check -q " + source);
  EXPECT_EQ(disk_of(source, expected.size(), directory_ / "all"), expected);
  EXPECT_FALSE(fs::exists(overlay("vm")));
}

/// Stopped at every report of progress in turn, then finished.
TEST_F(Commit, GoesOnWhereItWasStopped) {
  for (int stop_at = 1; stop_at < 60; ++stop_at) {
    const std::string source = make_raw("disk.img", static_cast<std::uint64_t>(stop_at));
    const Buffer before = test::read_file(source);
    const Buffer expected = change(source, before);
    CommitRequest request = commit_of({source});
    int reports = 0;
    request.progress = [&](const std::string&, std::uint64_t, std::uint64_t) {
      if (++reports == stop_at) throw std::runtime_error("stopped");
    };
    try {
      commit(request);
      EXPECT_GT(stop_at, 2);
      EXPECT_EQ(test::read_file(source), expected);
      return;
    } catch (const std::runtime_error&) {
      ASSERT_TRUE(fs::exists(overlay("disk")));
      if (stop_at == 1) {
        // The first report comes before anything is done.
        EXPECT_EQ(refusal({source}), "");
        EXPECT_EQ(test::read_file(source), before);
      } else {
        EXPECT_TRUE(contains(refusal({source}), "being committed")) << refusal({source});
        EXPECT_TRUE(contains(refusal({source}, Request::Kind::view), "being committed"));
      }
    }
    const auto done = commit(commit_of({source}));
    ASSERT_EQ(done.size(), 1U);
    EXPECT_EQ(done[0].resumed, stop_at != 1);
    EXPECT_EQ(test::read_file(source), expected) << "stopped at report " << stop_at;
    EXPECT_FALSE(fs::exists(overlay("disk")));
  }
  FAIL() << "it never ran to its end";
}

TEST_F(Commit, IsFinishedOnlyIntoItsOwnSource) {
  const std::string source = make_raw("disk.img", 1);
  change(source, test::read_file(source));
  CommitRequest request = commit_of({source});
  request.progress = [](const std::string&, std::uint64_t, std::uint64_t) {
    throw std::runtime_error("stopped");
  };
  EXPECT_THROW(commit(request), std::runtime_error);
  const std::string other = make_raw("other.img", 2);
  const std::string before = test::sha256(test::read_file(other));
  EXPECT_THROW(commit(commit_of({"disk=" + other})), Error);
  EXPECT_EQ(test::sha256(test::read_file(other)), before);
}

TEST_F(Commit, RefusesASourceThatChanged) {
  const std::string source = make_raw();
  change(source, test::read_file(source));
  test::must_run("printf X | dd of=" + source + " bs=1 seek=100 conv=notrunc status=none");
  const std::string before = test::sha256(test::read_file(source));
  EXPECT_THROW(commit(commit_of({source})), Error);
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
  EXPECT_TRUE(fs::exists(overlay("disk")));
}

TEST_F(Commit, RefusesWhatIsInUse) {
  const std::string source = make_raw();
  change(source, test::read_file(source));
  const std::string before = test::sha256(test::read_file(source));
  {
    const auto sources = covered({source});
    EXPECT_THROW(commit(commit_of({source})), Error) << "the overlay";
  }
  {
    const auto sources = open({source});  // relied on, as under another overlay
    EXPECT_THROW(commit(commit_of({source})), Error) << "the source";
  }
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
  EXPECT_NO_THROW(commit(commit_of({source})));
}

TEST_F(Commit, OneOfSeveralThatCannotKeepsAllAsTheyAre) {
  const std::string one = make_raw("one.img", 1);
  const std::string two = make_raw("two.img", 2);
  change(one, test::read_file(one));
  change(two, test::read_file(two));
  const std::string before = test::sha256(test::read_file(one));
  test::must_run("printf X | dd of=" + two + " bs=1 seek=100 conv=notrunc status=none");
  EXPECT_THROW(commit(commit_of({one, two})), Error);
  EXPECT_EQ(test::sha256(test::read_file(one)), before);
  EXPECT_EQ(refusal({one}), "") << "it was not even begun";
}

TEST_F(Commit, NothingToCommit) {
  const std::string source = make_raw();
  fs::create_directory(folder_);
  EXPECT_THROW(commit(commit_of({source})), Error);
}

}  // namespace
}  // namespace peelfs::overlay
