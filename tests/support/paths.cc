#include "support/paths.h"

namespace peelfs::test {

const std::string& source_folder() {
  static const std::string folder = PEELFS_SOURCE_DIR;
  return folder;
}

const std::string& build_folder() {
  static const std::string folder = PEELFS_BINARY_DIR;
  return folder;
}

}  // namespace peelfs::test
