// What an image may name in a filesystem that is not ext.
#include "fs/references.h"

#include <thread>

#include "fs_support.h"

namespace peelfs::test {
namespace {

class FilesystemReferences : public ::testing::Test {
 protected:
  void SetUp() override {
    filesystem_->directory(0, "images", 1);
    filesystem_->directory(1, "base", 2);
    filesystem_->file(2, "base.raw", 3, 1 * MiB, 80'000);
    filesystem_->file(1, "top.qcow2", 4, 2 * MiB, 70'000);
    filesystem_->link_to(1, "relative", 5, "base/../base/base.raw");
    filesystem_->link_to(2, "absolute", 6, "/images/relative");
    filesystem_->link_to(1, "loop", 7, "loop");
    filesystem_->directory(0, "torn", 8);
    filesystem_->set_listing(8, TestFilesystem::Listing::damaged);
  }
  std::shared_ptr<const References> references() const {
    return fs::make_references(filesystem_, {TestFilesystem::id(0), TestFilesystem::id(1)});
  }
  std::string digest(const std::string& name) const {
    return sha256(*references()->open(name).device);
  }
  std::pair<Fault, std::string> failure(const std::string& name) const {
    try {
      (void)references()->open(name);
    } catch (const Error& error) {
      return {error.fault(), error.what()};
    }
    ADD_FAILURE() << name << " was opened";
    return {};
  }

  const Disk disk_;
  const std::shared_ptr<TestFilesystem> filesystem_ =
      std::make_shared<TestFilesystem>(disk_.device);
  const Buffer bytes_ = pattern(4 * MiB, 1);
  const std::string base_ = sha256(Bytes(bytes_).subspan(1 * MiB, 80'000));
};

TEST_F(FilesystemReferences, AreFollowedAsAKernelWould) {
  for (const char* name : {"base/base.raw", "./base//base.raw", "/images/base/base.raw", "relative",
                           "base/absolute", "../../../images/base/base.raw"}) {
    EXPECT_EQ(digest(name), base_) << name;
  }
  EXPECT_EQ(digest("top.qcow2"), sha256(Bytes(bytes_).subspan(2 * MiB, 70'000)));
}

TEST_F(FilesystemReferences, TheNextLinkCountsFromItsOwnDirectory) {
  const References::Found found = references()->open("base/base.raw");
  EXPECT_EQ(found.name, "base.raw");
  EXPECT_EQ(found.device->describe(), "file base.raw");
  EXPECT_EQ(sha256(*found.references->open("absolute").device), base_);
  EXPECT_EQ(found.references->open("../top.qcow2").device->size(), 70'000U);
}

TEST_F(FilesystemReferences, NamesOfTheHostBelowWhereItWasMounted) {
  EXPECT_EQ(failure("/srv/guests/images/base/base.raw").first, Fault::missing);
  filesystem_->set_mounted_on("/srv/guests");
  EXPECT_EQ(digest("/srv/guests/images/base/base.raw"), base_);
  EXPECT_EQ(digest("/images/base/base.raw"), base_);
  EXPECT_EQ(failure("/srv/guestsimages/base/base.raw").first, Fault::missing);
}

TEST_F(FilesystemReferences, SiblingsAreFilesOfTheSameDirectory) {
  filesystem_->file(1, "top.2", 9, 3 * MiB, 4096);
  filesystem_->directory(1, "top.d", 10);
  filesystem_->link_to(1, "top.l", 11, "/images/top.2");
  EXPECT_EQ(references()->siblings("top."), (std::vector<std::string>{"top.2", "top.qcow2"}));
  EXPECT_TRUE(references()->siblings("base/").empty());
  EXPECT_TRUE(references()->siblings("").empty());
  const auto torn =
      fs::make_references(filesystem_, {TestFilesystem::id(0), TestFilesystem::id(8)});
  EXPECT_THROW((void)torn->siblings("x"), Error);
}

TEST_F(FilesystemReferences, CaseIsTheFilesystemsAffair) {
  EXPECT_EQ(failure("BASE/Base.RAW").first, Fault::missing);
  filesystem_->fold_case();
  EXPECT_EQ(digest("BASE/Base.RAW"), base_);
}

TEST_F(FilesystemReferences, WhatIsNotThere) {
  for (const auto& [name, why] : {std::pair<std::string, std::string>{"nothing", "no \"nothing\""},
                                  {"base", "a directory"},
                                  {"top.qcow2/x", "a component that is no directory"},
                                  {"loop", "too many symbolic links"},
                                  {"", "a name that no file can have"}}) {
    const auto [fault, text] = failure(name);
    EXPECT_EQ(fault, Fault::missing) << name;
    EXPECT_NE(text.find(why), std::string::npos) << text;
  }
  const auto [fault, text] = failure("/torn/x");
  EXPECT_EQ(fault, Fault::damaged) << "it may be in the part that is lost";
  EXPECT_NE(text.find("cannot all be read"), std::string::npos) << text;
}

TEST_F(FilesystemReferences, FromManyThreads) {
  const auto shared = references();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(shared->open("base/absolute").device->size(), 80'000U);
      }
    });
  }
}

}  // namespace
}  // namespace peelfs::test
