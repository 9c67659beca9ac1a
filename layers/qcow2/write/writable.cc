#include "qcow2/write/writable.h"

#include <array>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/write/audit.h"
#include "qcow2/write/bitmaps.h"
#include "qcow2/write/writer.h"

namespace peelfs::qcow2 {

namespace {

void check_flags(const DiskHeader& disk) {
  if ((disk.incompatible_features & kIncompatibleDirty) != 0) {
    throw Error(Fault::denied, "the image is marked dirty: its reference counts may be wrong")
        .advice("repair it first: qemu-img check -r all (on a copy, if it is the only one)")
        .with_errno(EROFS);
  }
  if ((disk.incompatible_features & kIncompatibleCorrupt) != 0) {
    throw Error(Fault::denied, "the image is marked corrupt")
        .advice("look at what qemu-img check finds, and repair it first: qemu-img check -r all")
        .with_errno(EROFS);
  }
}

void check_places(const Image& image) {
  const Header& header = image.header;
  const bool counted =
      std::any_of(header.metadata.begin(), header.metadata.end(),
                  [](const MetadataRange& range) { return range.what == "the refcount table"; });
  const std::uint64_t counts_end =
      header.disk.refcount_table_offset +
      (std::uint64_t{header.disk.refcount_table_clusters} << header.cluster_bits());
  if (!counted || counts_end > image.file->size()) {
    throw Error(Fault::damaged, "the refcount table's place is wrong")
        .found("offset " + hex(header.disk.refcount_table_offset))
        .advice("repair it first: qemu-img check -r all");
  }
  if (header.l1().end() > image.file->size()) {
    throw Error(Fault::damaged, "the active L1 table is cut off")
        .found("a file of " + std::to_string(image.file->size()) + " bytes")
        .expected("at least " + std::to_string(header.l1().end()));
  }
}

void check_files(const Image& image) {
  if (!image.data->writable()) {
    const std::string why = image.data->read_only_reason();
    throw Error(Fault::denied,
                why.empty() ? "the external data file was not opened for writing" : why)
        .with_errno(EROFS);
  }
  if (image.troubles.reach(Trouble::degraded)) {
    throw Error(Fault::missing,
                "not all of the image can be read: " + image.troubles.summary()->reason);
  }
}

/// Autoclear features that stay true when peelfs writes.
std::uint64_t kept_features(const Header& header) {
  return header.disk.autoclear_features & (header.has_data_file() ? kAutoclearRawData : 0);
}

/// What has to be done before the first write.
struct Begin {
  bool clears_features = false;
  std::uint64_t features = 0;        ///< those that stay
  std::vector<BitmapBytes> bitmaps;  ///< which a program that does not keep them takes away
  std::vector<Leak> leaks;           ///< which are given back

  /// In an order that leaks clusters at worst when the power goes.
  void run(const BlockDevice& file, Writer& writer) const {
    if (clears_features) {
      std::array<std::byte, 8> field{};
      put_be(field, 0, features);
      write(file, 88, field);
      file.flush();
    }
    if (!bitmaps.empty()) forget_bitmaps(file);
    for (const BitmapBytes& bytes : bitmaps) writer.count_down(bytes.offset, bytes.length);
    for (const Leak& leak : leaks) {
      for (std::uint64_t i = 0; i < leak.excess; ++i) writer.count_down(leak.offset, 1);
    }
  }
};

}  // namespace

void make_writable(Image& image, Leaks handling, const Origin* origin) {
  check_flags(image.header.disk);
  check_places(image);
  check_files(image);
  const DevicePtr growable = image.file->growable();
  // A file may end within its last cluster, which then becomes whole when it is written.
  const std::uint64_t end =
      growable ? round_up(image.file->size(), image.header.cluster_size()) : image.file->size();
  const DevicePtr file = growable ? growable : image.file;
  DevicePtr data = file;
  if (image.header.has_data_file()) {
    const DevicePtr larger = image.data->growable();
    data = larger ? larger : image.data;
  }
  const auto begin = std::make_shared<Begin>();
  {
    std::atomic<std::uint64_t> stored = end;
    Refcounts counts(*file, image.header, stored, growable != nullptr);
    std::vector<Leak> leaks = audit_counts(*file, image.header, end, counts);
    if (handling == Leaks::free) begin->leaks = std::move(leaks);
  }
  begin->features = kept_features(image.header);
  begin->clears_features =
      image.header.disk.version >= 3 && begin->features != image.header.disk.autoclear_features;
  if (begin->clears_features && (image.header.disk.autoclear_features & kAutoclearBitmaps) != 0) {
    begin->bitmaps = bitmap_bytes(*file, image.header, end);
  }
  auto writer = std::make_shared<Writer>(*file, *data, image.header, end, growable != nullptr,
                                         image.caches->tables, image.cache_owner);
  // The writer owns the function that it calls; the image owns the writer and the file.
  writer->at_first_write(
      [begin, file = file.get(), writer = writer.get()] { begin->run(*file, *writer); });
  if (origin != nullptr) claim_for_writing(*origin, writer);
  // The table may move from now on; its clusters are the allocator's business.
  std::erase_if(image.header.metadata,
                [](const MetadataRange& range) { return range.what == "the refcount table"; });
  image.file = file;
  image.data = data;
  image.writer = std::move(writer);
}

}  // namespace peelfs::qcow2
