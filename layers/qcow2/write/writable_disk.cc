// The active disk of an image that is written.
#include <algorithm>
#include <cstring>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/read/disk.h"
#include "qcow2/write/writer.h"

namespace peelfs::qcow2 {

namespace {

/// Entries that one publication changes: it bounds what is held in memory and locked at once.
constexpr std::uint64_t kMostEntries = 8192;
constexpr unsigned kMaxRuns = 256;

class WritableDisk final : public Disk {
 public:
  WritableDisk(const std::shared_ptr<const Image>& image, std::string description)
      : Disk(image, image->header.size(), image->header.l1(), false, std::move(description),
             image->writer.get()),
        header_(image->header),
        writer_(*image->writer) {}

  bool writable() const noexcept override { return !writer_.is_read_only(); }
  std::string read_only_reason() const override { return writer_.gave_way(); }
  std::uint32_t write_granule() const noexcept override {
    return static_cast<std::uint32_t>(header_.cluster_size());
  }
  Extent map_write(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override;
  void store(std::uint64_t offset, Bytes data) const override;
  void store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override;
  void flush() const override { writer_.flush(); }

 private:
  using EntryAt = ClusterMap::EntryAt;

  /// Clusters of the guest, one behind the other, that are written in one go.
  struct Group {
    std::uint64_t first = 0;  ///< number of the first
    std::vector<EntryAt> old;
    std::uint64_t host = 0;  ///< bytes, where the first lies from now on
    bool fresh = false;      ///< what is not written there reads as zero
    std::uint64_t end() const noexcept { return first + old.size(); }
  };

  std::uint64_t cluster_of(std::uint64_t offset) const noexcept {
    return offset >> header_.cluster_bits();
  }
  std::uint64_t start_of(std::uint64_t cluster) const noexcept {
    return cluster << header_.cluster_bits();
  }
  EntryAt entry(std::uint64_t cluster) const { return clusters().entry_at(start_of(cluster)); }

  /// Whether a host cluster belongs to the entry.
  bool placed(const EntryAt& at) const noexcept {
    return !at.entry.compressed() &&
           (at.entry.host_offset() != 0 || (header_.has_data_file() && at.entry.copied()));
  }
  /// Whether the entry's host cluster may be written to.
  bool owned(const EntryAt& at) const noexcept { return placed(at) && at.entry.copied(); }
  /// Whether it may, and its bytes are what the guest sees.
  bool in_place(const EntryAt& at) const noexcept {
    return owned(at) && !header_.extended_l2() && !at.entry.zero();
  }
  bool in_place(const GuestRun& run) const noexcept {
    return run.kind == ClusterKind::standard && run.copied && image().cipher == nullptr;
  }
  /// The part of a cluster that must be whole where bytes are first stored.
  std::uint64_t unit_of(const EntryAt& at) const noexcept {
    // A cluster that is copied is copied whole.
    const bool copy = at.entry.compressed() || (placed(at) && !at.entry.copied());
    return header_.extended_l2() && !copy ? header_.cluster_size() / kSubclustersPerCluster
                                          : header_.cluster_size();
  }

  /// Whether the subcluster at `offset` is in the entry's own cluster already.
  bool stored(const EntryAt& at, std::uint64_t offset) const noexcept {
    const std::uint64_t within = offset & (header_.cluster_size() - 1);
    const std::uint64_t index = within / (header_.cluster_size() / kSubclustersPerCluster);
    return header_.extended_l2() && owned(at) && ((at.bitmap.allocated() >> index) & 1U) != 0;
  }

  std::uint64_t overwrite(std::uint64_t offset, Bytes data) const;
  std::uint64_t fill_own(std::uint64_t offset, Bytes data) const;
  std::uint64_t fill_new(std::uint64_t offset, Bytes data) const;
  void write_group(const Group& group, std::uint64_t offset, Bytes data) const;
  void store_data(std::uint64_t host, std::uint64_t offset, MutableBytes data) const;
  void give_up(const EntryAt& at, std::vector<Writer::Freed>& freed) const;
  SubclusterBitmap covered(const EntryAt& old, std::uint64_t from, std::uint64_t to) const noexcept;
  void base(std::uint64_t offset, MutableBytes out) const;
  bool reads_zero(std::uint64_t offset, std::uint64_t length) const;
  bool has_backing(std::uint64_t offset) const noexcept {
    return image().backing != nullptr && offset < image().backing->size();
  }
  void zero_bytes(std::uint64_t offset, std::uint64_t length) const;
  std::uint64_t zero_clusters(std::uint64_t offset, std::uint64_t length, WriteKind kind) const;
  EntryAt zero_entry(std::uint64_t cluster, const EntryAt& old, WriteKind kind) const;

  const Header& header_;
  Writer& writer_;
};

Extent WritableDisk::map_write(std::uint64_t offset, std::uint64_t length, WriteKind kind) const {
  writer_.touch();
  if (kind != WriteKind::bytes) return Extent::computed(length);
  const GuestRun run = clusters().run_at(offset, length);
  if (in_place(run)) return Extent::in_device(*image().data, run.host, run.length);
  std::uint64_t covered = run.length;
  for (unsigned runs = 1; covered < length && runs < kMaxRuns; ++runs) {
    ClusterMap::Cursor cursor;  // stores change tables meanwhile
    const auto next = clusters().peek(offset + covered, length - covered, cursor);
    if (!next || in_place(*next)) break;
    covered += next->length;
  }
  return Extent::computed(covered);
}

void WritableDisk::store(std::uint64_t offset, Bytes data) const {
  while (!data.empty()) {
    const EntryAt at = entry(cluster_of(offset));
    const std::uint64_t done = in_place(at) ? overwrite(offset, data)
                               : owned(at)  ? fill_own(offset, data)
                                            : fill_new(offset, data);
    offset += done;
    data = data.subspan(done);
  }
  writer_.limit_memory();
}

/// Writes to the data file what the guest has at `offset`, encrypted where that is so.
void WritableDisk::store_data(std::uint64_t host, std::uint64_t offset, MutableBytes data) const {
  if (image().cipher) {
    const std::uint64_t from = image().iv_from_host() ? host : offset;
    image().cipher->encrypt(data, from / kCryptSector + image().iv_offset);
  }
  write(*image().data, host, data);
}

std::uint64_t WritableDisk::overwrite(std::uint64_t offset, Bytes data) const {
  const std::uint64_t cluster = cluster_of(offset);
  const std::uint64_t within = offset - start_of(cluster);
  const std::uint64_t host = entry(cluster).entry.host_offset();
  const std::uint64_t length =
      std::min<std::uint64_t>(data.size(), header_.cluster_size() - within);
  if (image().cipher) {
    // A disk whose size is no multiple of a sector: its last sector is stored whole.
    Buffer sectors(round_up(length, kCryptSector));
    std::memcpy(sectors.data(), data.data(), length);
    store_data(host + within, offset, sectors);
  } else {
    write(*image().data, host + within, data.first(length));
  }
  return length;
}

std::uint64_t WritableDisk::fill_own(std::uint64_t offset, Bytes data) const {
  Group group;
  group.first = cluster_of(offset);
  group.old.push_back(entry(group.first));
  group.host = group.old.front().entry.host_offset();
  const std::uint64_t length = std::min<std::uint64_t>(data.size(), start_of(group.end()) - offset);
  write_group(group, offset, data.first(length));
  return length;
}

std::uint64_t WritableDisk::fill_new(std::uint64_t offset, Bytes data) const {
  Group group;
  group.first = cluster_of(offset);
  const std::uint64_t last = cluster_of(offset + data.size() - 1);
  for (std::uint64_t cluster = group.first; cluster <= last && group.old.size() < kMostEntries;
       ++cluster) {
    const EntryAt at = entry(cluster);
    if (owned(at)) break;
    group.old.push_back(at);
  }
  ClusterRun run;
  if (header_.has_data_file()) {
    group.host = start_of(group.first);  // clusters lie where the guest has them
  } else {
    run = writer_.allocate(group.old.size());
    group.old.resize(run.count);
    group.host = run.offset;
    group.fresh = run.fresh;
  }
  const std::uint64_t length = std::min<std::uint64_t>(data.size(), start_of(group.end()) - offset);
  try {
    write_group(group, offset, data.first(length));
  } catch (...) {
    if (run.count != 0) writer_.give_back(run);
    throw;
  }
  return length;
}

/// What the guest sees before the write; zeroes behind the end of the disk.
void WritableDisk::base(std::uint64_t offset, MutableBytes out) const {
  const std::size_t inside =
      offset >= size() ? 0 : std::min<std::uint64_t>(out.size(), size() - offset);
  if (inside != 0) compute(offset, out.first(inside));
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(inside), out.end(), std::byte{0});
}

bool WritableDisk::reads_zero(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t end = std::min(offset + length, size());
  while (offset < end) {
    const GuestRun run = clusters().run_at(offset, end - offset);
    const bool nothing = run.kind == ClusterKind::unallocated && !has_backing(offset);
    if (run.kind != ClusterKind::zero && !nothing) return false;
    offset += run.length;
  }
  return true;
}

SubclusterBitmap WritableDisk::covered(const EntryAt& old, std::uint64_t from,
                                       std::uint64_t to) const noexcept {
  const std::uint64_t size = unit_of(old);  // a whole cluster where one is copied
  const std::uint64_t units = header_.cluster_size() / size;
  const std::uint64_t first = from / size * (kSubclustersPerCluster / units);
  const std::uint64_t last = div_round_up(to, size) * (kSubclustersPerCluster / units);
  const std::uint64_t ones = ((1ULL << last) - 1) & ~((1ULL << first) - 1);
  const std::uint64_t allocated = (owned(old) ? old.bitmap.allocated() : 0U) | ones;
  const std::uint64_t zeroes = old.bitmap.zeroes() & ~ones;
  return {allocated | (zeroes << 32U)};
}

void WritableDisk::give_up(const EntryAt& at, std::vector<Writer::Freed>& freed) const {
  if (at.entry.compressed()) {
    const CompressedDescriptor descriptor = decode_compressed(at.entry.raw, header_.cluster_bits());
    freed.push_back({descriptor.host_offset, descriptor.length, false});
  } else if (placed(at) && !header_.has_data_file()) {
    freed.push_back({at.entry.host_offset(), header_.cluster_size(), true});
  }
}

void WritableDisk::write_group(const Group& group, std::uint64_t offset, Bytes data) const {
  const std::uint64_t begin = start_of(group.first);
  const std::uint64_t end = offset + data.size();
  // The ends of the write share units with bytes that must become part of them, unless they are
  // there already: others may be writing to those in place.
  const std::uint64_t from =
      stored(group.old.front(), offset) ? offset : round_down(offset, unit_of(group.old.front()));
  std::uint64_t to =
      stored(group.old.back(), end - 1) ? end : round_up(end, unit_of(group.old.back()));
  // Encryption works in whole sectors, also behind the end of a disk that ends within one.
  if (image().cipher != nullptr) to = round_up(to, kCryptSector);
  if (header_.has_data_file()) to = std::max(end, std::min(to, round_up(size(), kCryptSector)));
  const bool keep_hole = group.fresh && image().cipher == nullptr;
  const std::uint64_t store_from = keep_hole && reads_zero(from, offset - from) ? offset : from;
  const std::uint64_t store_to = keep_hole && reads_zero(end, to - end) ? end : to;
  if (store_from == offset && store_to == end && image().cipher == nullptr) {
    write(*image().data, group.host + (offset - begin), data);
  } else {
    Buffer whole(store_to - store_from);
    const MutableBytes bytes(whole);
    base(store_from, bytes.first(offset - store_from));
    std::memcpy(whole.data() + (offset - store_from), data.data(), data.size());
    base(end, bytes.subspan(end - store_from));
    store_data(group.host + (store_from - begin), store_from, bytes);
  }

  std::vector<Writer::Entry> entries;
  std::vector<Writer::Freed> freed;
  for (std::size_t i = 0; i < group.old.size(); ++i) {
    const EntryAt& old = group.old[i];
    const std::uint64_t start = start_of(group.first + i);
    Writer::Entry fresh;
    fresh.guest_cluster = group.first + i;
    fresh.entry.raw = (group.host + (start - begin)) | L2Entry::kCopiedBit;
    if (header_.extended_l2()) {
      fresh.bitmap = covered(old, std::max(from, start) - start,
                             std::min(end, start + header_.cluster_size()) - start);
    }
    if (fresh.entry.raw == old.entry.raw && fresh.bitmap.raw == old.bitmap.raw) continue;
    entries.push_back(fresh);
    if (!owned(old)) give_up(old, freed);
  }
  if (!entries.empty()) writer_.publish(entries, freed);
}

void WritableDisk::store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const {
  const std::uint64_t cluster = header_.cluster_size();
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const std::uint64_t within = offset % cluster;
    const bool to_end = end == size();
    const std::uint64_t whole_end = to_end ? end : round_down(end, cluster);
    if (within == 0 && whole_end > offset) {
      offset += zero_clusters(offset, whole_end - offset, kind);
    } else {
      const std::uint64_t part = std::min(cluster - within, end - offset);
      zero_bytes(offset, part);
      offset += part;
    }
    writer_.limit_memory();
  }
}

/// A part of a cluster: zero bytes, where it does not read as zero anyway.
void WritableDisk::zero_bytes(std::uint64_t offset, std::uint64_t length) const {
  if (reads_zero(offset, length)) return;
  const Buffer zeroes(length);
  store(offset, zeroes);
}

ClusterMap::EntryAt WritableDisk::zero_entry(std::uint64_t cluster, const EntryAt& old,
                                             WriteKind kind) const {
  EntryAt fresh;
  const bool keep = kind == WriteKind::zeroes && owned(old) && header_.disk.version >= 3;
  if (!keep && !has_backing(start_of(cluster))) return fresh;
  if (keep) fresh.entry.raw = old.entry.host_offset() | L2Entry::kCopiedBit;
  if (header_.disk.version < 3) {
    throw Error(Fault::unsupported, "an image of version 2 cannot hide a backing file's cluster")
        .advice("write zeroes, or: qemu-img amend -o compat=1.1 (a newer version of the format)")
        .with_errno(EOPNOTSUPP);
  }
  if (header_.extended_l2()) {
    fresh.bitmap.raw = 0xffff'ffffULL << 32U;
  } else {
    fresh.entry.raw |= L2Entry::kZeroBit;
  }
  return fresh;
}

/// Whole clusters. @return bytes that read as zero now
std::uint64_t WritableDisk::zero_clusters(std::uint64_t offset, std::uint64_t length,
                                          WriteKind kind) const {
  const GuestRun run = clusters().run_at(offset, length);
  const bool nothing = run.kind == ClusterKind::unallocated && !has_backing(offset);
  const std::uint64_t skip = offset + run.length == offset + length
                                 ? length
                                 : round_down(run.length, header_.cluster_size());
  if (nothing && skip != 0 && !has_backing(offset + skip - 1)) return skip;
  if (header_.has_data_file() && (header_.disk.autoclear_features & kAutoclearRawData) != 0) {
    // The data file alone is what the guest sees: it must be zero itself.
    const std::uint64_t part = std::min(length, header_.cluster_size());
    zero_bytes(offset, part);
    return part;
  }
  std::vector<Writer::Entry> entries;
  std::vector<Writer::Freed> freed;
  const std::uint64_t first = cluster_of(offset);
  const std::uint64_t count = std::min(div_round_up(length, header_.cluster_size()), kMostEntries);
  for (std::uint64_t cluster = first; cluster < first + count; ++cluster) {
    const EntryAt old = entry(cluster);
    const EntryAt fresh = zero_entry(cluster, old, kind);
    if (fresh.entry.raw == old.entry.raw && fresh.bitmap.raw == old.bitmap.raw) continue;
    entries.push_back({cluster, fresh.entry, fresh.bitmap});
    if (!placed(fresh)) give_up(old, freed);
  }
  if (!entries.empty()) writer_.publish(entries, freed);
  return std::min(length, count << header_.cluster_bits());
}

}  // namespace

DevicePtr make_active_disk(std::shared_ptr<const Image> image, std::string description) {
  if (image->writer) return std::make_shared<WritableDisk>(image, std::move(description));
  const std::uint64_t size = image->header.size();
  const TableLocation l1 = image->header.l1();
  return make_disk(std::move(image), size, l1, false, std::move(description));
}

}  // namespace peelfs::qcow2
