#include "overlay/disks.h"

#include <algorithm>
#include <vector>

#include "engine/side_by_side.h"
#include "host/below.h"
#include "host/open_files.h"
#include "identify/identify.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "scan/directed.h"
#include "scan/head_cache.h"

namespace peelfs::overlay {

namespace {

std::optional<ImageFormat> first_claim(const BlockDevice& file, const Identity& identity) {
  for (const Layer& layer : standard_formats().rows()) {
    if (!layer.traits.image || layer.probe == nullptr) continue;
    if (auto claim = layer.probe({file, identity})) return ImageFormat{&layer, *std::move(claim)};
  }
  return std::nullopt;
}

/// The image format of a source that is not given as raw. @param identity what libblkid says
/// @throws Error when it is not in the format that the person says
std::optional<ImageFormat> format_of(const Source& source, const BlockDevice& file,
                                     const Identity& identity) {
  if (source.as == nullptr) return first_claim(file, identity);
  return ImageFormat{source.as, probe_as(*source.as, {file, identity}, standard_formats(),
                                         source.as->kinds.front(), source.path)};
}

/// The files that hold bytes of the source's image, if a person named them. Failures are dropped
/// here: opening the image reports them.
std::vector<FileId> named_parts(const Source& source) {
  std::vector<FileId> parts;
  if (source.raw) return parts;
  try {
    const HeadCache file(make_storage_device(source.file));
    // Formats with parts are known without libblkid, and it reads much.
    const auto format = format_of(source, file, Identity());
    if (!format || format->layer->parts == nullptr) return parts;
    for (const std::string& name : format->layer->parts(file)) {
      if (const auto id = source.references->named_part(name)) parts.push_back(*id);
    }
  } catch (const Error&) {
  }
  return parts;
}

/// The other files that a source's bytes come from, at any depth, read without locks. Failures are
/// dropped here: opening the image reports them.
std::vector<Part> parts_of(const Source& source) {
  std::vector<Part> parts;
  try {
    const auto format = image_format(source);
    if (!format) return parts;
    const Member member{make_storage_device(open_again(*source.file)),
                        &format->claim,
                        source.stem,
                        source.stem,
                        true,
                        references_for_reading(source)};
    const KeyRing no_keys;
    const Limits limits;
    OpenInput input{{&member, 1}, no_keys, limits, nullptr, 0};
    input.formats = &standard_formats();
    for (Inner& disk : format->layer->open(input).devices) {
      for (Part& part : disk.parts) parts.push_back(std::move(part));
    }
  } catch (const Error&) {
  }
  return parts;
}

/// A source with its places and parts, which may share bytes with another source.
struct Extended {
  const Source* source = nullptr;
  std::vector<Place> places;
  std::vector<FileId> own_parts;  ///< what is written with it
  std::vector<Part> parts;
};

/// The name of the other source's file that a part of an image is: "/base.raw", "the data of
/// /i.qcow2"; empty: the part is none of its files.
std::string place_in(const Part& part, const Extended& other) {
  if (overlap(places_of(*part.file), other.places)) return printable(other.source->path);
  const auto own = std::find(other.own_parts.begin(), other.own_parts.end(), part.file->id());
  return own == other.own_parts.end() ? "" : "the data of " + printable(other.source->path);
}

void refuse_part(const Extended& whole, const Extended& other, const std::string& advice) {
  // Sources that were only found in a directory are not refused: the image meets the lock, and is
  // shown as unreadable.
  const bool both_open = whole.source->file->writable() && other.source->file->writable();
  if (both_open && (whole.source->from_directory || other.source->from_directory)) return;
  for (const Part& part : whole.parts) {
    const std::string what = part.file == nullptr ? "" : place_in(part, other);
    if (what.empty()) continue;
    throw Error(Fault::usage, whole.source->path + " and " + other.source->path +
                                  " cannot be written in one run: they have bytes in common")
        .found(what + " is the " + part.role + " of " + printable(whole.source->path))
        .advice(advice);
  }
}

}  // namespace

void refuse_common_bytes(const std::vector<Source>& sources, const std::string& advice) {
  if (sources.size() < 2) return;
  std::vector<Extended> all;
  all.reserve(sources.size());
  for (const Source& source : sources) {
    all.push_back({&source, places_of(*source.file), named_parts(source), parts_of(source)});
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (overlap(all[i].places, all[j].places)) {
        throw Error(Fault::usage, all[i].source->path + " shows bytes of " + all[j].source->path)
            .advice("name one of them: what is to be written is opened once");
      }
      refuse_part(all[i], all[j], advice);
      refuse_part(all[j], all[i], advice);
    }
  }
}

std::optional<ImageFormat> image_format(const Source& source) {
  if (source.raw) return std::nullopt;
  const HeadCache file(make_storage_device(source.file));
  return format_of(source, file, identify(file));
}

OpenedSources open_disks(std::span<const SourceSpec> specs,
                         std::span<const std::string> allow_references) {
  OpenedSources opened = open_sources(specs, allow_references, standard_formats());
  const std::vector<Source> all = opened.sources;
  std::vector<std::vector<FileId>> parts(all.size());
  if (all.size() > 1) {  // a part is another source
    side_by_side(all.size(), kMostWorkers, [&](std::size_t i) { parts[i] = named_parts(all[i]); });
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Source& whole = all[i];
    for (const FileId& part : parts[i]) {
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
  if (std::any_of(specs.begin(), specs.end(), [](const SourceSpec& one) { return one.writable; })) {
    refuse_common_bytes(opened.sources, "name only the one that is to be written");
  }
  return opened;
}

}  // namespace peelfs::overlay
