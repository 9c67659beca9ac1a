// Where a file begins: by which two devices are known to be one file, even if they were opened
// under different names or in different ways.
#pragma once

#include <cstdint>

#include "peelfs/storage.h"

namespace peelfs {

/// The place of a file's first byte. Equal for two devices only if they are one file.
struct Origin {
  StorageId storage = {};
  /// Where no storage has the byte as it is (it is encrypted, or not allocated): the device that
  /// makes it. Compared, never used.
  const BlockDevice* device = nullptr;
  std::uint64_t offset = 0;  ///< in bytes
  auto operator<=>(const Origin&) const = default;
};

/// @throws Error when a table of the layers below cannot be read. Thread-safe.
Origin origin_of(const BlockDevice& file);

}  // namespace peelfs
