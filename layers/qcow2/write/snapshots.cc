// Taking, reverting to and deleting internal snapshots of an image that no program has open.
//
// The COPIED flags of all entries change when clusters become shared, and no order of writes makes
// that safe. So the dirty bit is set before and cleared after: in between, counts and flags may be
// wrong, and a repair of them (qemu-img check -r all) finds either the old or the new disk, because
// a table is only ever replaced by one write to the header.
//
// The change must not meet a full disk in between. Therefore a change has two parts. Preparing it
// takes all clusters, writes the new tables into them, and writes again what every block holds that
// is going to change, so that it has space of its own. Nothing on the disk refers to what is new: a
// change that cannot be prepared leaves the image as it was. Applying it only overwrites.
#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "qcow2/overlay.h"
#include "qcow2/qcow2_disk.h"
#include "qcow2/read/snapshot_table.h"
#include "qcow2/write/refcounts.h"
#include "qcow2/write/references.h"

namespace peelfs::qcow2 {

namespace {

/// Changes flags of table entries in place, a cluster of them at a time.
class TableEdits {
 public:
  /// @param claim only lets what would change have space: see claim_space()
  TableEdits(const BlockDevice& file, std::uint64_t cluster_size, bool claim)
      : file_(file), cluster_size_(cluster_size), claim_(claim) {}

  void mark(const Reference& reference, bool copied) {
    // The walk goes to and fro between an L1 table and the L2 tables that it refers to.
    Piece& piece = pieces_.at(reference.kind == Reference::Kind::l2_table ? 0 : 1);
    const std::uint64_t begin = round_down(reference.entry_at, cluster_size_);
    if (piece.bytes.empty() || piece.offset != begin) {
      put(piece);
      piece = {begin, read_up_to(file_, begin, cluster_size_)};
    }
    if (claim_) return;
    const std::size_t at = reference.entry_at - begin;
    const std::uint64_t raw = ByteReader(piece.bytes, "table entry").be64(at);
    put_be(piece.bytes, at, copied ? raw | L2Entry::kCopiedBit : raw & ~L2Entry::kCopiedBit);
  }
  void finish() const {
    for (const Piece& piece : pieces_) put(piece);
  }

 private:
  struct Piece {
    std::uint64_t offset = 0;
    Buffer bytes;
  };
  void put(const Piece& piece) const {
    if (!piece.bytes.empty()) write(file_, piece.offset, piece.bytes);
  }

  const BlockDevice& file_;
  const std::uint64_t cluster_size_;
  const bool claim_;
  std::array<Piece, 2> pieces_;
};

Buffer new_entry(const std::string& id, const std::string& name, const TableLocation& l1,
                 std::uint64_t disk_size) {
  constexpr std::size_t kExtra = 24;
  Buffer entry(DiskSnapshot::kFixedSize + kExtra);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  put_be(entry, 0, l1.offset);
  put_be(entry, 8, l1.entries);
  put_be(entry, 12, static_cast<std::uint16_t>(id.size()));
  put_be(entry, 14, static_cast<std::uint16_t>(name.size()));
  put_be(entry, 16, static_cast<std::uint32_t>(now.tv_sec));
  put_be(entry, 20, static_cast<std::uint32_t>(now.tv_nsec));
  put_be(entry, 36, std::uint32_t{kExtra});
  put_be(entry, DiskSnapshot::kDiskSizeAt, disk_size);
  put_be(entry, 56, ~std::uint64_t{0});  // icount: not known
  for (const std::string& text : {id, name}) {
    const Bytes bytes = as_bytes(text);
    entry.insert(entry.end(), bytes.begin(), bytes.end());
  }
  entry.resize(round_up(entry.size(), 8));
  return entry;
}

}  // namespace

class SnapshotChange::Editor {
 public:
  explicit Editor(const DevicePtr& file)
      : file_(file->growable() ? file->growable() : file),
        header_(read_header(*file)),
        end_(file->growable() ? round_up(file->size(), header_.cluster_size()) : file->size()),
        counts_(*file_, header_, end_, file->growable() != nullptr),
        table_(read_snapshots(*file_, header_)) {
    if (header_.disk.version < 3 || header_.has_data_file() ||
        (header_.disk.incompatible_features & (kIncompatibleDirty | kIncompatibleCorrupt)) != 0) {
      throw Error(Fault::unsupported, "snapshots of this image cannot be changed")
          .found("version " + std::to_string(header_.disk.version) + ", incompatible features " +
                 hex(header_.disk.incompatible_features))
          .expected("version 3, neither dirty nor corrupt, without an external data file")
          .advice("qemu-img check -r all repairs an image that was cut off");
    }
    if (table_.damage) throw Error(*table_.damage);
  }

  // The caller calls one of these, and then apply(). Before apply() nothing on the disk refers to
  // what they write.
  void prepare_create(const std::string& name);
  void prepare_revert(const std::string& name);
  void prepare_remove(const std::string& name);
  void apply();

 private:
  std::size_t index_of(const std::string& name) const;
  void set_dirty(bool dirty);
  void save(const Refcounts::Unwritten& counts);
  void count(const TableLocation& l1, bool up);
  std::uint64_t place(Buffer table);
  void free(std::uint64_t offset, std::uint64_t bytes) {
    if (bytes != 0) counts_.decrement_range(offset, bytes);
  }
  TableLocation copy_l1(const TableLocation& from);
  void replace_table(Buffer table, std::uint32_t entries);
  void take_nothing_more();
  void claim_the_rest();
  void mark_copied(bool claim);
  Buffer entries_without(std::size_t index) const;

  const DevicePtr file_;
  Header header_;
  std::atomic<std::uint64_t> end_;
  Refcounts counts_;
  const SnapshotTable table_;

  /// Counts that are high enough for the references before and after the change.
  Refcounts::Unwritten both_;
  /// The bytes of the header that make the new table the active one.
  std::uint64_t field_at_ = 0;
  std::array<std::byte, 12> field_{};
};

std::size_t SnapshotChange::Editor::index_of(const std::string& name) const {
  const auto& all = table_.snapshots;
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Snapshot& one) { return one.name == name; });
  if (found == all.end()) {
    std::string there;
    for (const Snapshot& one : all) there += (there.empty() ? "" : ", ") + printable(one.name);
    throw Error(Fault::missing, "there is no snapshot '" + printable(name) + "'")
        .found(there.empty() ? "none" : there)
        .with_errno(ENOENT);
  }
  return static_cast<std::size_t>(found - all.begin());
}

void SnapshotChange::Editor::set_dirty(bool dirty) {
  file_->flush();  // what came before, first
  std::uint64_t& features = header_.disk.incompatible_features;
  features = dirty ? features | kIncompatibleDirty : features & ~kIncompatibleDirty;
  std::array<std::byte, 8> field{};
  put_be(field, 0, features);
  write(*file_, 72, field);
  file_->flush();
}

void SnapshotChange::Editor::save(const Refcounts::Unwritten& counts) {
  write_counts(*file_, counts);
  file_->flush();
}

void SnapshotChange::Editor::count(const TableLocation& l1, bool up) {
  for_each_reference(*file_, header_, l1, end_, [&](const Reference& reference) {
    if (!up) return counts_.decrement_range(reference.offset, reference.length);
    const std::uint64_t last = reference.offset + reference.length - 1;
    for (std::uint64_t at = reference.offset >> header_.cluster_bits();
         at <= last >> header_.cluster_bits(); ++at) {
      counts_.increment(at);
    }
  });
}

/// Puts a table where nothing on the disk refers to. @return its offset
std::uint64_t SnapshotChange::Editor::place(Buffer table) {
  table.resize(round_up(table.size(), header_.cluster_size()));
  const std::uint64_t offset = counts_.allocate_together(table.size() >> header_.cluster_bits());
  write(*file_, offset, table);
  return offset;
}

/// @return where a copy of the table lies, none of whose entries calls anything its own
TableLocation SnapshotChange::Editor::copy_l1(const TableLocation& from) {
  if (from.entries == 0) return {header_.cluster_size(), 0};
  Buffer table = read_bytes(*file_, from.offset, std::size_t{from.entries} * 8);
  for (std::size_t at = 0; at < table.size(); at += 8) {
    put_be(table, at, ByteReader(table, "L1 table").be64(at) & ~L2Entry::kCopiedBit);
  }
  return {place(std::move(table)), from.entries};
}

/// The header is to refer to a new table of snapshots.
void SnapshotChange::Editor::replace_table(Buffer table, std::uint32_t entries) {
  const std::uint64_t offset = table.empty() ? 0 : place(std::move(table));
  field_at_ = 60;
  put_be(field_, 0, entries);
  put_be(field_, 4, offset);
}

/// Everything new is there and counted, and nothing old is given up yet.
void SnapshotChange::Editor::take_nothing_more() {
  both_ = counts_.unwritten();
  counts_.claim_old_tables();
}

/// The last step of preparing. All counts are now those after the change.
void SnapshotChange::Editor::claim_the_rest() {
  mark_copied(true);
  claim_space(*file_, 0, header_.disk.header_length);
}

void SnapshotChange::Editor::apply() {
  try {
    set_dirty(true);
    save(both_);
    write(*file_, field_at_, field_);
    file_->flush();
    mark_copied(false);
    // A refcount table that has moved makes a second round of it: the old one becomes free.
    while (counts_.has_unwritten()) {
      const Refcounts::Unwritten counts = counts_.unwritten();
      save(counts);
      counts_.written(counts);
    }
    set_dirty(false);
  } catch (Error& error) {
    error.add_context(
        "while an image's snapshots changed; it is marked dirty now, and 'qemu-img check -r all' "
        "repairs it");
    throw;
  }
}

/// Sets the flags of the tables that are active afterwards, by the counts.
/// @param claim only lets them have space
void SnapshotChange::Editor::mark_copied(bool claim) {
  TableEdits edits(*file_, header_.cluster_size(), claim);
  for_each_reference(*file_, header_, header_.l1(), end_, [&](const Reference& reference) {
    if (reference.kind == Reference::Kind::compressed) return;
    const bool own = counts_.get(reference.offset >> header_.cluster_bits()) == 1;
    if (own != reference.copied) edits.mark(reference, own);
  });
  edits.finish();
}

Buffer SnapshotChange::Editor::entries_without(std::size_t index) const {
  const Buffer all = table_.bytes == 0
                         ? Buffer()
                         : read_bytes(*file_, header_.disk.snapshots_offset, table_.bytes);
  if (index >= table_.snapshots.size()) return all;
  const Snapshot& gone = table_.snapshots[index];
  Buffer rest(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(gone.entry_at));
  rest.insert(rest.end(),
              all.begin() + static_cast<std::ptrdiff_t>(gone.entry_at + gone.entry_length),
              all.end());
  return rest;
}

void SnapshotChange::Editor::prepare_create(const std::string& name) {
  if (name.empty() || name.size() > 255) {
    throw Error(Fault::usage, "a snapshot needs a name of 1 to 255 bytes")
        .found(std::to_string(name.size()));
  }
  unsigned long long id = 0;
  for (const Snapshot& one : table_.snapshots) {
    if (one.name == name) {
      throw Error(Fault::usage, "there is a snapshot '" + printable(name) + "' already")
          .with_errno(EEXIST);
    }
    id = std::max(id, std::strtoull(one.id.c_str(), nullptr, 10));
  }
  Buffer table = entries_without(table_.snapshots.size());
  const TableLocation l1 = copy_l1(header_.l1());
  const Buffer entry = new_entry(std::to_string(id + 1), name, l1, header_.size());
  table.insert(table.end(), entry.begin(), entry.end());
  replace_table(std::move(table), static_cast<std::uint32_t>(table_.snapshots.size() + 1));
  count(header_.l1(), true);
  take_nothing_more();
  free(header_.disk.snapshots_offset, table_.bytes);
  claim_the_rest();
}

void SnapshotChange::Editor::prepare_revert(const std::string& name) {
  const Snapshot& snapshot = table_.snapshots.at(index_of(name));
  if (snapshot.size != header_.size()) {
    throw Error(Fault::unsupported, "the image has another size than the snapshot's disk")
        .found(std::to_string(header_.size()) + " bytes")
        .expected(figure(snapshot.size));
  }
  if (auto problem = check_l1(header_, snapshot.l1, end_, "snapshot")) throw Error(*problem);
  const TableLocation before = header_.l1();
  const TableLocation l1 = copy_l1(snapshot.l1);
  field_at_ = 36;
  put_be(field_, 0, l1.entries);
  put_be(field_, 4, l1.offset);
  count(snapshot.l1, true);
  take_nothing_more();
  count(before, false);
  free(before.offset, std::uint64_t{before.entries} * 8);
  header_.disk.l1_size = l1.entries;
  header_.disk.l1_table_offset = l1.offset;
  claim_the_rest();
}

void SnapshotChange::Editor::prepare_remove(const std::string& name) {
  const std::size_t index = index_of(name);
  const Snapshot& snapshot = table_.snapshots[index];
  if (auto problem = check_l1(header_, snapshot.l1, end_, "snapshot")) throw Error(*problem);
  replace_table(entries_without(index), static_cast<std::uint32_t>(table_.snapshots.size() - 1));
  take_nothing_more();
  free(header_.disk.snapshots_offset, table_.bytes);
  count(snapshot.l1, false);
  free(snapshot.l1.offset, std::uint64_t{snapshot.l1.entries} * 8);
  claim_the_rest();
}

SnapshotChange::SnapshotChange(std::unique_ptr<Editor> editor) : editor_(std::move(editor)) {}
SnapshotChange::SnapshotChange(SnapshotChange&&) noexcept = default;
SnapshotChange::~SnapshotChange() = default;

void SnapshotChange::apply() {
  editor_->apply();
}

SnapshotChange SnapshotChange::create(const DevicePtr& file, const std::string& name) {
  auto editor = std::make_unique<Editor>(file);
  editor->prepare_create(name);
  return SnapshotChange(std::move(editor));
}

SnapshotChange SnapshotChange::revert(const DevicePtr& file, const std::string& name) {
  auto editor = std::make_unique<Editor>(file);
  editor->prepare_revert(name);
  return SnapshotChange(std::move(editor));
}

SnapshotChange SnapshotChange::remove(const DevicePtr& file, const std::string& name) {
  auto editor = std::make_unique<Editor>(file);
  editor->prepare_remove(name);
  return SnapshotChange(std::move(editor));
}

std::vector<SnapshotInfo> list_snapshots(const BlockDevice& file) {
  SnapshotTable table = read_snapshots(file, read_header(file));
  if (table.damage) throw Error(*std::move(table.damage));
  std::vector<SnapshotInfo> list;
  for (const Snapshot& one : table.snapshots) {
    list.push_back({one.id, one.name, one.date_seconds, one.vm_state_size});
  }
  return list;
}

void create_snapshot(const DevicePtr& file, const std::string& name) {
  SnapshotChange::create(file, name).apply();
}
void revert_to_snapshot(const DevicePtr& file, const std::string& name) {
  SnapshotChange::revert(file, name).apply();
}
void delete_snapshot(const DevicePtr& file, const std::string& name) {
  SnapshotChange::remove(file, name).apply();
}

}  // namespace peelfs::qcow2
