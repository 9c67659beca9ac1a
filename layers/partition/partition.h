// The row(s) of this folder in the table of layers.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> gpt_probe(const ProbeInput& input);
Opened gpt_open(const OpenInput& input);

std::optional<Claim> mbr_probe(const ProbeInput& input);
Opened mbr_open(const OpenInput& input);

/// Takes a boot sector with a table that makes sense for a disk of this size. 0x55 0xaa alone means
/// nothing: files of boot loaders end their sectors like that, too.
std::string_view mbr_recognise(const BlockDevice& file);

// LBA 1, by the sector size.
inline constexpr std::array kGptSignatures{Signature{512, "EFI PART", "gpt"},
                                           Signature{4096, "EFI PART", "gpt"}};
inline constexpr std::array<std::string_view, 1> kGptKinds{"gpt"};
inline constexpr Layer kGptLayer{.name = "gpt",
                                 .probe = &gpt_probe,
                                 .open = &gpt_open,
                                 .traits = {.partition_table = true},
                                 .signatures = kGptSignatures,
                                 .kinds = kGptKinds};
inline constexpr std::array<std::string_view, 2> kMbrKinds{"mbr", "dos"};
inline constexpr Layer kMbrLayer{.name = "mbr",
                                 .probe = &mbr_probe,
                                 .open = &mbr_open,
                                 .traits = {.partition_table = true},
                                 .recognise = &mbr_recognise,
                                 .kinds = kMbrKinds};

}  // namespace peelfs
