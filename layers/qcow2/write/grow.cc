// Order on the disk, each step durable before the next:
//
//   1. bitmaps, which have the old size, are given up
//   2. the counts of the clusters for a longer L1 table, then that table, a copy with empty entries
//   3. size, length and place of the L1 table: 24 bytes of the header, which a disk writes at once
//   4. the counts of the old table's clusters and of the bitmaps
//
// Counts are too high at worst, and the size is never larger than the table that goes with it.
#include "qcow2/grow.h"

#include <array>
#include <atomic>
#include <limits>

#include "peelfs/io.h"
#include "qcow2/header.h"
#include "qcow2/qcow2_disk.h"
#include "qcow2/read/snapshot_table.h"
#include "qcow2/write/audit.h"
#include "qcow2/write/bitmaps.h"
#include "qcow2/write/refcounts.h"

namespace peelfs::qcow2 {

namespace {

Error cannot(const std::string& found) {
  return Error(Fault::unsupported, "the image cannot be made larger")
      .found(found)
      .with_errno(EOPNOTSUPP);
}

std::optional<Error> check_snapshots(const BlockDevice& file, const Header& header) {
  if (header.disk.nb_snapshots == 0) return std::nullopt;
  if (header.disk.version < 3) {
    return cannot("version 2 of the format, with internal snapshots")
        .advice("a newer version can: qemu-img amend -o compat=1.1 IMAGE");
  }
  const SnapshotTable table = read_snapshots(file, header);
  if (table.damage) return table.damage;
  for (const Snapshot& snapshot : table.snapshots) {
    if (snapshot.has_size) continue;
    return cannot("snapshot '" + printable(snapshot.name) +
                  "', which has the image's size and none of its own")
        .advice("remove that snapshot: qemu-img snapshot -d NAME IMAGE");
  }
  return std::nullopt;
}

class Growing {
 public:
  explicit Growing(const DevicePtr& file)
      : file_(file->growable() ? file->growable() : file),
        header_(read_header(*file)),
        end_(file->growable() ? round_up(file->size(), header_.cluster_size()) : file->size()),
        counts_(*file_, header_, end_, file->growable() != nullptr) {
    audit_counts(*file_, header_, end_, counts_);
  }

  void run(std::uint64_t size) {
    const std::vector<BitmapBytes> bitmaps = clear_features();
    TableLocation l1 = header_.l1();
    if (l1_entries_needed(header_, size) > l1.entries) l1 = copy_table(size);
    publish(size, l1);
    if (l1.offset != header_.l1().offset) free(header_.l1().offset, header_.l1().entries * 8ULL);
    for (const BitmapBytes& bytes : bitmaps) free(bytes.offset, bytes.length);
    save_counts();
  }

 private:
  void free(std::uint64_t offset, std::uint64_t bytes) {
    if (bytes != 0) counts_.decrement_range(offset, bytes);
  }

  void save_counts() {
    const Refcounts::Unwritten counts = counts_.unwritten();
    write_counts(*file_, counts);
    file_->flush();
    counts_.written(counts);
  }

  /// Clears the feature bits that peelfs does not keep true, as every program that writes must do.
  std::vector<BitmapBytes> clear_features() {
    const std::uint64_t features = header_.disk.autoclear_features;
    if (header_.disk.version < 3 || features == 0) return {};
    std::vector<BitmapBytes> bitmaps;
    if ((features & kAutoclearBitmaps) != 0) bitmaps = bitmap_bytes(*file_, header_, end_);
    const std::array<std::byte, 8> none{};
    write(*file_, 88, none);
    file_->flush();
    if (!bitmaps.empty()) forget_bitmaps(*file_);
    return bitmaps;
  }

  TableLocation copy_table(std::uint64_t size) {
    const TableLocation from = header_.l1();
    TableLocation to;
    to.entries = static_cast<std::uint32_t>(l1_entries_needed(header_, size));
    const std::uint64_t bytes = round_up(to.entries * 8ULL, header_.cluster_size());
    to.offset = counts_.allocate_together(bytes >> header_.cluster_bits());
    save_counts();
    Buffer table = read_bytes(*file_, from.offset, from.entries * 8ULL);
    table.resize(bytes);
    write(*file_, to.offset, table);
    file_->flush();
    return to;
  }

  void publish(std::uint64_t size, const TableLocation& l1) {
    std::array<std::byte, 24> fields{};
    put_be(fields, 0, size);
    put_be(fields, 8, header_.disk.crypt_method);
    put_be(fields, 12, l1.entries);
    put_be(fields, 16, l1.offset);
    write(*file_, 24, fields);
    file_->flush();
  }

  const DevicePtr file_;
  const Header header_;
  std::atomic<std::uint64_t> end_;
  Refcounts counts_;
};

}  // namespace

std::optional<Error> cannot_grow(const BlockDevice& file, std::uint64_t size) {
  const Header header = read_header(file);
  if (size <= header.size()) return std::nullopt;
  if ((header.disk.incompatible_features & (kIncompatibleDirty | kIncompatibleCorrupt)) != 0) {
    return cannot("an image that is marked dirty or corrupt")
        .advice("repair it first, on a copy: qemu-img check -r all");
  }
  if (header.has_data_file()) {
    return cannot("an external data file, " + printable(header.data_file))
        .advice("qemu can: qemu-img resize IMAGE " + std::to_string(size));
  }
  if (size > std::numeric_limits<std::uint64_t>::max() / 2 ||
      l1_entries_needed(header, size) > kMaxL1Bytes / 8) {
    return cannot("clusters of " + std::to_string(header.cluster_size()) + " bytes")
        .expected("larger ones for a disk of " + std::to_string(size) + " bytes")
        .advice("qemu-img convert -O qcow2 -o cluster_size=2M makes an image that can");
  }
  return check_snapshots(file, header);
}

void grow_image(const DevicePtr& file, std::uint64_t size) {
  if (auto problem = cannot_grow(*file, size)) throw Error(*std::move(problem));
  if (size <= read_header(*file).size()) return;
  Growing(file).run(size);
}

}  // namespace peelfs::qcow2
