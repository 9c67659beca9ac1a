#include "qcow2/write/references.h"

#include <vector>

#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::qcow2 {

namespace {

void check(const Reference& reference, const Header& header, std::uint64_t end) {
  const bool aligned = reference.kind == Reference::Kind::compressed ||
                       reference.offset % header.cluster_size() == 0;
  if (aligned && reference.offset < end) return;
  throw Error(Fault::damaged, "an entry of the qcow2 tables points to an impossible place")
      .found("offset " + hex(reference.offset) + ", in the entry at " + hex(reference.entry_at))
      .expected("a cluster within the file's " + std::to_string(end) + " bytes")
      .advice("'qemu-img check' shows more");
}

void for_each_entry(Bytes table, std::uint64_t table_at, const Header& header, std::uint64_t end,
                    const std::function<void(const Reference&)>& each) {
  const ByteReader reader(table, "L2 table");
  const std::size_t step = std::size_t{1} << header.l2_entry_bits();
  for (std::size_t at = 0; at < table.size(); at += step) {
    const L2Entry entry{reader.be64(at)};
    if (entry.raw == 0) continue;
    Reference reference;
    reference.entry_at = table_at + at;
    reference.copied = entry.copied();
    if (entry.compressed()) {
      const CompressedDescriptor descriptor = decode_compressed(entry.raw, header.cluster_bits());
      reference.kind = Reference::Kind::compressed;
      reference.offset = descriptor.host_offset;
      reference.length = descriptor.length;
    } else {
      if (entry.host_offset() == 0 || header.has_data_file()) continue;
      reference.offset = entry.host_offset();
      reference.length = header.cluster_size();
    }
    check(reference, header, end);
    each(reference);
  }
}

}  // namespace

void for_each_reference(const BlockDevice& file, const Header& header, const TableLocation& l1,
                        std::uint64_t end, const std::function<void(const Reference&)>& each) {
  const Buffer table = read_bytes(file, l1.offset, std::size_t{l1.entries} * 8);
  const ByteReader reader(table, "L1 table");
  std::vector<bool> seen(div_round_up(end, header.cluster_size()));
  for (std::size_t at = 0; at < table.size(); at += 8) {
    const L1Entry entry{reader.be64(at)};
    if (entry.l2_offset() == 0) continue;
    const Reference reference{Reference::Kind::l2_table, entry.l2_offset(), header.cluster_size(),
                              (entry.raw & L2Entry::kCopiedBit) != 0, l1.offset + at};
    check(reference, header, end);
    if (auto before = seen.at(entry.l2_offset() >> header.cluster_bits()); before) {
      throw Error(Fault::damaged, "two entries of an L1 table name one L2 table")
          .found("offset " + hex(entry.l2_offset()));
    } else {
      before = true;
    }
    each(reference);
    const Buffer l2 = read_up_to(file, entry.l2_offset(), header.cluster_size());
    for_each_entry(l2, entry.l2_offset(), header, end, each);
  }
}

}  // namespace peelfs::qcow2
