#include "peelfs/origin.h"

#include "peelfs/io.h"

namespace peelfs {

Origin origin_of(const BlockDevice& file) {
  const Resolved first = resolve(file, 0, 1);
  if (first.extent.kind == ExtentKind::storage) {
    return {first.extent.storage->identity(), nullptr, first.extent.offset};
  }
  return {{}, first.device, first.offset};
}

}  // namespace peelfs
