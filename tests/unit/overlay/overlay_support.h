// Sources, and what is put over them, for the tests of overlays.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "host/source.h"
#include "overlay/commit.h"
#include "overlay/cover.h"
#include "peelfs/formats.h"
#include "support/support.h"

namespace peelfs::overlay {

class OverlayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    folder_ = directory_ / "ov";
  }

  /// A raw image whose size is no multiple of a sector.
  std::string make_raw(const std::string& name = "disk.img", std::uint64_t seed = 1) const {
    const std::string path = directory_ / name;
    test::write_file(path, test::pattern((5U << 20U) + 100, seed));
    return path;
  }

  static std::vector<Source> open(const std::vector<std::string>& arguments) {
    std::vector<SourceSpec> specs;
    for (const std::string& argument : arguments) {
      specs.push_back(parse_source(argument));
      specs.back().relied_on = true;
    }
    OpenedSources opened = open_sources(specs, {}, standard_formats());
    for (const SourceFailure& failure : opened.failures) ADD_FAILURE() << failure.error.what();
    return std::move(opened.sources);
  }

  Request request(Request::Kind kind = Request::Kind::persistent, bool accept = false) const {
    return {kind, folder_, accept};
  }

  std::vector<Source> covered(const std::vector<std::string>& arguments,
                              Request::Kind kind = Request::Kind::persistent,
                              bool accept = false) const {
    std::vector<Source> sources = open(arguments);
    cover(sources, request(kind, accept));
    return sources;
  }

  /// @return what covering says; "" when it works
  std::string refusal(const std::vector<std::string>& arguments,
                      Request::Kind kind = Request::Kind::persistent) const {
    std::vector<Source> sources = open(arguments);
    try {
      cover(sources, request(kind));
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  /// An overlay that holds something.
  void mark(const std::string& source, std::string_view text = "MARK") const {
    const auto sources = covered({source});
    write(*sources[0].overlay, 5000, as_bytes(text));
    sources[0].overlay->flush();
  }

  CommitRequest commit_of(const std::vector<std::string>& arguments) const {
    CommitRequest result;
    for (const std::string& argument : arguments) result.sources.push_back(parse_source(argument));
    result.directory = folder_;
    return result;
  }

  std::string overlay(const std::string& name) const { return folder_ + "/" + name + ".qcow2"; }

  test::TemporaryDirectory directory_;
  std::string folder_;
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace peelfs::overlay
