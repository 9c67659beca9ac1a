// One physical volume, as its own label and metadata areas describe it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lvm/metadata_scan.h"
#include "peelfs/block_device.h"

namespace peelfs::lvm {

/// Where a metadata text lies on the device, in bytes. Text that wraps around the end of the
/// circular area has a second part.
struct TextLocation {
  std::uint64_t offset = 0, size = 0;
  std::uint64_t second_offset = 0, second_size = 0;
  std::uint32_t checksum = 0;
};

/// One metadata area.
struct MetadataCopy {
  enum class State {
    valid,    ///< the text's checksum matches and it names a volume group
    empty,    ///< the area is sound and holds no text
    ignored,  ///< LVM2 was told not to use it (metadataignore); what it holds may be old
    damaged,
  };
  std::uint64_t area_offset = 0;  ///< bytes
  State state = State::empty;
  TextLocation text;        ///< when valid
  MetadataSummary summary;  ///< when valid
  std::string problem;      ///< when damaged: what was found and expected
};

/// What probe learns of a physical volume.
struct PhysicalVolume {
  std::string uuid;               ///< 32 characters, without hyphens
  std::uint64_t device_size = 0;  ///< bytes, as the label has it
  unsigned label_sector = 0;
  bool in_use = false;  ///< the label says that it belongs to a volume group, or cannot say
  std::vector<MetadataCopy> copies;

  /// The valid copy with the highest seqno, the first of several; null when there is none.
  const MetadataCopy* newest() const noexcept;
  /// Whether it was never put into a volume group, or was taken out of it.
  bool is_orphan() const noexcept;
  /// "area at 4096: ...; area at ..." for every damaged copy; empty when none is.
  std::string damage() const;
};

/// Looks for a label in the first four sectors and reads what it leads to.
/// @return nullopt when there is none that is sound
/// @throws Error(Fault::damaged) when the label's checksum is right and its content is not, or when
///   there are only labels with a wrong checksum
std::optional<PhysicalVolume> read_physical_volume(const BlockDevice& device);

/// Reads a text again. @return it without its final NUL
/// @throws Error(Fault::damaged) when it lies outside of the device or its checksum is wrong
std::string read_text(const BlockDevice& device, const TextLocation& location);

}  // namespace peelfs::lvm
