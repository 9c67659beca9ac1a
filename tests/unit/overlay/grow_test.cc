// Overlays that were resized: every view has their size, and a commit loses nothing.
#include <filesystem>
#include <stdexcept>

#include "overlay_support.h"

namespace peelfs::overlay {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1U << 20U;

class Resized : public OverlayTest {
 protected:
  /// An overlay with a mark, which a guest uses beyond the end of its source.
  void grow(const std::string& source, const std::string& name, std::uint64_t size) const {
    mark(source);
    test::must_run("qemu-img resize -q -f qcow2 " + overlay(name) + " " + std::to_string(size));
    test::must_run("qemu-io -f qcow2 -c 'write -P 66 " + std::to_string(size - 9 * 512) +
                   " 4608' -c 'write -z 5243392 1M' -c 'write -P 67 5M 512' " + overlay(name));
  }
  Buffer disk_of(const std::string& image) const {
    test::must_run("qemu-img convert -O raw " + image + " " + (directory_ / "raw"));
    return test::read_file(directory_ / "raw");
  }
  std::string refused(const std::vector<std::string>& sources, bool grow = false) const {
    CommitRequest request = commit_of(sources);
    request.grow = grow;
    try {
      commit(request);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  /// Refused without `grow`, with nothing changed on either side; then done.
  void expect_grows(const std::string& source, const std::string& name,
                    const std::string& where = "") {
    const Buffer wanted = disk_of(overlay(name));
    const std::string before = test::sha256(test::read_file(source));
    const std::string image = test::sha256(test::read_file(overlay(name)));
    const std::string why = refused({source});
    EXPECT_TRUE(contains(why, "was made larger than its source")) << why;
    EXPECT_TRUE(contains(why, "peelfs commit --overlay " + folder_ + " --grow " + source)) << why;
    EXPECT_EQ(test::sha256(test::read_file(source)), before);
    EXPECT_EQ(test::sha256(test::read_file(overlay(name))), image);
    CommitRequest request = commit_of({source});
    request.grow = true;
    const auto done = commit(request);
    ASSERT_EQ(done.size(), 1U);
    EXPECT_GT(done[0].grown, 0U);
    EXPECT_EQ(disk_of(where.empty() ? source : where), wanted);
    EXPECT_FALSE(fs::exists(overlay(name)));
  }
};

TEST_F(Resized, IsShownAsLargeAsItIs) {
  const std::string source = make_raw();
  grow(source, "disk", 64 * mib);
  for (const auto kind : {Request::Kind::view, Request::Kind::persistent}) {
    const auto sources = covered({source}, kind);
    EXPECT_EQ(sources[0].overlay->size(), 64 * mib);
    EXPECT_EQ(sources[0].covered->size(), 5 * mib + 100);
    EXPECT_EQ(read_bytes(*sources[0].overlay, 64 * mib - 512, 1)[0], std::byte{66});
  }
}

TEST_F(Resized, ARawFileGrows) {
  const std::string source = make_raw();
  grow(source, "disk", 64 * mib);
  expect_grows(source, "disk");
  EXPECT_EQ(fs::file_size(source), 64 * mib);
}

TEST_F(Resized, AQcow2ImageGrows) {
  const std::string raw = make_raw("plain", 3);
  for (const std::string& options :
       {std::string("-c"), std::string("-o cluster_size=4k"), std::string("-o compat=0.10")}) {
    const std::string source = directory_ / "vm.qcow2";
    test::must_run("qemu-img convert " + options + " -O qcow2 " + raw + " " + source);
    grow(source, "vm", 200 * mib);
    expect_grows(source, "vm");
    test::must_run("qemu-img check -q " + source);
  }
}

/// What the source still holds behind its end must not come back.
TEST_F(Resized, WhatTheSourceHidIsZero) {
  const std::string base = make_raw("base.img", 4);
  const std::string source = directory_ / "vm.qcow2";
  // Its backing file is longer than itself, and it ends within a cluster that has more.
  test::must_run("qemu-img create -q -f qcow2 -b " + base + " -F raw " + source + " 6M");
  test::must_run("qemu-io -f qcow2 -c 'write -P 99 2M 64k' " + source);
  test::must_run("qemu-img resize -q --shrink " + source + " " + std::to_string(2 * mib + 8192));
  mark(source);
  test::must_run("qemu-img resize -q -f qcow2 " + overlay("vm") + " 7M");
  {
    // By now qemu makes sure of it in the overlay itself.
    const auto sources = covered({source}, Request::Kind::view);
    const Buffer behind = read_bytes(*sources[0].overlay, 2 * mib + 8192, 5 * mib - 8192);
    EXPECT_EQ(behind, Buffer(behind.size()));
  }
  expect_grows(source, "vm");
}

TEST_F(Resized, AWrittenTailOfLessThanASectorIsNotLost) {
  const std::string source = make_raw();
  {
    const auto sources = covered({source});
    sources[0].overlay->flush();
  }
  test::must_run("qemu-io -f qcow2 -c 'write -P 5 5242880 512' " + overlay("disk"));
  EXPECT_EQ(covered({source}, Request::Kind::view)[0].overlay->size(), 5 * mib + 512);
  expect_grows(source, "disk");
  EXPECT_EQ(fs::file_size(source), 5 * mib + 512);
}

/// Stopped at every report of progress in turn, then finished.
TEST_F(Resized, AStoppedCommitGoesOn) {
  for (const bool qcow2 : {false, true}) {
    for (int stop_at = 1;; ++stop_at) {
      ASSERT_LT(stop_at, 60) << "it never ran to its end";
      const std::string raw = make_raw("disk.img", static_cast<std::uint64_t>(stop_at));
      const std::string source = qcow2 ? directory_ / "vm.qcow2" : raw;
      const std::string name = qcow2 ? "vm" : "disk";
      if (qcow2) {
        test::must_run("qemu-img convert -O qcow2 -o cluster_size=4k " + raw + " " + source);
      }
      grow(source, name, 64 * mib);
      const Buffer wanted = disk_of(overlay(name));
      CommitRequest request = commit_of({source});
      request.grow = true;
      int reports = 0;
      request.progress = [&](const std::string&, std::uint64_t, std::uint64_t) {
        if (++reports == stop_at) throw std::runtime_error("stopped");
      };
      bool stopped = false;
      try {
        commit(request);
      } catch (const std::runtime_error&) {
        stopped = true;
      }
      if (stopped) {
        ASSERT_EQ(disk_of(overlay(name)), wanted) << "the overlay hides whatever is below";
        if (stop_at > 1) {
          const std::string why = refusal({source});
          EXPECT_TRUE(contains(why, "--grow " + source)) << why;
        }
        ASSERT_EQ(refused({source}, true), "") << stop_at;
      }
      ASSERT_EQ(disk_of(source), wanted) << "stopped at report " << stop_at;
      ASSERT_FALSE(fs::exists(overlay(name)));
      if (!stopped) break;
    }
  }
}

TEST_F(Resized, WhatCannotGrowIsRefusedAndSaysWhatToDo) {
  const std::string raw = make_raw("plain", 3);
  const std::string source = directory_ / "vm.qcow2";
  test::must_run("qemu-img convert -O qcow2 -o compat=0.10 " + raw + " " + source);
  test::must_run("qemu-img snapshot -c one " + source);
  grow(source, "vm", 64 * mib);
  const std::string before = test::sha256(test::read_file(source));
  const std::string image = test::sha256(test::read_file(overlay("vm")));
  for (const bool grow : {false, true}) {
    const std::string why = refused({source}, grow);
    EXPECT_TRUE(contains(why, "compat=1.1")) << why;
    EXPECT_TRUE(contains(why, "qemu-img convert -f qcow2 -O qcow2 " + overlay("vm"))) << why;
  }
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
  EXPECT_EQ(test::sha256(test::read_file(overlay("vm"))), image);
}

/// As a block device that was made larger; a file has a time of its last change, by which peelfs
/// would refuse it.
TEST_F(Resized, ASourceThatWasMadeLargerIsTakenWhenAskedTo) {
  const std::string source = make_raw();
  grow(source, "disk", 64 * mib);
  const Buffer wanted = disk_of(overlay("disk"));
  test::must_run("truncate -s 64M " + source + " && printf OLD | dd of=" + source +
                 " bs=1M seek=40 conv=notrunc status=none");
  EXPECT_TRUE(contains(refusal({source}), "bytes, and this one has")) << refusal({source});
  EXPECT_NE(refused({source}, true), "") << "the time has changed";
  CommitRequest request = commit_of({source});
  request.grow = true;
  request.accept_source = true;
  commit(request);
  EXPECT_EQ(disk_of(source), wanted) << "what lay behind the old end is gone";
}

TEST_F(Resized, SmallerIsRefusedUntilItIsAsLargeAgain) {
  const std::string source = make_raw();
  const std::string before = test::sha256(test::read_file(source));
  mark(source);
  test::must_run("qemu-img resize -q -f qcow2 --shrink " + overlay("disk") + " 3M");
  EXPECT_EQ(covered({source}, Request::Kind::view)[0].overlay->size(), 3 * mib);
  const std::string image = test::sha256(test::read_file(overlay("disk")));
  const std::string why = refused({source});
  EXPECT_TRUE(contains(why, "was made smaller than its source")) << why;
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
  EXPECT_EQ(test::sha256(test::read_file(overlay("disk"))), image);
  const std::size_t at = why.find("qemu-img resize");
  ASSERT_NE(at, std::string::npos) << why;
  test::must_run(why.substr(at));
  EXPECT_EQ(refused({source}), "");
  const Buffer after = test::read_file(source);
  ASSERT_EQ(after.size(), 5 * mib + 100);
  EXPECT_EQ(Buffer(after.begin() + 3 * mib, after.end()), Buffer(2 * mib + 100));
  EXPECT_EQ(after[5000], std::byte{'M'});
}

}  // namespace
}  // namespace peelfs::overlay
