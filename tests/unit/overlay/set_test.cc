// Overlays that were written together: a part of them is neither committed nor forgotten by
// mistake.
#include "overlay/set.h"

#include <filesystem>
#include <functional>
#include <stdexcept>

#include "overlay_support.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {
namespace {

namespace fs = std::filesystem;

class Sets : public OverlayTest {
 protected:
  void SetUp() override {
    OverlayTest::SetUp();
    one_ = make_raw("one.img", 1);
    two_ = make_raw("two.img", 2);
    digest_ = digest();
  }
  std::string digest() const {
    return test::sha256(test::read_file(one_)) + test::sha256(test::read_file(two_));
  }
  /// One mount of sources that have something in common, in which each of `written` (by its place)
  /// gets a mark.
  void mount(const std::vector<std::string>& sources,
             const std::vector<std::size_t>& written) const {
    std::vector<Source> all = open(sources);
    std::vector<OpenedOverlay> opened;
    cover(all, request(), &opened);
    std::vector<const OpenedOverlay*> together;
    for (const OpenedOverlay& one : opened) together.push_back(&one);
    join(together);
    for (const std::size_t i : written) {
      write(*all[i].overlay, 5000, as_bytes("MARK"));
      all[i].overlay->flush();
    }
  }
  std::string refused(const std::vector<std::string>& sources) const {
    try {
      commit(commit_of(sources));
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  static bool marked(const std::string& source) {
    const Buffer bytes = test::read_file(source);
    return std::equal(bytes.begin() + 5000, bytes.begin() + 5004, as_bytes("MARK").begin());
  }
  std::vector<std::string> remarks(const std::vector<std::string>& sources,
                                   Request::Kind kind) const {
    std::vector<Source> opened = open(sources);
    return cover(opened, request(kind));
  }

  std::string one_, two_, digest_;
};

TEST_F(Sets, APartIsRefusedAndTheRestNamed) {
  mount({one_, two_}, {0, 1});
  const std::string why = refused({one_});
  EXPECT_TRUE(contains(why, overlay("two") + " (of " + two_ + ") left out")) << why;
  EXPECT_TRUE(contains(why, "peelfs commit --overlay " + folder_ + " " + one_ + " " + two_ + ";"))
      << why;
  EXPECT_TRUE(contains(why, "--accept-part")) << why;
  EXPECT_EQ(digest(), digest_);
  EXPECT_EQ(refusal({one_, two_}), "") << "nothing was begun";
  EXPECT_EQ(refused({two_, one_}), "");
  EXPECT_TRUE(marked(one_));
  EXPECT_TRUE(marked(two_));
}

TEST_F(Sets, WhatIsEmptyTearsNothing) {
  mount({one_, two_}, {0});
  EXPECT_EQ(refused({two_}), "") << "it holds nothing";
  EXPECT_EQ(digest(), digest_);
  mount({one_, two_}, {});
  EXPECT_EQ(refused({one_}), "") << "the other one holds nothing";
  EXPECT_TRUE(marked(one_));
  // What was committed by itself is not asked for ever after.
  mount({two_}, {0});
  EXPECT_EQ(refused({two_}), "");
  EXPECT_TRUE(marked(two_));
}

TEST_F(Sets, APartThatIsAcceptedGoesItsOwnWay) {
  mount({one_, two_}, {0, 1});
  CommitRequest request = commit_of({one_});
  request.accept_part = true;
  request.progress = [](const std::string& what, std::uint64_t, std::uint64_t) {
    if (contains(what, "verifying")) throw std::runtime_error("stopped");
  };
  EXPECT_THROW(commit(request), std::runtime_error);
  EXPECT_EQ(refused({one_}), "") << "it was accepted when it was begun";
  EXPECT_TRUE(marked(one_));
  EXPECT_FALSE(marked(two_));
  EXPECT_EQ(refused({two_}), "");
}

TEST_F(Sets, APartIsNotTakenWhileTheRestIsInUse) {
  mount({one_, two_}, {0, 1});
  {
    const auto busy = covered({two_});
    CommitRequest request = commit_of({one_});
    request.accept_part = true;
    EXPECT_THROW(commit(request), Error);
    EXPECT_EQ(digest(), digest_);
  }
  EXPECT_NE(refused({one_}), "") << "they still belong together";
}

TEST_F(Sets, KnownWhenAllIsMovedAndMissedWhenOneIsGone) {
  mount({one_, two_}, {0, 1});
  const std::string elsewhere = directory_ / "elsewhere";
  fs::rename(folder_, elsewhere);
  folder_ = elsewhere;
  EXPECT_TRUE(contains(refused({one_}), overlay("two")));
  fs::rename(overlay("two"), directory_ / "two.qcow2");
  const std::string why = refused({one_});
  EXPECT_TRUE(contains(why, overlay("two") + " (which is not there any more)")) << why;
  EXPECT_TRUE(contains(refused({one_, two_}), "not there any more"));
  fs::rename(directory_ / "two.qcow2", overlay("two"));
  EXPECT_EQ(refused({one_, two_}), "");
}

TEST_F(Sets, OverOthers) {
  const std::string three = make_raw("three.img", 3);
  mount({one_, two_}, {0, 1});
  mount({two_, three}, {1});
  EXPECT_TRUE(contains(refused({one_, two_}), overlay("three")));
  EXPECT_TRUE(contains(refused({three}), overlay("one")));
  EXPECT_EQ(refused({three, one_, two_}), "");
}

TEST_F(Sets, WhoeverWasAlwaysAloneBelongsToNobody) {
  mount({one_}, {0});
  mount({two_}, {0});
  EXPECT_FALSE(
      qcow2::read_extension(*make_storage_device(HostFile::open(overlay("one"))), kSetExtension));
  EXPECT_EQ(refused({one_}), "");
  EXPECT_EQ(refused({two_}), "");
}

TEST_F(Sets, OldOverlaysStayUsable) {
  mount({one_, two_}, {0, 1});
  for (const char* const name : {"one", "two"}) {
    const auto file = HostFile::open(overlay(name), HostFile::Access::read_write);
    qcow2::remove_extension(*make_storage_device(file), kSetExtension);
  }
  EXPECT_EQ(refused({one_}), "");
  mount({one_, two_}, {0});
  EXPECT_TRUE(contains(refused({one_}), overlay("two"))) << "noted from now on";
}

/// The commit of both is stopped wherever it can be; the one half may be finished and gone.
TEST_F(Sets, AnInterruptedCommitOfAllIsFinished) {
  mount({one_, two_}, {0, 1});
  CommitRequest request = commit_of({one_, two_});
  request.progress = [](const std::string& what, std::uint64_t, std::uint64_t) {
    if (contains(what, "verifying")) throw std::runtime_error("stopped");
  };
  EXPECT_THROW(commit(request), std::runtime_error);
  EXPECT_TRUE(contains(refused({one_}), overlay("two"))) << "one half may not be finished alone";
  fs::remove(overlay("one"));  // the last thing that a commit does
  const auto done = commit(commit_of({one_, two_}));
  EXPECT_TRUE(done.front().resumed);
  EXPECT_TRUE(marked(one_));
  EXPECT_TRUE(marked(two_));
}

TEST_F(Sets, LookingAtAPartIsRemarkedOn) {
  mount({one_, two_}, {0, 1});
  for (const auto kind : {Request::Kind::view, Request::Kind::persistent}) {
    const auto said = remarks({one_}, kind);
    ASSERT_EQ(said.size(), 1U);
    EXPECT_TRUE(contains(said.front(), overlay("two"))) << said.front();
    EXPECT_TRUE(remarks({one_, two_}, kind).empty());
  }
  const auto mixed = remarks({one_, two_, make_raw("three.img", 3)}, Request::Kind::view);
  ASSERT_EQ(mixed.size(), 1U);
  EXPECT_TRUE(contains(mixed.front(), "three.img has no overlay")) << mixed.front();
}

/// The note is qemu's to keep.
TEST_F(Sets, QemuKeepsTheNote) {
  mount({one_, two_}, {0, 1});
  test::must_run("qemu-img check -q " + overlay("one"));
  test::must_run("qemu-img snapshot -c here " + overlay("one"));
  test::must_run("qemu-img rebase -u -f qcow2 -F raw -b " + one_ + " " + overlay("one"));
  EXPECT_TRUE(contains(refused({one_}), overlay("two")));
}

}  // namespace
}  // namespace peelfs::overlay
