#include "qcow2/read/cluster_defect.h"

#include <utility>

namespace peelfs::qcow2 {

namespace {

/// What the entry itself is called, what is wrong, and what was found and expected.
struct Words {
  bool l1 = false;
  std::string what, found, expected;
};

Words l1_words(Defect defect, const DefectPlace& place, const Header& header) {
  const std::string cluster_size = std::to_string(header.cluster_size());
  const std::uint64_t table = place.l1_entry.l2_offset();
  const std::string found = "an L2 table at " + hex(table);
  switch (defect) {
    case Defect::l1_too_short:
      return {true, "does not exist", std::to_string(place.l1.entries) + " entries",
              "as many as the disk's size needs"};
    case Defect::l1_truncated:
      return {true, "lies beyond the end of the file",
              "a file of " + std::to_string(place.file_size) + " bytes",
              "a table that ends at " + hex(place.l1.end())};
    case Defect::l1_reserved:
      return {true, "has reserved bits set", hex(place.l1_entry.raw), "only bits 9 to 55 and 63"};
    case Defect::l2_unaligned:
      return {true, "is not aligned", found, "a multiple of the cluster size " + cluster_size};
    case Defect::l2_outside:
      return {true, "leads out of the file", found,
              "a place before the file's end at " + hex(place.file_size)};
    case Defect::l2_on_metadata:
      return {true, "leads into other metadata", found,
              "not " + place.metadata(table, table + header.cluster_size())};
    default:
      return {true, "leads to a table that the end of the file cuts off", found,
              cluster_size + " bytes before " + hex(place.file_size)};
  }
}

Words l2_words(Defect defect, const DefectPlace& place, const Header& header) {
  const std::string bitmap = "subcluster bitmap " + hex(place.bitmap);
  const std::uint64_t host = place.entry.host_offset();
  const CompressedDescriptor packed = decode_compressed(place.entry.raw, header.cluster_bits());
  switch (defect) {
    case Defect::l2_reserved:
      return {false, "has reserved bits set", hex(place.entry.raw), "them to be zero"};
    case Defect::zero_in_version_2:
      return {false, "is a zero cluster", "version 2", "version 3, which has zero clusters"};
    case Defect::unaligned:
      return {false, "is not aligned", "a cluster at " + hex(host),
              "a multiple of the cluster size " + std::to_string(header.cluster_size())};
    case Defect::copied_without_offset:
      return {false, "is marked as in use but has no place", "offset 0",
              "an offset, or the mark (bit 63) clear"};
    case Defect::data_file_mismatch:
      return {false, "is elsewhere than in the guest", "host offset " + hex(host),
              "the guest's own offset, as always in an external data file"};
    case Defect::outside:
      return {false, "leads out of the file", "a cluster at " + hex(host),
              "a place before the data's end at " + hex(place.data_size)};
    case Defect::on_metadata:
      return {false, "leads into metadata",
              place.entry.compressed()
                  ? place.metadata(packed.host_offset, packed.host_offset + packed.length)
                  : place.metadata(host, host + header.cluster_size()),
              "a cluster of its own"};
    case Defect::compressed_in_data_file:
      return {false, "is a compressed cluster", "an image with an external data file",
              "standard clusters only"};
    case Defect::compressed_reserved:
      return {false, "has reserved bits set",
              "a compressed cluster with bitmap " + hex(place.bitmap),
              "offset bits beyond 55 and the subcluster bitmap to be zero"};
    case Defect::compressed_outside:
      return {false, "leads out of the file", "compressed data at " + hex(packed.host_offset),
              "a place before the file's end at " + hex(place.file_size)};
    case Defect::subcluster_conflict:
      return {false, "contradicts itself", bitmap, "no subcluster that is both allocated and zero"};
    case Defect::subcluster_without_cluster:
      return {false, "has subclusters but no place", bitmap,
              "no allocated subclusters where the offset is 0"};
    default:
      return l1_words(defect, place, header);
  }
}

}  // namespace

Error defect_error(Defect defect, const DefectPlace& place, const Header& header) {
  Words words = l2_words(defect, place, header);
  const std::string entry =
      words.l1 ? "L1 entry " + std::to_string(place.offset >> header.l2_reach_bits())
               : "L2 entry " + hex(place.entry.raw);
  return Error(Fault::damaged, entry + " " + words.what + " for guest offset " + hex(place.offset))
      .found(std::move(words.found))
      .expected(std::move(words.expected))
      .advice("qemu-img check tells how much of the image is affected");
}

}  // namespace peelfs::qcow2
