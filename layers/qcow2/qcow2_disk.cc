#include "qcow2/qcow2_disk.h"

namespace peelfs::qcow2 {

DiskHeader decode_header(Bytes bytes) {
  const ByteReader reader(bytes, "qcow2 header");
  DiskHeader header;
  header.version = reader.be32(4);
  header.backing_file_offset = reader.be64(8);
  header.backing_file_size = reader.be32(16);
  header.cluster_bits = reader.be32(20);
  header.size = reader.be64(24);
  header.crypt_method = reader.be32(32);
  header.l1_size = reader.be32(36);
  header.l1_table_offset = reader.be64(40);
  header.refcount_table_offset = reader.be64(48);
  header.refcount_table_clusters = reader.be32(56);
  header.nb_snapshots = reader.be32(60);
  header.snapshots_offset = reader.be64(64);
  if (header.version < 3) return header;
  header.incompatible_features = reader.be64(72);
  header.compatible_features = reader.be64(80);
  header.autoclear_features = reader.be64(88);
  header.refcount_order = reader.be32(96);
  header.header_length = reader.be32(100);
  if (header.header_length > 104) header.compression_type = reader.u8(104);
  return header;
}

DiskSnapshot decode_snapshot(Bytes bytes) {
  const ByteReader reader(bytes, "qcow2 snapshot table entry");
  DiskSnapshot snapshot;
  snapshot.l1_table_offset = reader.be64(0);
  snapshot.l1_size = reader.be32(8);
  snapshot.id_size = reader.be16(12);
  snapshot.name_size = reader.be16(14);
  snapshot.date_seconds = reader.be32(16);
  snapshot.date_nanoseconds = reader.be32(20);
  snapshot.vm_state_size = reader.be32(32);
  snapshot.extra_data_size = reader.be32(36);
  return snapshot;
}

}  // namespace peelfs::qcow2
