// A first look at metadata text, before libdevmapper's parser sees it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace peelfs::lvm {

/// What a copy of the metadata says of itself; enough to choose between copies.
struct MetadataSummary {
  std::string vg_name;
  std::string vg_uuid;      ///< 32 characters, without hyphens
  std::uint64_t seqno = 0;  ///< counts the changes of the volume group
  unsigned members = 0;     ///< physical volumes of the group; 0: the text does not say
};

/// Most bytes of metadata text that are read. LVM2 itself is content with 1 MiB areas.
inline constexpr std::uint64_t kMaxMetadataText = 16U << 20U;

/// Reads as far as is needed to know which group it is of, and how new.
/// @param text without its final NUL
/// @throws Error(Fault::damaged) with the line
MetadataSummary summarize_metadata(std::string_view text);

/// Goes through the whole text. libdevmapper's parser calls itself for each section within a
/// section and makes about 100 bytes of each entry, so what is deeper or larger than a volume group
/// can be is refused here; so are characters at which versions of that parser disagree.
/// @throws Error(Fault::damaged) with the line
void check_metadata(std::string_view text);

}  // namespace peelfs::lvm
