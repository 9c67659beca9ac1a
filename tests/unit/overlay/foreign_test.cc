// What others do to an overlay with qemu: snapshots that it holds, and its own commit.
#include <filesystem>

#include "overlay_support.h"
#include "qcow2/header.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {
namespace {

namespace fs = std::filesystem;

class Foreign : public OverlayTest {
 protected:
  static std::string marked(const std::string& source) {
    const Buffer bytes = test::read_file(source);
    return std::string(as_text(Bytes(bytes).subspan(5000, 4)));
  }
  std::string refused(const CommitRequest& request) const {
    try {
      commit(request);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  /// What 'savevm' leaves: an entry that says how long the machine's state is.
  void say_vm_state(const std::string& image, std::uint64_t bytes) const {
    const DevicePtr file = make_storage_device(HostFile::open(image, HostFile::Access::read_write));
    const std::uint64_t table = qcow2::read_header(*file).disk.snapshots_offset;
    Buffer field(8);
    put_be(field, 0, bytes);
    write(*file, table + 40, field);
    file->flush();
  }
};

TEST_F(Foreign, SnapshotsAreNotLostWithoutBeingAsked) {
  const std::string source = make_raw();
  const std::string before = test::sha256(test::read_file(source));
  mark(source, "MARK");
  test::must_run("qemu-img snapshot -c saved " + overlay("disk"));
  test::must_run("qemu-img snapshot -c second " + overlay("disk"));
  say_vm_state(overlay("disk"), 3'456'789);
  const std::string image = test::sha256(test::read_file(overlay("disk")));
  const std::string why = refused(commit_of({source}));
  EXPECT_TRUE(contains(why, "'saved' with 3456789 bytes of a running machine's state, 'second'"))
      << why;
  EXPECT_TRUE(contains(why, "peelfs commit --overlay " + folder_ + " --drop-snapshots " + source))
      << why;
  EXPECT_EQ(test::sha256(test::read_file(source)), before);
  EXPECT_EQ(test::sha256(test::read_file(overlay("disk"))), image);

  CommitRequest request = commit_of({source});
  request.drop_snapshots = true;
  const auto done = commit(request);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].snapshots, 2U);
  EXPECT_EQ(marked(source), "MARK");
  EXPECT_FALSE(fs::exists(overlay("disk")));
}

TEST_F(Foreign, OneOfSeveralWithSnapshotsKeepsAll) {
  const std::string one = make_raw("one.img", 1);
  const std::string two = make_raw("two.img", 2);
  mark(one, "MARK");
  mark(two, "MARK");
  test::must_run("qemu-img snapshot -c saved " + overlay("two"));
  const std::string before = test::sha256(test::read_file(one));
  EXPECT_NE(refused(commit_of({one, two})), "");
  EXPECT_EQ(test::sha256(test::read_file(one)), before);
  EXPECT_EQ(refusal({one}), "") << "it was not even begun";
}

TEST_F(Foreign, WhatQemuCommittedIsEmptyAndGoesOn) {
  const std::string source = make_raw();
  mark(source, "MARK");
  test::must_run("qemu-img commit -q -f qcow2 " + overlay("disk"));
  ASSERT_EQ(marked(source), "MARK");
  for (const auto kind : {Request::Kind::view, Request::Kind::persistent}) {
    std::vector<Source> sources = open({source});
    const auto remarks = cover(sources, request(kind));
    ASSERT_EQ(remarks.size(), 1U) << "it is said, and once it is written only once";
    EXPECT_TRUE(contains(remarks[0], "is empty")) << remarks[0];
    EXPECT_EQ(read_bytes(*sources[0].overlay, 5000, 4)[0], std::byte{'M'});
  }
  std::vector<Source> again = open({source});
  EXPECT_TRUE(cover(again, request()).empty()) << "it is bound to what its source is now";
  again.clear();
  mark(source, "MORE");
  EXPECT_EQ(refused(commit_of({source})), "");
  EXPECT_EQ(marked(source), "MORE");
}

TEST_F(Foreign, WhatQemuCommittedAfterAResizeGoesOnAndAnEmptyOneCanBeCommitted) {
  const std::string source = make_raw();
  mark(source, "MARK");
  test::must_run("qemu-img resize -q -f qcow2 " + overlay("disk") + " 9M");
  test::must_run("qemu-io -f qcow2 -c 'write -P 5 8M 1M' " + overlay("disk"));
  test::must_run("qemu-img commit -q -f qcow2 " + overlay("disk"));
  ASSERT_EQ(fs::file_size(source), 9U << 20U);
  EXPECT_EQ(covered({source}, Request::Kind::view)[0].overlay->size(), 9U << 20U);
  EXPECT_EQ(refused(commit_of({source})), "");
  EXPECT_FALSE(fs::exists(overlay("disk")));
  EXPECT_EQ(marked(source), "MARK");
}

TEST_F(Foreign, AnEmptyOneWithSnapshotsOrOfAnotherSizeIsRefusedAsBefore) {
  const std::string source = make_raw();
  mark(source, "MARK");
  test::must_run("qemu-img snapshot -c one " + overlay("disk"));
  test::must_run("qemu-img commit -q -f qcow2 " + overlay("disk"));
  EXPECT_NE(refusal({source}), "") << "its snapshot lies over what the source was";
  test::must_run("qemu-img snapshot -d one " + overlay("disk"));
  EXPECT_EQ(refusal({source}), "");
  test::must_run("truncate -s 20M " + source);
  EXPECT_TRUE(contains(refusal({source}), "bytes, and this one has")) << refusal({source});
}

}  // namespace
}  // namespace peelfs::overlay
