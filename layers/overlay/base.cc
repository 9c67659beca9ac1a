#include "overlay/base.h"

#include <optional>

#include "peelfs/layer.h"

namespace peelfs::overlay {

namespace {

struct Format {
  const Layer* layer = nullptr;
  Claim claim;
};

/// As the scanner decides it: the first image format that claims the first bytes.
std::optional<Format> image_format(const Source& source, const BlockDevice& file) {
  if (source.raw) return std::nullopt;
  const Identity nothing;
  for (const Layer& layer : layer_table()) {
    if (!layer.image_format) continue;
    if (auto claim = layer.probe({file, nothing})) return Format{&layer, *std::move(claim)};
  }
  return std::nullopt;
}

Error unusable(const Source& source, const std::string& why) {
  return Error(Fault::unsupported, "no overlay can cover " + source.path).found(why);
}

Opened open_image(const Source& source, const DevicePtr& file, const Format& format) {
  const Member member{file, &format.claim, source.stem, source.stem, true, source.references};
  const KeyRing no_keys;
  const Limits limits;
  try {
    return format.layer->open({{&member, 1}, no_keys, limits, nullptr, 0});
  } catch (const Error& error) {
    if (error.fault() != Fault::locked) throw;
    throw unusable(source, "it is encrypted, or its backing file is")
        .expected("a plain image: what was decrypted must not lie unencrypted in the overlay")
        .advice(
            "make the overlay yourself, encrypted: qemu-img create -f qcow2 -o encrypt.format="
            "luks,... -b IMAGE; or write in place with -o rw");
  }
}

}  // namespace

Base open_base(const Source& source) {
  const DevicePtr file = make_file_device(source.file);
  const auto format = image_format(source, *file);
  if (!format) return {file, "raw"};
  if (format->claim.format != "qcow2") {
    throw unusable(source, "format " + format->claim.format).expected("raw or qcow2");
  }
  Opened opened = open_image(source, file, *format);
  if (opened.devices.empty()) throw unusable(source, "an image without a disk");
  const Inner& disk = opened.devices.front();
  if (disk.trouble && disk.trouble->state != "note") {
    throw unusable(source, disk.trouble->state + ": " + disk.trouble->reason)
        .advice("repair the image first, on a copy: qemu-img check");
  }
  if (source.file->writable() && !disk.device->writable()) {
    throw Error(Fault::denied, source.path + " cannot be written")
        .found(disk.trouble ? disk.trouble->reason : "an image that can only be read")
        .with_errno(EROFS);
  }
  return {disk.device, "qcow2"};
}

}  // namespace peelfs::overlay
