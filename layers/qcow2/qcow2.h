// The row(s) of this folder in the table of layers.
#pragma once

#include <array>

#include "peelfs/layer.h"

namespace peelfs {

std::optional<Claim> qcow2_probe(const ProbeInput& input);

/// The disk of an image and its internal snapshots, which are named DISK@SNAPSHOT. An encrypted
/// image for which there is no key is an Error(Fault::locked).
Opened qcow2_open(const OpenInput& input);

/// The external data file, if there is one. @throws Error
std::vector<std::string> qcow2_parts(const BlockDevice& file);

inline constexpr std::array kQcow2Signatures{Signature{0, "QFI\xfb", "qcow2"}};
inline constexpr std::array<std::string_view, 2> kQcow2Suffixes{".qcow2", ".qcow"};
inline constexpr std::array<std::string_view, 1> kQcow2Kinds{"qcow2"};
inline constexpr Layer kQcow2Layer{.name = "qcow2",
                                   .probe = &qcow2_probe,
                                   .open = &qcow2_open,
                                   .traits = {.image = true},
                                   .signatures = kQcow2Signatures,
                                   .suffixes = kQcow2Suffixes,
                                   .parts = &qcow2_parts,
                                   .kinds = kQcow2Kinds};

}  // namespace peelfs
