#include "overlay/disks.h"

#include <algorithm>
#include <vector>

#include "identify/identify.h"
#include "peelfs/error.h"

namespace peelfs::overlay {

namespace {

/// The files that hold bytes of the source's image, if a person named them. What cannot be found
/// out is said where the image is opened.
std::vector<FileId> named_parts(const Source& source) {
  std::vector<FileId> parts;
  try {
    const auto format = image_format(source);
    if (!format || format->layer->parts == nullptr) return parts;
    for (const std::string& name : format->layer->parts(*make_file_device(source.file))) {
      if (const auto id = source.references->named_part(name)) parts.push_back(*id);
    }
  } catch (const Error&) {
  }
  return parts;
}

}  // namespace

std::optional<ImageFormat> image_format(const Source& source) {
  if (source.raw) return std::nullopt;
  const DevicePtr file = make_file_device(source.file);
  const Identity identity = identify(*file);
  for (const Layer& layer : layer_table()) {
    if (!layer.image_format) continue;
    if (auto claim = layer.probe({*file, identity})) return ImageFormat{&layer, *std::move(claim)};
  }
  return std::nullopt;
}

OpenedSources open_disks(std::span<const SourceSpec> specs,
                         std::span<const std::string> allow_references) {
  OpenedSources opened = open_sources(specs, allow_references);
  const std::vector<Source> all = opened.sources;
  for (const Source& whole : all) {
    for (const FileId& part : named_parts(whole)) {
      // An image that names itself is damaged, not a part.
      if (part == whole.file->id()) continue;
      const auto found =
          std::find_if(opened.sources.begin(), opened.sources.end(),
                       [&](const Source& source) { return source.file->id() == part; });
      if (found == opened.sources.end()) continue;
      opened.remarks.push_back(found->path + " holds the data of " + whole.path +
                               ", and is shown as a part of that");
      opened.parts.push_back(std::move(*found));
      opened.sources.erase(found);
    }
  }
  return opened;
}

}  // namespace peelfs::overlay
