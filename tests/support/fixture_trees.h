// The fixtures of tests/images, each with the tree that peelfs must show for it: written by
// hand from the manifest's `chain` and `kernel_device`, and never from what peelfs prints.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "support/fixtures.h"

namespace peelfs::test {

/// What the kernel read on a device: the manifest's `oracle`.
struct Truth {
  std::uint64_t size = 0;
  std::string sha256;
  std::string fstype, label, uuid;
  std::uint32_t logical_sector = 0;  ///< 0: not recorded
};

struct ExpectedDevice {
  std::string name;
  std::string parent;  ///< flat name; "" for a source
  std::string type;
  std::string oracle;  ///< key in the manifest; "" when the kernel's bytes were not recorded
  std::string state;   ///< "" for a healthy one; else the state it must have
};

struct FixtureTree {
  std::string fixture;
  std::vector<std::string> sources;  ///< names of images, in this order on the command line
  std::vector<ExpectedDevice> devices;
};

/// How GoogleTest shows it.
inline void PrintTo(const FixtureTree& tree, std::ostream* out) {
  *out << tree.fixture;
}

const std::vector<FixtureTree>& fixture_trees();

/// The fixture's name as GoogleTest allows it.
std::string test_name(const FixtureTree& tree);

/// The record of one device. Fails the running test when the manifest has none.
Truth truth_of(const std::string& fixture, const std::string& oracle);
/// The names of all fixtures in the manifest.
std::vector<std::string> manifest_fixtures();
std::string passphrase_of(const std::string& fixture);

/// The paths of the unpacked images; empty when one of them was left out of the repository.
std::vector<std::string> unpacked_sources(const FixtureTree& tree);

}  // namespace peelfs::test
