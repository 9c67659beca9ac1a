#include "qcow2/overlay.h"

#include "peelfs/error.h"
#include "qcow2/read/disk.h"
#include "qcow2/write/writable.h"

namespace peelfs::qcow2 {

DevicePtr open_overlay(DevicePtr file, DevicePtr backing, const std::string& name) {
  auto image = std::make_shared<Image>();
  image->name = name;
  image->file = std::move(file);
  image->header = read_header(*image->file);
  if (image->header.has_data_file() || image->header.disk.crypt_method != kCryptNone) {
    throw Error(Fault::unsupported, name + " is no overlay that peelfs has made")
        .found(image->header.has_data_file() ? "an external data file" : "encryption")
        .expected("a plain qcow2 image");
  }
  image->backing = std::move(backing);
  image->caches = &process_caches();
  image->cache_owner = BlockCache::new_owner();
  image->data = image->file;
  if (image->file->writable()) {
    try {
      make_writable(*image, Leaks::free, nullptr);
    } catch (Error& error) {
      error.add_context(name);
      throw;
    }
  }
  return make_active_disk(std::move(image), "overlay " + name);
}

OverlayRun overlay_status(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length) {
  const auto* const overlay = dynamic_cast<const Disk*>(&disk);
  if (overlay == nullptr) {
    throw Error(Fault::usage, disk.describe() + " is no overlay's disk")
        .advice("this is a mistake in peelfs; please report it");
  }
  const GuestRun run = overlay->own_run(offset, length);
  switch (run.kind) {
    case ClusterKind::unallocated:
      return {OverlayStatus::unchanged, run.length};
    case ClusterKind::zero:
      return {OverlayStatus::zero, run.length};
    case ClusterKind::standard:
    case ClusterKind::compressed:
      break;
  }
  return {OverlayStatus::data, run.length};
}

}  // namespace peelfs::qcow2
