// The images that real kernels made, and what those kernels said of them. They lie in tests/images;
// $PEELFS_FIXTURES names more.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace peelfs::test {

/// The folders that hold fixtures: tests/images, then those of $PEELFS_FIXTURES (a list separated
/// by colons; of a folder without a manifest, the folders in it that have one). Each holds
/// manifest.json, images/ and keys/. Absolute paths. Thread-safe.
const std::vector<std::string>& fixture_folders();

/// The `fixtures` of the repository's manifest: one record for each name, also for what was left
/// out. Thread-safe.
const nlohmann::json& fixture_manifest();

/// The unpacked image of a fixture ("variant2"), unpacked on first use into a cache that all tests
/// of a run share; sparse. Fails the running test when the image is neither in tests/images nor
/// named there as left out, even where $PEELFS_FIXTURES has it: a bare clone would lack it.
/// @return its path; empty when it was left out and is not in $PEELFS_FIXTURES either
std::string fixture_image(const std::string& name);

/// The path of a key file ("keys/keyfile.bin"), as the manifest's `keys` name it.
std::string fixture_key(const std::string& name);

/// The names of the images that are too large for the repository.
const std::vector<std::string>& left_out_images();

}  // namespace peelfs::test
