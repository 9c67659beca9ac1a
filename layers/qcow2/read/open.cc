#include "qcow2/read/open.h"

#include <algorithm>
#include <array>
#include <utility>

#include "peelfs/cancel.h"
#include "peelfs/devices.h"
#include "peelfs/host_file.h"
#include "peelfs/io.h"
#include "peelfs/parent.h"
#include "qcow2/write/uses.h"
#include "qcow2/write/writable.h"

namespace peelfs::qcow2 {

namespace {

/// The size of a file that is not there: larger than any offset that tables can hold.
constexpr std::uint64_t kUnknownSize = 1ULL << 62U;

/// The images of a backing chain that were met so far.
struct Chain {
  std::string first;  ///< the name of the image that the others are backing files of
  std::vector<Origin> origins;
};

std::shared_ptr<Image> open_link(const Candidate& candidate, const Surroundings& surroundings,
                                 Chain& chain);

/// @param references null: the image may name nothing
const References& allowed(const std::shared_ptr<const References>& references) {
  if (!references) {
    throw Error(Fault::denied, "an image that lies inside of another disk may not name host files")
        .advice("copy the image out of the disk, beside its files, to see all of it");
  }
  return *references;
}

/// A file that the image names and that its bytes come from.
Part part_of(std::string role, const References::Found& found) {
  return {std::move(role), found.name, found.device->size(), origin_of(*found.device), found.file};
}

/// @return the format of a backing file; "raw" where nothing is known of it
std::string format_of(const Image& image, const BlockDevice& file, const OpenInput& input) {
  const std::string& stored = image.header.backing_format;
  // "file" and "host_device" are what old qemu stored for raw.
  if (stored == "file" || stored == "host_device") return "raw";
  if (!stored.empty()) return stored;
  if (input.formats == nullptr) {
    throw Error(Fault::unsupported, "the image does not say which format its backing file has")
        .found("no table of formats to tell it by")
        .expected("one: to take the file as raw would show wrong bytes if it is not");
  }
  const std::string_view found = input.formats->format_at_start(file);
  return found.empty() ? "raw" : std::string(found);
}

/// A backing file in qcow2, as the next link of the chain.
DevicePtr open_backing_link(Image& image, References::Found found, const Surroundings& surroundings,
                            Chain& chain, Troubles& troubles) {
  std::string file_name = found.name.substr(found.name.rfind('/') + 1);
  const std::string stem = file_name.substr(0, file_name.rfind('.'));
  const std::string description = "backing file " + printable(found.name);
  const std::shared_ptr<Image> backing = open_link({std::move(found.device),
                                                    std::move(found.references),
                                                    found.name,
                                                    {std::move(file_name), stem}},
                                                   surroundings, chain);
  troubles.add(backing->troubles);
  image.parts.insert(image.parts.end(), backing->parts.begin(), backing->parts.end());
  const std::uint64_t size = backing->header.size();
  const TableLocation l1 = backing->header.l1();
  return make_disk(backing, size, l1, false, description);
}

/// @return the backing file as a disk
DevicePtr open_backing(Image& image, const Candidate& candidate, const Surroundings& surroundings,
                       Chain& chain) {
  References::Found found =
      allowed(candidate.references).open(referenced_path(image.header.backing_file));
  // Until it is open it is named only: an image that cannot use a file does not consume it.
  const std::size_t own = image.parts.size();
  Part part = part_of("backing-file", found);
  const Origin origin = std::exchange(part.origin, Origin{});
  image.parts.push_back(std::move(part));
  const std::string format = format_of(image, *found.device, surroundings.input);
  if (format == "raw") {
    image.relies_on = found.device->rely_on(chain.first);
    image.parts[own].origin = origin;
    return found.device;
  }
  const std::string prefix = "backing file " + printable(found.name) + ": ";
  Troubles troubles;
  DevicePtr disk;
  if (format == "qcow2") {
    disk = open_backing_link(image, std::move(found), surroundings, chain, troubles);
  } else {
    Parent parent = open_parent(found, format, surroundings.input, chain.origins);
    image.relies_on = found.device->rely_on(chain.first);
    troubles = std::move(parent.troubles);
    image.parts.insert(image.parts.end(), parent.parts.begin(), parent.parts.end());
    disk = std::move(parent.disk);
  }
  image.troubles.add(troubles, prefix);
  image.parts[own].origin = origin;
  return disk;
}

/// A device in the place of a file that cannot be had, and the reason among the image's.
/// @param what "backing file 'base.qcow2'"
DevicePtr stand_in(Image& image, const std::string& what, const Error& error) {
  // A read throws the same text as the listing shows, so that the two are known to be one trouble.
  const std::string why = what + " cannot be used: " + error.what();
  image.troubles.add(error.fault() == Fault::denied ? Trouble::denied : Trouble::degraded, why);
  return make_unreadable(kUnknownSize, Error(error.fault(), why).with_errno(EIO), "");
}

void open_data_file(Image& image, const Candidate& candidate) {
  const std::string what = "data file '" + printable(image.header.data_file) + "'";
  try {
    if (image.header.data_file.empty()) {
      throw Error(Fault::missing, "the image needs an external data file but names none")
          .expected("header extension " + hex(kExtensionDataFile));
    }
    const References& references = allowed(candidate.references);
    const std::string path = referenced_path(image.header.data_file);
    References::Found found = references.open_part(path, candidate.file->writable());
    image.parts.push_back(part_of("data-file", found));
    image.data = std::move(found.device);
  } catch (const Error& error) {
    image.data = stand_in(image, what, error);
  }
}

std::shared_ptr<Image> open_link(const Candidate& candidate, const Surroundings& surroundings,
                                 Chain& chain) {
  check_cancel(surroundings.input.cancel);
  auto image = std::make_shared<Image>();
  image->name = candidate.name;
  image->file = candidate.file;
  image->header = read_header(*image->file);
  const Origin origin = origin_of(*image->file);
  check_parent(chain.origins, origin, candidate.name);
  // All images but the first are backing files. The opener of the chain keeps all of them alive.
  if (!chain.origins.empty()) image->relied_on = rely_on(origin, chain.first);
  chain.origins.push_back(origin);
  for (const std::string& note : image->header.notes) image->troubles.note(note);
  image->caches = &surroundings.caches;
  image->cache_owner = BlockCache::new_owner();
  image->data = image->file;
  if (image->header.has_data_file()) open_data_file(*image, candidate);
  if (image->header.disk.crypt_method != kCryptNone) {
    unlock(*image, candidate.key_names, surroundings);
  }
  if (image->header.backing_file.empty()) return image;
  const std::string what = "backing file '" + printable(image->header.backing_file) + "'";
  try {
    image->backing = open_backing(*image, candidate, surroundings, chain);
  } catch (Error& error) {
    // A key may still come: the whole chain is opened again then. One that was cancelled says
    // nothing of the backing file.
    if (error.fault() == Fault::locked || error.error_number() == ECANCELED) {
      error.add_context(what);
      throw;
    }
    image->backing = stand_in(*image, what, error);
  }
  return image;
}

}  // namespace

std::string referenced_path(const std::string& name) {
  // As qemu has it: a colon before the first slash makes the front a protocol.
  const std::size_t end = name.find_first_of(":/");
  if (end == std::string::npos || name[end] != ':') return name;
  const std::string protocol = name.substr(0, end);
  if (protocol == "file" && end + 1 < name.size()) return name.substr(end + 1);
  throw Error(Fault::unsupported, "'" + name + "' is not the name of a file")
      .found("protocol '" + protocol + "'")
      .expected("a path")
      .advice("qemu-img rebase -u -b PATH names the file directly");
}

std::shared_ptr<const Image> open_image(const Candidate& candidate,
                                        const Surroundings& surroundings) {
  const std::span<const Origin> children = surroundings.input.children;
  Chain chain{candidate.name, {children.begin(), children.end()}};
  const std::shared_ptr<Image> image = open_link(candidate, surroundings, chain);
  if (!image->file->writable() || !children.empty()) return image;
  try {
    make_writable(*image, Leaks::keep, &chain.origins.front());
  } catch (const Error& error) {
    image->read_only_reason = error.what();
    image->troubles.note("it can only be read: " + image->read_only_reason);
  }
  return image;
}

}  // namespace peelfs::qcow2
