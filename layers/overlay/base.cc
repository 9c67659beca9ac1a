#include "overlay/base.h"

#include "overlay/disks.h"
#include "peelfs/formats.h"
#include "peelfs/layer.h"

namespace peelfs::overlay {

namespace {

Error unusable(const Source& source, const std::string& why) {
  return Error(Fault::unsupported, "no overlay can cover " + source.path).found(why);
}

Opened open_image(const Source& source, const DevicePtr& file, const ImageFormat& format) {
  const Member member{file, &format.claim, source.stem, source.stem, true, source.references};
  const KeyRing no_keys;
  const Limits limits;
  try {
    OpenInput input{{&member, 1}, no_keys, limits, nullptr, 0};
    input.formats = &standard_formats();
    return format.layer->open(input);
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
  const DevicePtr file = make_storage_device(source.file);
  const auto format = image_format(source);
  if (!format) return {file, "raw", {}};
  if (format->claim.format != "qcow2") {
    throw unusable(source, "format " + format->claim.format)
        .expected("raw or qcow2")
        .advice(
            "make one of it with qemu-img convert, or name it raw:PATH to cover the bytes of "
            "the file as they are");
  }
  Opened opened = open_image(source, file, *format);
  if (opened.devices.empty()) throw unusable(source, "an image without a disk");
  const Inner& disk = opened.devices.front();
  if (disk.trouble && disk.trouble->state != Trouble::note) {
    throw unusable(source, text_of(*disk.trouble))
        .advice("repair the image first, on a copy: qemu-img check");
  }
  if (source.file->writable() && !disk.device->writable()) {
    throw Error(Fault::denied, source.path + " cannot be written: " +
                                   (disk.trouble ? disk.trouble->reason
                                                 : std::string("the image can only be read")))
        .with_errno(EROFS);
  }
  return {disk.device, "qcow2", disk.parts};
}

}  // namespace peelfs::overlay
