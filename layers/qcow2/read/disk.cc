// The disk that a guest sees: plain clusters are described, encrypted and compressed ones computed.
#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "engine/crew.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"
#include "qcow2/read/compression.h"
#include "qcow2/read/disk.h"
#include "qcow2/write/writer.h"

namespace peelfs::qcow2 {

namespace {

/// How many runs one computed extent may be made of: it bounds the time of map() for a caller that
/// asks for a whole disk.
constexpr unsigned kMaxComputedRuns = 256;

/// Compressed clusters lie one behind the other as a rule: what is read ahead for those that the
/// same request wants.
constexpr std::uint64_t kMaxBatch = 1U << 20U;
constexpr std::uint64_t kMaxBatchGap = 4096;
/// Bytes that one thread unpacks of them at least: some 100 microseconds.
constexpr std::size_t kLeastUnpacked = 64U << 10U;

/// The runs that map() found in a computed extent, for compute(), which as a rule comes next on the
/// same thread and would walk through the tables again.
struct Walked {
  std::uint64_t disk = 0;  ///< its number; 0: nothing is kept
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::vector<GuestRun> runs;
};
thread_local Walked walked;

}  // namespace

Disk::Disk(std::shared_ptr<const Image> image, std::uint64_t disk_size, const TableLocation& l1,
           bool short_l1_is_unallocated, std::string description, const Writer* writer)
    : BlockDevice(disk_size),
      image_(std::move(image)),
      map_(*image_->file, image_->header, image_->data->size(),
           {l1, short_l1_is_unallocated, image_->cipher != nullptr, writer}, image_->caches->tables,
           image_->cache_owner),
      description_(std::move(description)),
      is_fixed_(writer == nullptr && image_->writer == nullptr) {}

Extent Disk::unallocated(std::uint64_t offset, std::uint64_t length) const {
  const BlockDevice* backing = image_->backing.get();
  if (backing == nullptr || offset >= backing->size()) return Extent::zeroes(length);
  return Extent::in_device(*backing, offset, std::min(length, backing->size() - offset));
}

Extent Disk::map(std::uint64_t offset, std::uint64_t length) const {
  ClusterMap::Cursor cursor;
  const GuestRun run = map_.run_at(offset, length, cursor);
  if (!is_computed(run)) {
    switch (run.kind) {
      case ClusterKind::standard:
        return Extent::in_device(*image_->data, run.host, run.length);
      case ClusterKind::unallocated:
        return unallocated(offset, run.length);
      case ClusterKind::zero:
      case ClusterKind::compressed:
        return Extent::zeroes(run.length);
    }
  }
  std::vector<GuestRun> runs;
  if (is_fixed_) {
    // Reading tables may walk through another image on this thread, which keeps its own runs.
    runs.swap(walked.runs);
    walked.disk = 0;
    runs.assign(1, run);
  }
  std::uint64_t covered = run.length;
  for (unsigned count = 1; covered < length && count < kMaxComputedRuns; ++count) {
    const auto next = map_.peek(offset + covered, length - covered, cursor);
    if (!next || !is_computed(*next)) break;
    if (is_fixed_) runs.push_back(*next);
    covered += next->length;
  }
  if (is_fixed_) walked = {number_, offset, offset + covered, std::move(runs)};
  return Extent::computed(covered);
}

void Disk::compute(std::uint64_t offset, MutableBytes out) const {
  std::vector<Placed> packed;  // neighbouring compressed clusters, to be read together
  if (walked.disk == number_ && walked.begin == offset && out.size() <= walked.end - offset) {
    // What is read below may walk through another image, too: what was kept is taken away before.
    std::vector<GuestRun> runs;
    runs.swap(walked.runs);
    walked.disk = 0;
    for (GuestRun& run : runs) {
      if (out.empty()) break;
      run.length = std::min<std::uint64_t>(run.length, out.size());
      place(run, offset, out, packed);
      offset += run.length;
      out = out.subspan(run.length);
    }
    if (walked.disk == 0) walked.runs.swap(runs);
  }
  ClusterMap::Cursor cursor;
  while (!out.empty()) {
    const GuestRun run = map_.run_at(offset, out.size(), cursor);
    place(run, offset, out, packed);
    offset += run.length;
    out = out.subspan(run.length);
  }
  unpack(std::move(packed));
}

void Disk::place(const GuestRun& run, std::uint64_t offset, MutableBytes out,
                 std::vector<Placed>& packed) const {
  const Placed part{run, offset, out.first(run.length)};
  if (run.kind == ClusterKind::compressed) {
    packed.push_back(part);
  } else {
    fill(part);
  }
}

void Disk::fill(const Placed& part) const {
  if (part.run.kind == ClusterKind::standard) {
    decrypt(part);
    return;
  }
  // map() never answers `computed` for these; they are handled here all the same.
  const Extent extent = part.run.kind == ClusterKind::unallocated
                            ? unallocated(part.offset, part.out.size())
                            : Extent::zeroes(part.out.size());
  const MutableBytes stored = part.out.first(extent.length);
  std::memset(part.out.data(), 0, part.out.size());
  if (extent.kind == ExtentKind::lower) read(*extent.device, extent.offset, stored);
}

void Disk::decrypt(const Placed& part) const {
  MutableBytes out = part.out;
  if (!image_->cipher) {
    read(*image_->data, part.run.host, out);
    return;
  }
  const std::uint64_t from = image_->iv_from_host() ? part.run.host : part.offset;
  const std::uint64_t sector = from / kCryptSector + image_->iv_offset;
  const MutableBytes whole = out.first(round_down(out.size(), kCryptSector));
  if (!whole.empty()) read_decrypted(*image_->data, part.run.host, whole, *image_->cipher, sector);
  // A disk whose size is no multiple of a sector: its last sector is stored whole.
  const MutableBytes rest = out.subspan(whole.size());
  if (rest.empty()) return;
  Buffer last = read_bytes(*image_->data, part.run.host + whole.size(), kCryptSector);
  image_->cipher->decrypt(last, sector + whole.size() / kCryptSector);
  std::memcpy(rest.data(), last.data(), rest.size());
}

bool Disk::copy_cached(const Placed& part) const {
  const BlockCache::Block block = image_->caches->clusters.find(cluster_key(part.run));
  if (!block) return false;
  std::memcpy(part.out.data(), block->data() + (part.offset - cluster_of(part.offset)),
              part.out.size());
  return true;
}

void Disk::unpack(std::vector<Placed> parts) const {
  std::erase_if(parts, [this](const Placed& part) { return copy_cached(part); });
  for (std::size_t first = 0, next = 0; first < parts.size(); first = next) {
    const std::uint64_t begin = parts[first].run.host;
    std::uint64_t end = begin + parts[first].run.compressed_length;
    for (next = first + 1; next < parts.size(); ++next) {
      const GuestRun& run = parts[next].run;
      const std::uint64_t run_end = run.host + run.compressed_length;
      if (run.host < begin || run.host > end + kMaxBatchGap || run_end - begin > kMaxBatch) break;
      end = std::max(end, run_end);
    }
    const Buffer packed = read_bytes(*image_->file, begin, end - begin);
    const std::span<const Placed> batch = std::span(parts).subspan(first, next - first);
    const std::size_t together =
        std::max<std::size_t>(1, kLeastUnpacked >> image_->header.cluster_bits());
    const auto some = [&](std::size_t turn) {
      const std::span<const Placed> rest = batch.subspan(turn * together);
      for (const Placed& part : rest.first(std::min(together, rest.size()))) {
        unpack_one(part, Bytes(packed).subspan(part.run.host - begin, part.run.compressed_length));
      }
    };
    share_out(div_round_up(batch.size(), together), std::cref(some));
  }
}

void Disk::unpack_one(const Placed& part, Bytes packed) const {
  const std::uint64_t cluster_size = image_->header.cluster_size();
  const std::uint8_t type = image_->header.disk.compression_type;
  try {
    if (part.out.size() == cluster_size) {
      decompress(type, packed, part.out);
      return;
    }
    // A part of a cluster: its neighbours are likely to be asked for next, or just now by another
    // thread that reads ahead, which then finds it here.
    const MutexLock lock(image_->caches->unpacking_of(cluster_key(part.run)));
    if (copy_cached(part)) return;
    Buffer whole(cluster_size);
    decompress(type, packed, whole);
    std::memcpy(part.out.data(), whole.data() + (part.offset - cluster_of(part.offset)),
                part.out.size());
    image_->caches->clusters.insert(cluster_key(part.run),
                                    std::make_shared<const Buffer>(std::move(whole)));
  } catch (Error& error) {
    error.add_context("cluster at guest offset " + hex(cluster_of(part.offset)) +
                      ", compressed at " + hex(part.run.host));
    throw;
  }
}

std::uint64_t Disk::allocated_bytes() const {
  std::uint64_t sum = std::min(image_->file->allocated_bytes(), size());
  if (image_->data != image_->file) sum += std::min(image_->data->allocated_bytes(), size());
  if (image_->backing) sum += std::min(image_->backing->allocated_bytes(), size());
  // Tables, snapshots and files of a chain that hide one another make the sum too large, and
  // whether there are holes is unknown: copying tools look for them only when a file seems to have
  // some.
  return sum < size() || size() <= kCryptSector ? std::min(sum, size()) : size() - kCryptSector;
}

DevicePtr make_disk(std::shared_ptr<const Image> image, std::uint64_t size, const TableLocation& l1,
                    bool short_l1_is_unallocated, std::string description) {
  return std::make_shared<Disk>(std::move(image), size, l1, short_l1_is_unallocated,
                                std::move(description));
}

}  // namespace peelfs::qcow2
