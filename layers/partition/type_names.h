// What the types of partitions are called, in the words of util-linux (sfdisk --list-types, lsblk's
// PARTTYPENAME). The numbers of MBR types are a convention that grew, see
// https://www.win.tue.nl/~aeb/partitions/partition_types-1.html; a GUID belongs to the system that
// chose it, many are in the UAPI group's Discoverable Partitions Specification.
#pragma once

#include <cstdint>
#include <string_view>

namespace peelfs {

/// @return "Linux LVM"; empty: no name is known
std::string_view mbr_type_name(std::uint8_t type);

/// @param guid as text, in lower case. @return "EFI System"; empty: no name is known
std::string_view gpt_type_name(std::string_view guid);

}  // namespace peelfs
