// Rows of what peelfs knows by name but does not open (kinds.h is their table). They say so where
// a device would otherwise be a disk with nothing on it, and keep the rows below them from taking
// its content for what it is not.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

/// Files in formats of disk images, and archives.
std::optional<Claim> foreign_image_probe(const ProbeInput& input);
/// Members, encrypted volumes, partition tables of other systems.
std::optional<Claim> foreign_probe(const ProbeInput& input);
/// Members of arrays whose metadata stands at the end.
std::optional<Claim> foreign_raid_probe(const ProbeInput& input);

/// Of all of them. @throws Error(Fault::unsupported): "WHAT; TOOL opens it"
Opened foreign_open(const OpenInput& input);

/// An image of the table in kinds.h.
std::string_view foreign_image_recognise(const BlockDevice& file);

inline constexpr std::array<std::string_view, 7> kForeignSuffixes{".qed", ".vmdk", ".vdi", ".vhdx",
                                                                  ".hdd", ".e01",  ".aff"};
inline constexpr Layer kForeignImageLayer{.name = "foreign-image",
                                          .probe = &foreign_image_probe,
                                          .open = &foreign_open,
                                          .traits = {.image = true},
                                          .suffixes = kForeignSuffixes,
                                          .recognise = &foreign_image_recognise};
inline constexpr Layer kForeignLayer{
    .name = "foreign", .probe = &foreign_probe, .open = &foreign_open};
inline constexpr Layer kForeignRaidLayer{
    .name = "foreign-raid", .probe = &foreign_raid_probe, .open = &foreign_open};

// Filesystems that are shown as they are: nothing in them is looked for (yet).
inline constexpr std::array kLeafSignatures{
    Signature{0, "XFSB", "xfs"}, Signature{3, "NTFS    ", "ntfs"},
    Signature{54, "FAT16   ", "vfat"}, Signature{82, "FAT32   ", "vfat"},
    Signature{4086, "SWAPSPACE2", "swap"}};
inline constexpr Layer kLeafLayer{.name = "leaf", .signatures = kLeafSignatures};

}  // namespace peelfs
