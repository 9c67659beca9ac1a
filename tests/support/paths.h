// Where the project and its build are.
#pragma once

#include <string>

namespace peelfs::test {

/// Absolute, without a slash at the end. Thread-safe.
const std::string& source_folder();
const std::string& build_folder();

}  // namespace peelfs::test
