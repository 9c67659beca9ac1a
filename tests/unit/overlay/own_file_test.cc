// The owner of an overlay, and the type of the file under its name.
#include "overlay/own_file.h"
#include "peelfs/formats.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/source.h"
#include "overlay/cover.h"
#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs::overlay {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class OwnFile : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::mkdir(directory_.c_str(), 0700), 0);
    test::write_file(path_, test::pattern(4096, 1));
    ::chmod(path_.c_str(), 0600);
  }
  std::string refusal(bool accept_shared = false) const {
    try {
      require_own(directory_, {path_, directory_ + "/none.qcow2"}, accept_shared);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::denied);
      return error.what();
    }
  }
  static std::string opening(const std::string& path) {
    try {
      open_overlay_file(path);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  test::TemporaryDirectory folder_;
  const std::string directory_ = folder_ / "ov";
  const std::string path_ = directory_ + "/disk.qcow2";
};

TEST_F(OwnFile, OursIsTaken) {
  EXPECT_EQ(refusal(), "");
  ::chmod(directory_.c_str(), 0755);
  ::chmod(path_.c_str(), 0644);
  EXPECT_EQ(refusal(), "") << "others may look";
}

TEST_F(OwnFile, WhatOthersMayWriteIsRefused) {
  for (const std::string& what : {directory_, path_}) {
    for (const mode_t mode : {0720U, 0702U, 01777U}) {
      ::chmod(what.c_str(), mode);
      EXPECT_TRUE(contains(refusal(), what + " may be written by others")) << refusal();
      EXPECT_TRUE(contains(refusal(), "chmod go-w")) << refusal();
      EXPECT_EQ(refusal(true), "");
    }
    ::chmod(what.c_str(), 0700);
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(OwnFile, SomebodyElsesIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  for (const std::string& what : {directory_, path_}) {
    ASSERT_EQ(::chown(what.c_str(), 65534, 65534), 0);
    EXPECT_TRUE(contains(refusal(), what + " belongs to somebody else")) << refusal();
    EXPECT_EQ(refusal(true), "");
    ASSERT_EQ(::chown(what.c_str(), 0, 0), 0);
  }
}

TEST_F(OwnFile, NamesAreNotFollowed) {
  EXPECT_EQ(opening(path_), "");
  const std::string link = directory_ + "/link.qcow2";
  ASSERT_EQ(::symlink(path_.c_str(), link.c_str()), 0);
  EXPECT_TRUE(contains(opening(link), "is a symbolic link")) << opening(link);
  const std::string pipe = directory_ + "/pipe.qcow2";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(contains(opening(pipe), "no regular file")) << opening(pipe);
  EXPECT_NE(opening(directory_ + "/none.qcow2"), "");
}

TEST_F(OwnFile, AnOverlayIsNeitherMadeNorContinuedThere) {
  const std::string disk = folder_ / "disk.img";
  test::write_file(disk, test::pattern(1U << 20U, 1));
  Request request;
  request.kind = Request::Kind::persistent;
  request.directory = folder_ / "shared";
  ASSERT_EQ(::mkdir(request.directory.c_str(), 0700), 0);
  ::chmod(request.directory.c_str(), 0777);
  const auto covering = [&] {
    SourceSpec spec;
    spec.path = disk;
    spec.relied_on = true;
    std::vector<Source> sources = open_sources({{spec}}, {}, standard_formats()).sources;
    cover(sources, request);
  };
  EXPECT_THROW(covering(), Error);
  EXPECT_NE(::access((request.directory + "/disk.qcow2").c_str(), F_OK), 0);
  request.accept_shared = true;
  covering();
  EXPECT_EQ(::access((request.directory + "/disk.qcow2").c_str(), F_OK), 0);
  request.accept_shared = false;
  for (const auto kind : {Request::Kind::persistent, Request::Kind::view}) {
    request.kind = kind;
    EXPECT_THROW(covering(), Error);
  }
}

}  // namespace
}  // namespace peelfs::overlay
