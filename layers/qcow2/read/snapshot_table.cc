#include "qcow2/read/snapshot_table.h"

#include <utility>

#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs::qcow2 {

namespace {

/// Reads one entry. @param offset in the table, moved behind it
Snapshot read_entry(const BlockDevice& file, const Header& header, std::uint64_t& offset) {
  const std::uint64_t begin = checked_add(header.disk.snapshots_offset, offset, "snapshot table");
  const Buffer fixed = read_up_to(file, begin, DiskSnapshot::kDiskSizeEnd);
  const DiskSnapshot disk = decode_snapshot(fixed);
  const std::uint64_t id_at = DiskSnapshot::kFixedSize + std::uint64_t{disk.extra_data_size};
  const std::uint64_t end = id_at + disk.id_size + disk.name_size;
  if (offset + end > kMaxSnapshotTable) {
    throw Error(Fault::damaged, "the snapshot table is too large")
        .found("an entry that ends at byte " + count_figure(offset + end, kMaxSnapshotTable) +
               " of it")
        .expected("at most " + std::to_string(kMaxSnapshotTable) + " bytes");
  }
  const std::size_t text_size = std::size_t{disk.id_size} + disk.name_size;
  const Buffer text_bytes =
      read_up_to(file, checked_add(begin, id_at, "snapshot table"), text_size);
  const ByteReader text(text_bytes, "qcow2 snapshot table entry");

  Snapshot snapshot;
  snapshot.id = text.text(0, disk.id_size);
  snapshot.name = text.text(disk.id_size, disk.name_size);
  snapshot.l1 = {disk.l1_table_offset, disk.l1_size};
  snapshot.has_size = id_at >= DiskSnapshot::kDiskSizeEnd;
  snapshot.size =
      snapshot.has_size
          ? ByteReader(fixed, "qcow2 snapshot table entry").be64(DiskSnapshot::kDiskSizeAt)
          : header.size();
  snapshot.date_seconds = disk.date_seconds;
  snapshot.date_nanoseconds = disk.date_nanoseconds;
  snapshot.vm_state_size =
      id_at >= DiskSnapshot::kDiskSizeAt
          ? ByteReader(fixed, "qcow2 snapshot table entry").be64(DiskSnapshot::kVmStateAt)
          : disk.vm_state_size;
  snapshot.entry_at = offset;
  snapshot.entry_length = round_up(end, 8);
  offset += snapshot.entry_length;
  return snapshot;
}

std::optional<Error> check_table(const BlockDevice& file, const Header& header) {
  const DiskHeader& disk = header.disk;
  if (disk.nb_snapshots > kMaxSnapshots) {
    return Error(Fault::damaged, "too many snapshots")
        .found(count_figure(disk.nb_snapshots, kMaxSnapshots))
        .expected("at most " + std::to_string(kMaxSnapshots));
  }
  if (disk.snapshots_offset % header.cluster_size() != 0 ||
      disk.snapshots_offset < header.cluster_size() || disk.snapshots_offset >= file.size()) {
    return Error(Fault::damaged, "the snapshot table's place is wrong")
        .found("offset " + hex_figure(disk.snapshots_offset))
        .expected("a multiple of the cluster size " + std::to_string(header.cluster_size()) +
                  ", behind the header, in a file of " + std::to_string(file.size()) + " bytes");
  }
  return std::nullopt;
}

}  // namespace

SnapshotTable read_snapshots(const BlockDevice& file, const Header& header) {
  SnapshotTable table;
  if (header.disk.nb_snapshots == 0) return table;
  table.damage = check_table(file, header);
  if (table.damage) return table;
  std::uint64_t offset = 0;
  try {
    for (std::uint32_t i = 0; i < header.disk.nb_snapshots; ++i) {
      table.snapshots.push_back(read_entry(file, header, offset));
      table.bytes = offset;
    }
  } catch (const Error& error) {
    table.damage = error;
    table.damage->add_context("snapshot " + std::to_string(table.snapshots.size() + 1) + " of " +
                              std::to_string(header.disk.nb_snapshots));
  }
  return table;
}

}  // namespace peelfs::qcow2
