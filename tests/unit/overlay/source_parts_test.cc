// Files that bytes of a source come from besides itself: an overlay knows them again, too.
#include <filesystem>

#include "overlay_support.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {
namespace {

namespace fs = std::filesystem;

class SourceParts : public OverlayTest {
 protected:
  void SetUp() override {
    OverlayTest::SetUp();
    if (IsSkipped()) return;
    source_ = directory_ / "vm.qcow2";
  }
  /// In a place that no sample looks at, as a guest does; the image itself keeps its time.
  void guest_writes(const std::string& file) const {
    test::must_run("printf X | dd of=" + (directory_ / file) +
                   " bs=1 seek=30150000 conv=notrunc status=none");
  }
  void data_file() const {
    test::must_run("cd " + directory_.path() +
                   " && qemu-img create -q -f qcow2 -o data_file=d.raw vm.qcow2 64M" +
                   " && qemu-io -f qcow2 -c 'write -P 7 28M 4M' vm.qcow2");
  }
  void chain() const {
    test::must_run("cd " + directory_.path() + " && truncate -s 64M base.raw && " +
                   "qemu-img create -q -f qcow2 -b base.raw -F raw mid.qcow2 && " +
                   "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 vm.qcow2");
  }
  void expect_refused_for(const std::string& file) const {
    const std::string image = test::sha256(test::read_file(overlay("vm")));
    for (const auto kind : {Request::Kind::view, Request::Kind::persistent}) {
      const std::string why = refusal({source_}, kind);
      EXPECT_TRUE(contains(why, (directory_ / file) + " was written to since")) << why;
      EXPECT_TRUE(contains(why, "--accept-source")) << why;
    }
    const std::string before = test::sha256(test::read_file(source_));
    CommitRequest request = commit_of({source_});
    request.allow_references = {directory_.path()};
    EXPECT_THROW(commit(request), Error);
    EXPECT_EQ(test::sha256(test::read_file(source_)), before);
    EXPECT_EQ(test::sha256(test::read_file(overlay("vm"))), image);
  }
  std::string source_;
};

TEST_F(SourceParts, ADataFileThatAGuestWroteTo) {
  data_file();
  mark(source_);
  EXPECT_EQ(refusal({source_}), "");
  guest_writes("d.raw");
  expect_refused_for("d.raw");
  { const auto accepted = covered({source_}, Request::Kind::persistent, true); }
  EXPECT_EQ(refusal({source_}), "") << "it is remembered";
}

TEST_F(SourceParts, EveryFileOfTheChain) {
  chain();
  mark(source_);
  EXPECT_EQ(refusal({source_}), "");
  guest_writes("base.raw");
  expect_refused_for("base.raw");
  { const auto accepted = covered({source_}, Request::Kind::persistent, true); }
  test::must_run("touch " + (directory_ / "mid.qcow2"));
  expect_refused_for("mid.qcow2");
}

TEST_F(SourceParts, WhatIsGoneOrNew) {
  chain();
  mark(source_);
  test::must_run("cd " + directory_.path() +
                 " && touch -r vm.qcow2 stamp && cp base.raw other.raw" +
                 " && qemu-img rebase -u -f qcow2 -b other.raw -F raw vm.qcow2" +
                 " && touch -r stamp vm.qcow2");
  const std::string why = refusal({source_});
  EXPECT_TRUE(contains(why, "was written to since") || contains(why, "not there any more")) << why;
}

TEST_F(SourceParts, TheWholeChainMayMove) {
  chain();
  mark(source_);
  const std::string elsewhere = directory_ / "elsewhere";
  fs::create_directory(elsewhere);
  for (const char* const name : {"base.raw", "mid.qcow2", "vm.qcow2"}) {
    fs::rename(directory_ / name, elsewhere + "/" + name);
  }
  EXPECT_EQ(refusal({elsewhere + "/vm.qcow2"}), "");
}

TEST_F(SourceParts, AnOlderOverlayLearnsOfThem) {
  chain();
  mark(source_);
  {
    const auto file = HostFile::open(overlay("vm"), HostFile::Access::read_write);
    const DevicePtr image = make_storage_device(file);
    Fingerprint old = required_fingerprint(*image, overlay("vm"));
    old.parts.reset();
    qcow2::write_extension(*image, {kFingerprintExtension, encode(old)});
  }
  EXPECT_EQ(refusal({source_}), "");
  guest_writes("base.raw");
  expect_refused_for("base.raw");
}

}  // namespace
}  // namespace peelfs::overlay
