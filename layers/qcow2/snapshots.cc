// Taking, reverting to and deleting internal snapshots of an image that nobody has open.
//
// The COPIED flags of all entries change when clusters become shared, and no order of writes makes
// that safe. So the dirty bit is set before and cleared after: in between, counts and flags may be
// wrong, and whoever repairs them (qemu-img check -r all) finds either the old or the new disk,
// because a table is only ever replaced by one write to the header.
#include <algorithm>
#include <array>
#include <ctime>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/overlay.h"
#include "qcow2/qcow2_disk.h"
#include "qcow2/refcounts.h"
#include "qcow2/references.h"
#include "qcow2/snapshot_table.h"

namespace peelfs::qcow2 {

namespace {

class Editor {
 public:
  explicit Editor(const DevicePtr& file)
      : file_(file->growable() ? file->growable() : file),
        header_(read_header(*file)),
        end_(file->growable() ? round_up(file->size(), header_.cluster_size()) : file->size()),
        counts_(*file_, header_, end_, file->growable() != nullptr),
        table_(read_snapshots(*file_, header_)) {
    if (header_.disk.version < 3 || header_.has_data_file() ||
        (header_.disk.incompatible_features & (incompatible_dirty | incompatible_corrupt)) != 0) {
      throw Error(Fault::unsupported, "snapshots of this image cannot be changed")
          .found("version " + std::to_string(header_.disk.version) + ", incompatible features " +
                 hex(header_.disk.incompatible_features))
          .expected("version 3, neither dirty nor corrupt, without an external data file")
          .advice("qemu-img check -r all repairs an image that was cut off");
    }
    if (table_.damage) throw Error(*table_.damage);
  }

  void create(const std::string& name);
  void revert(const std::string& name);
  void remove(const std::string& name);

 private:
  std::size_t index_of(const std::string& name) const;
  void set_dirty(bool dirty);
  void save_counts();
  void count(const TableLocation& l1, bool up);
  void check_counts(const TableLocation& l1);
  std::uint64_t allocate(std::uint64_t bytes);
  void free(std::uint64_t offset, std::uint64_t bytes) {
    if (bytes != 0) counts_.decrement_range(offset, bytes);
  }
  TableLocation copy_l1(const TableLocation& from);
  void replace_table(const Buffer& table, std::uint32_t entries);
  void mark_copied();
  Buffer entries_without(std::size_t index) const;

  const DevicePtr file_;
  Header header_;
  std::atomic<std::uint64_t> end_;
  Refcounts counts_;
  const SnapshotTable table_;
};

std::size_t Editor::index_of(const std::string& name) const {
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

void Editor::set_dirty(bool dirty) {
  file_->flush();  // what came before, first
  std::uint64_t& features = header_.disk.incompatible_features;
  features = dirty ? features | incompatible_dirty : features & ~incompatible_dirty;
  std::array<std::byte, 8> field{};
  put_be(field, 0, features);
  write(*file_, 72, field);
  file_->flush();
}

void Editor::save_counts() {
  const Refcounts::Unwritten counts = counts_.unwritten();
  write_counts(*file_, counts);
  file_->flush();
  counts_.written(counts);
}

void Editor::check_counts(const TableLocation& l1) {
  for_each_reference(*file_, header_, l1, end_, [&](const Reference& reference) {
    const std::uint64_t last = reference.offset + reference.length - 1;
    for (std::uint64_t at = reference.offset >> header_.cluster_bits();
         at <= last >> header_.cluster_bits(); ++at) {
      if (counts_.get(at) < counts_.greatest()) continue;
      throw Error(Fault::unsupported, "the image's reference counts are too narrow for a snapshot")
          .found(std::to_string(1U << header_.disk.refcount_order) + " bits")
          .advice("qemu-img amend -o refcount_bits=16 makes room")
          .with_errno(ENOSPC);
    }
  });
}

void Editor::count(const TableLocation& l1, bool up) {
  for_each_reference(*file_, header_, l1, end_, [&](const Reference& reference) {
    if (!up) return counts_.decrement_range(reference.offset, reference.length);
    const std::uint64_t last = reference.offset + reference.length - 1;
    for (std::uint64_t at = reference.offset >> header_.cluster_bits();
         at <= last >> header_.cluster_bits(); ++at) {
      counts_.increment(at);
    }
  });
}

std::uint64_t Editor::allocate(std::uint64_t bytes) {
  return counts_.allocate_together(div_round_up(bytes, header_.cluster_size()));
}

/// @return where a copy of the table lies, none of whose entries calls anything its own
TableLocation Editor::copy_l1(const TableLocation& from) {
  if (from.entries == 0) return {header_.cluster_size(), 0};
  Buffer table = read_bytes(*file_, from.offset, std::size_t{from.entries} * 8);
  for (std::size_t at = 0; at < table.size(); at += 8) {
    put_be(table, at, ByteReader(table, "L1 table").be64(at) & ~L2Entry::copied_bit);
  }
  const TableLocation to{allocate(table.size()), from.entries};
  table.resize(round_up(table.size(), header_.cluster_size()));
  write(*file_, to.offset, table);
  return to;
}

/// The header refers to a new table of snapshots by one write.
void Editor::replace_table(const Buffer& table, std::uint32_t entries) {
  const std::uint64_t offset = table.empty() ? 0 : allocate(table.size());
  save_counts();
  if (!table.empty()) write(*file_, offset, table);
  file_->flush();
  std::array<std::byte, 12> place{};
  put_be(place, 0, entries);
  put_be(place, 4, offset);
  write(*file_, 60, place);
  file_->flush();
  free(header_.disk.snapshots_offset, table_.bytes);
}

/// Sets the flags of the active tables by the counts.
void Editor::mark_copied() {
  for_each_reference(*file_, header_, header_.l1(), end_, [&](const Reference& reference) {
    if (reference.kind == Reference::Kind::compressed) return;
    const bool own = counts_.get(reference.offset >> header_.cluster_bits()) == 1;
    if (own == reference.copied) return;
    Buffer entry = read_bytes(*file_, reference.entry_at, 8);
    const std::uint64_t raw = ByteReader(entry, "table entry").be64(0);
    put_be(entry, 0, own ? raw | L2Entry::copied_bit : raw & ~L2Entry::copied_bit);
    write(*file_, reference.entry_at, entry);
  });
}

Buffer Editor::entries_without(std::size_t index) const {
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

Buffer new_entry(const std::string& id, const std::string& name, const TableLocation& l1,
                 std::uint64_t disk_size) {
  constexpr std::size_t extra = 24;
  Buffer entry(DiskSnapshot::fixed_size + extra);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  put_be(entry, 0, l1.offset);
  put_be(entry, 8, l1.entries);
  put_be(entry, 12, static_cast<std::uint16_t>(id.size()));
  put_be(entry, 14, static_cast<std::uint16_t>(name.size()));
  put_be(entry, 16, static_cast<std::uint32_t>(now.tv_sec));
  put_be(entry, 20, static_cast<std::uint32_t>(now.tv_nsec));
  put_be(entry, 36, std::uint32_t{extra});
  put_be(entry, DiskSnapshot::disk_size_at, disk_size);
  put_be(entry, 56, ~std::uint64_t{0});  // icount: not known
  for (const std::string& text : {id, name}) {
    const Bytes bytes = as_bytes(text);
    entry.insert(entry.end(), bytes.begin(), bytes.end());
  }
  entry.resize(round_up(entry.size(), 8));
  return entry;
}

void Editor::create(const std::string& name) {
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
  check_counts(header_.l1());
  Buffer table = entries_without(table_.snapshots.size());
  set_dirty(true);
  count(header_.l1(), true);
  const TableLocation l1 = copy_l1(header_.l1());
  const Buffer entry = new_entry(std::to_string(id + 1), name, l1, header_.size());
  table.insert(table.end(), entry.begin(), entry.end());
  replace_table(table, static_cast<std::uint32_t>(table_.snapshots.size() + 1));
  mark_copied();
  save_counts();
  set_dirty(false);
}

void Editor::revert(const std::string& name) {
  const Snapshot& snapshot = table_.snapshots.at(index_of(name));
  if (snapshot.size != header_.size()) {
    throw Error(Fault::unsupported, "the image has another size than the snapshot's disk")
        .found(std::to_string(header_.size()) + " bytes")
        .expected(std::to_string(snapshot.size));
  }
  if (auto problem = check_l1(header_, snapshot.l1, end_, "snapshot")) throw Error(*problem);
  check_counts(snapshot.l1);
  const TableLocation before = header_.l1();
  set_dirty(true);
  count(snapshot.l1, true);
  const TableLocation l1 = copy_l1(snapshot.l1);
  save_counts();
  std::array<std::byte, 12> place{};
  put_be(place, 0, l1.entries);
  put_be(place, 4, l1.offset);
  write(*file_, 36, place);
  file_->flush();
  count(before, false);
  free(before.offset, std::uint64_t{before.entries} * 8);
  header_.disk.l1_size = l1.entries;
  header_.disk.l1_table_offset = l1.offset;
  mark_copied();
  save_counts();
  set_dirty(false);
}

void Editor::remove(const std::string& name) {
  const std::size_t index = index_of(name);
  const Snapshot& snapshot = table_.snapshots[index];
  if (auto problem = check_l1(header_, snapshot.l1, end_, "snapshot")) throw Error(*problem);
  const Buffer table = entries_without(index);
  set_dirty(true);
  replace_table(table, static_cast<std::uint32_t>(table_.snapshots.size() - 1));
  count(snapshot.l1, false);
  free(snapshot.l1.offset, std::uint64_t{snapshot.l1.entries} * 8);
  mark_copied();
  save_counts();
  set_dirty(false);
}

}  // namespace

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
  Editor(file).create(name);
}
void revert_to_snapshot(const DevicePtr& file, const std::string& name) {
  Editor(file).revert(name);
}
void delete_snapshot(const DevicePtr& file, const std::string& name) {
  Editor(file).remove(name);
}

}  // namespace peelfs::qcow2
