// Images for tests of `peelfs fsck`, and a run of it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "cli/program.h"
#include "support/support.h"

namespace peelfs::test {

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A folder of images, which must be as they were when a test ends, and nothing else be left.
class FsckFleet : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// All that is in the folder of images belongs to the sources from now on.
  void remember();

  struct Checked {
    int exit_code = -1;
    std::map<std::string, nlohmann::json> devices;  ///< by name
    std::string errors;
    std::string state(const std::string& device) const {
      const auto at = devices.find(device);
      return at == devices.end() ? "(none)" : at->second.at("state").get<std::string>();
    }
    std::string reason(const std::string& device) const {
      const auto at = devices.find(device);
      if (at == devices.end() || at->second.at("reason").is_null()) return "";
      return at->second.at("reason").get<std::string>();
    }
  };
  /// `peelfs fsck --json ARGUMENTS`. @param before of the command line: variables
  Checked fsck(const std::string& arguments, const std::string& before = "") const;
  /// The beginning of a command line that does not write outside of this test's folder.
  std::string place() const { return "TMPDIR=" + scratch_.path() + " "; }

  /// ext4 with a few files. @return its path
  std::string make_ext4(const std::string& name, const std::string& size = "16M") const;
  /// The same, and damaged so that e2fsck finds errors: proved with e2fsck on a copy.
  std::string make_damaged_ext4(const std::string& name) const;

  TemporaryDirectory images_;   ///< where sources lie
  TemporaryDirectory scratch_;  ///< $TMPDIR
  TemporaryDirectory other_;    ///< whatever else a test needs
 private:
  std::string seal() const;
  std::string sealed_;
};

}  // namespace peelfs::test
