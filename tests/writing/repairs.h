// Programs that repair and make filesystems, unmodified, on a device of a stack and on a plain copy
// of it: what they leave must be the same.
#pragma once

#include <string>

#include "mount/mounted.h"
#include "support/fixture_trees.h"

namespace peelfs::test {

/// So that sh finds them as an ordinary user.
extern const std::string tools;
/// And clock and random numbers of the tools stand still.
extern const std::string still;

class Repairs : public ::testing::Test {
 protected:
  /// How a program is let at a device.
  enum class Way : std::uint8_t {
    in_place,
    overlay,  ///< of a mount
    tried,    ///< by peelfs try
  };

  void SetUp() override { NEED_MOUNTS(); }

  /// A copy of a fixture to write to. @return false when the fixture is not here
  bool take(const std::string& fixture, const std::string& image);
  /// The device's bytes, by another process that has no mount; with the overlay if there is one.
  std::string copy_of(const std::string& device, const std::string& name);
  std::string mount_arguments() const;

  /// Runs a command with {} for the device. The test fails when the mount does not end well.
  CommandResult through(const std::string& device, const std::string& command);

  /// The same commands, with {} for the device, on a plain copy and by the way that is chosen.
  /// @param expected what each must exit with, on both
  void same_on_both(const std::string& device, const std::vector<std::string>& commands,
                    const std::vector<int>& expected);
  void same_on_both(const std::string& device, const std::string& command, int expected) {
    same_on_both(device, std::vector{command}, std::vector{expected});
  }

  TemporaryDirectory folder_;
  std::string source_, keys_;
  Way way_ = Way::in_place;
  const std::string overlays_ = folder_.path() + "/overlays";
};

}  // namespace peelfs::test
