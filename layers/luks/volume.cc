#include "luks/volume.h"

#include <utility>

#include "luks/container.h"

namespace peelfs {

LuksKeys luks_keys(const KeyRing& ring, const std::vector<std::string>& names) {
  return {ring.candidates(names, kPassphrases), ring.candidates(names, {KeyKind::volume_key}),
          names};
}

LuksVolume unlock_luks(const BlockDevice& header, const LuksKeys& keys, const Limits& limits,
                       const Attempts& attempts) {
  luks::Container container(header, attempts.cancel);
  LuksVolume volume;
  volume.key = container.unlock(keys, limits, attempts);
  const luks::Description& description = container.description();
  volume.cipher = description.segment.cipher;
  volume.data_offset = description.segment.offset;
  volume.size = description.segment.size;
  volume.sector_size = description.segment.sector_size;
  volume.iv_offset = description.segment.iv_offset;
  volume.uuid = description.uuid;
  volume.label = description.label;
  volume.note = description.note;
  return volume;
}

}  // namespace peelfs
