// What the kernel said of a fixture.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "support/support.h"

namespace peelfs::test {

inline nlohmann::json fixture(const std::string& name) {
  std::ifstream file(fixtures_folder() + "/manifest.json");
  const nlohmann::json manifest = nlohmann::json::parse(file);
  const nlohmann::json& fixtures = manifest.at("fixtures");
  if (fixtures.is_object()) return fixtures.at(name);
  for (const nlohmann::json& entry : fixtures) {
    if (entry.at("name") == name) return entry;
  }
  throw std::runtime_error("the manifest has no fixture " + name);
}

}  // namespace peelfs::test
