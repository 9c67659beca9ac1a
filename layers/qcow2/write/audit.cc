#include "qcow2/write/audit.h"

#include <limits>
#include <optional>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/read/snapshot_table.h"
#include "qcow2/write/bitmaps.h"
#include "qcow2/write/references.h"

namespace peelfs::qcow2 {

namespace {

/// 256 MiB of counters: 8 TiB of clusters of 64 KiB.
constexpr std::uint64_t kMostClusters = 1ULL << 27U;
/// Entries of L2 tables in all: a second or so a snapshot of a large disk. It bounds what a hostile
/// image can make us do.
constexpr std::uint64_t kMostEntries = 1ULL << 30U;
constexpr std::size_t kMostLeaks = 1U << 20U;

class Audit {
 public:
  Audit(const Header& header, std::uint64_t end)
      : bits_(header.cluster_bits()),
        // Compressed data may reach into the clusters behind the end: those must count, too.
        found_(div_round_up(end, header.cluster_size()) + 3) {}

  void add(std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return;
    for (std::uint64_t cluster = offset >> bits_; cluster <= (offset + length - 1) >> bits_;
         ++cluster) {
      if (cluster >= found_.size()) break;
      auto& count = found_[cluster];
      if (count != std::numeric_limits<std::uint16_t>::max()) ++count;
    }
  }
  /// Adds metadata that must have exactly one reference.
  void add_own(std::uint64_t offset, std::uint64_t length) {
    add(offset, length);
    if (length != 0) own_.emplace_back(offset, length);
  }
  /// @return the first cluster of metadata that something else refers to, too
  std::optional<std::uint64_t> shared() const {
    for (const auto& [offset, length] : own_) {
      for (std::uint64_t cluster = offset >> bits_; cluster <= (offset + length - 1) >> bits_;
           ++cluster) {
        if (cluster < found_.size() && found_[cluster] != 1) return cluster << bits_;
      }
    }
    return std::nullopt;
  }
  std::uint64_t clusters() const noexcept { return found_.size(); }
  std::uint64_t found(std::uint64_t cluster) const noexcept { return found_[cluster]; }

 private:
  const std::uint32_t bits_;
  std::vector<std::uint16_t> found_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> own_;
};

Error untrue(const std::string& what, std::uint64_t offset) {
  return Error(Fault::damaged, what + " (cluster at offset " + hex(offset) + ")")
      .advice(
          "nothing is written to this image: qemu-img check shows all of it, and repairs it with "
          "-r all (on a copy, if it is the only one)")
      .with_errno(EROFS);
}

void add_metadata(const BlockDevice& file, const Header& header, Audit& audit) {
  audit.add_own(0, header.cluster_size());
  const std::uint64_t table_bytes = std::uint64_t{header.disk.refcount_table_clusters}
                                    << header.cluster_bits();
  audit.add_own(header.disk.refcount_table_offset, table_bytes);
  const Buffer table = read_bytes(file, header.disk.refcount_table_offset, table_bytes);
  const ByteReader reader(table, "refcount table");
  for (std::size_t at = 0; at < table.size(); at += 8) {
    if (const std::uint64_t block = reader.be64(at); block != 0) {
      audit.add_own(block, header.cluster_size());
    }
  }
  if (header.crypt) audit.add_own(header.crypt->offset, header.crypt->length);
}

}  // namespace

std::vector<Leak> audit_counts(const BlockDevice& file, const Header& header, std::uint64_t end,
                               Refcounts& counts) {
  if (end >> header.cluster_bits() > kMostClusters) {
    throw Error(Fault::unsupported, "the image has too many clusters to check before writing")
        .found(std::to_string(end >> header.cluster_bits()))
        .expected("at most " + std::to_string(kMostClusters))
        .advice("larger clusters make fewer: qemu-img convert -O qcow2 -o cluster_size=...")
        .with_errno(EROFS);
  }
  Audit audit(header, end);
  add_metadata(file, header, audit);
  std::uint64_t entries = 0;
  const std::uint64_t table_entries = header.cluster_size() >> header.l2_entry_bits();
  const auto add_table = [&](const TableLocation& l1) {
    audit.add_own(l1.offset, std::uint64_t{l1.entries} * 8);
    for_each_reference(file, header, l1, end, [&](const Reference& reference) {
      if (reference.kind == Reference::Kind::l2_table) entries += table_entries;
      if (entries > kMostEntries) {
        throw Error(Fault::unsupported, "the image has too many entries to check before writing")
            .found("more than " + std::to_string(kMostEntries) + ", with those of its snapshots")
            .advice("qemu-img convert makes an image without snapshots")
            .with_errno(EROFS);
      }
      audit.add(reference.offset, reference.length);
    });
  };
  add_table(header.l1());
  SnapshotTable snapshots = read_snapshots(file, header);
  if (snapshots.damage) throw Error(*std::move(snapshots.damage));
  audit.add_own(header.disk.snapshots_offset, snapshots.bytes);
  for (const Snapshot& snapshot : snapshots.snapshots) {
    if (auto problem = check_l1(header, snapshot.l1, end, "snapshot")) {
      throw Error(*std::move(problem));
    }
    add_table(snapshot.l1);
  }
  if (header.disk.version >= 3 && (header.disk.autoclear_features & kAutoclearBitmaps) != 0) {
    for (const BitmapBytes& bytes : bitmap_bytes(file, header, end)) {
      audit.add_own(bytes.offset, bytes.length);
    }
  }
  std::vector<Leak> leaks;
  for (std::uint64_t cluster = 0; cluster < audit.clusters(); ++cluster) {
    const std::uint64_t count = counts.get(cluster);
    const std::uint64_t offset = cluster << header.cluster_bits();
    if (count < audit.found(cluster)) {
      throw untrue("the image's reference counts are wrong", offset)
          .found("count " + std::to_string(count))
          .expected(std::to_string(audit.found(cluster)) + " references");
    }
    if (count > audit.found(cluster) && leaks.size() < kMostLeaks) {
      leaks.push_back({offset, count - audit.found(cluster)});
    }
  }
  if (const auto shared = audit.shared()) {
    throw untrue("something else refers to a table of the image", *shared);
  }
  for_each_reference(file, header, header.l1(), end, [&](const Reference& reference) {
    if (!reference.copied || reference.kind == Reference::Kind::compressed) return;
    if (audit.found(reference.offset >> header.cluster_bits()) == 1) return;
    throw untrue("an entry calls a cluster its own that others refer to", reference.offset)
        .found("the entry at " + hex(reference.entry_at));
  });
  return leaks;
}

}  // namespace peelfs::qcow2
