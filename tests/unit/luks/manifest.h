// What the kernel said of a fixture.
#pragma once

#include <string>

#include "support/fixtures.h"

namespace peelfs::test {

inline nlohmann::json fixture(const std::string& name) {
  return fixture_manifest().at(name);
}

}  // namespace peelfs::test
