// The sources that are disks: those of a run without what is a part of another one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/source.h"
#include "peelfs/layer.h"

namespace peelfs::overlay {

struct ImageFormat {
  const Layer* layer = nullptr;
  Claim claim;
};

/// The image format of a source, as the scanner decides it: the one that a person says it is in, or
/// the first that claims the first bytes.
/// @return nullopt: it is taken as raw bytes @throws Error
std::optional<ImageFormat> image_format(const Source& source);

/// open_sources(), but a source that holds bytes of another one's image (its external data file) is
/// put among the parts, with a remark: it is no disk of its own, else there would be two ways to
/// write the same bytes. The image finds it open.
OpenedSources open_disks(std::span<const SourceSpec> specs,
                         std::span<const std::string> allow_references);

/// Refuses sources of which one shows bytes of another: a loop device and its file, a disk and its
/// partition, an image and its backing file. A write to the one would not be seen in the other, or
/// would change bytes under another writer. For sources that are written, or covered by overlays
/// that are written; what open_disks() puts among the parts is no source of its own.
/// @param advice what to do instead @throws Error(Fault::usage)
void refuse_common_bytes(const std::vector<Source>& sources, const std::string& advice);

}  // namespace peelfs::overlay
