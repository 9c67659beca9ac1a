// The one abstraction: a block device has a size and says where its bytes live.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "peelfs/bytes.h"
#include "peelfs/range_locks.h"

namespace peelfs {

class BlockDevice;
class Storage;

/// Where a run of bytes of a device lives.
enum class ExtentKind : std::uint8_t {
  storage,   ///< verbatim bytes of a storage, at `offset`: a host file, or what is like one
  lower,     ///< verbatim bytes of another device, at `offset`
  zero,      ///< reads as zero; nothing is stored
  computed,  ///< only this device can produce them: the read loop calls compute()
};

/// The answer to "where do the bytes at this offset live". It stays true until the request that
/// asked has finished; a caller that keeps it longer must ask again. `storage` and `device` are
/// owned by the device that answered, and live at least as long as it does.
struct Extent {
  ExtentKind kind = ExtentKind::zero;
  std::uint64_t length = 0;             ///< bytes, from the offset asked for; at least 1
  std::uint64_t offset = 0;             ///< bytes, in `storage` or `device`
  const Storage* storage = nullptr;     ///< set for storage
  const BlockDevice* device = nullptr;  ///< set for lower

  static Extent in_storage(const Storage& storage, std::uint64_t offset, std::uint64_t length) {
    return {ExtentKind::storage, length, offset, &storage, nullptr};
  }
  static Extent in_device(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
    return {ExtentKind::lower, length, offset, nullptr, &device};
  }
  static Extent zeroes(std::uint64_t length) {
    return {ExtentKind::zero, length, 0, nullptr, nullptr};
  }
  static Extent computed(std::uint64_t length) {
    return {ExtentKind::computed, length, 0, nullptr, nullptr};
  }
};

/// What is written.
enum class WriteKind : std::uint8_t {
  bytes,
  zeroes,   ///< the range must read as zero; its space stays reserved where it is
  discard,  ///< the range must read as zero; its space may be given back
};

/// A block device. Layers derive from it and *describe* where bytes are; they do not copy them. All
/// other code reads through the read loop in peelfs/io.h.
///
/// Geometry never changes after construction. Every const member function is safe from any thread
/// without locking by the caller. Failures are Error.
class BlockDevice {
 public:
  /// @param size bytes; any number, also 0 and one that is no multiple of a sector
  /// @param sector_size the logical sector in bytes that tables inside count in (512 or 4096)
  explicit BlockDevice(std::uint64_t size, std::uint32_t sector_size = 512) noexcept
      : size_(size), sector_size_(sector_size) {}
  virtual ~BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;

  std::uint64_t size() const noexcept { return size_; }
  std::uint32_t sector_size() const noexcept { return sector_size_; }

  /// Where the bytes at `offset` live.
  /// @param offset bytes, below size()
  /// @param length bytes wanted, at least 1, offset + length <= size()
  /// @return an extent of 1 to `length` bytes that begins at `offset`. Neighbouring answers may be
  ///   of one kind; the read loop merges them. The more a device covers in one answer the better.
  /// @throws Error when the tables that would tell are damaged or cannot be read
  virtual Extent map(std::uint64_t offset, std::uint64_t length) const = 0;

  /// Produces bytes for which map() answered `computed`. The read loop asks for as much as one such
  /// extent covers at once, widened to multiples of granule().
  /// @param offset bytes, a multiple of granule()
  /// @param out offset + out.size() is a multiple of granule() or equals size()
  virtual void compute(std::uint64_t offset, MutableBytes out) const;

  /// The unit in bytes, a power of two, in which compute() works: an encryption sector, say. 1 when
  /// the device copes with any range itself. Computed extents begin and end on multiples of it (or
  /// at size()), but are cut to the range that map() was asked for.
  virtual std::uint32_t granule() const noexcept { return 1; }

  /// The number of bytes that compute() produces with the work for one of them: a compressed
  /// cluster, say. A caller that reads in pieces should use pieces that begin and end on multiples
  /// of it.
  virtual std::uint32_t compute_unit() const noexcept { return granule(); }

  /// A bound from above, at bounded cost, on how many bytes are stored for this device (st_blocks).
  virtual std::uint64_t allocated_bytes() const { return size_; }

  // --- Writing; all code writes through the write loop in peelfs/io.h ---

  /// Whether bytes may be written at all. It never changes but from true to false, before the first
  /// write (when an image turns out to be the backing file of another). False unless every layer
  /// below, down to a storage that was opened for writing, can take them.
  virtual bool writable() const noexcept { return false; }

  /// writable(), which asks every layer below, but asked only until the answer is no.
  bool may_be_written() const noexcept {
    if (is_read_only_.load(std::memory_order_relaxed)) return false;
    if (writable()) return true;
    is_read_only_.store(true, std::memory_order_relaxed);
    return false;
  }

  /// Why it is not writable, for a person; empty: a layer below knows, or the run did not ask to
  /// write.
  virtual std::string read_only_reason() const { return {}; }

  /// Says that an image is read on top of these bytes (they are its backing file): from then on
  /// every device on the same storage refuses to write to it.
  /// @param by the image's name, for messages
  /// @return to be kept as long as that is so; null: nothing is done here (the code that opens a
  ///   file of the host has locked it)
  /// @throws Error(Fault::denied) with EBUSY when it has been written to already
  virtual std::shared_ptr<const void> rely_on(const std::string& by) const;

  /// Where bytes that are written at `offset` go: storage and lower are overwritten in place,
  /// computed goes to store() or store_zeroes(). Only for WriteKind::zeroes and discard there is
  /// `zero`: it reads as zero already, and nothing is to be done. The answer holds as map()'s does.
  /// The default: where map() says that they are read from; bytes for which there is no place are
  /// an Error. Only called when writable().
  virtual Extent map_write(std::uint64_t offset, std::uint64_t length, WriteKind kind) const;

  /// Takes bytes for which map_write() answered `computed`. The write loop holds the range, widened
  /// to multiples of write_granule(), against every other store in it.
  /// @param offset bytes, a multiple of granule()
  /// @param data offset + data.size() is a multiple of granule() or equals size()
  virtual void store(std::uint64_t offset, Bytes data) const;

  /// Makes a range read as zero; called like store(). The default stores zero bytes.
  virtual void store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const;

  /// The unit in bytes, a power of two and a multiple of granule(), that store() may touch as a
  /// whole: a cluster, say. Stores to one unit never run at the same time.
  virtual std::uint32_t write_granule() const noexcept { return granule(); }

  /// Returns when everything that was written, to this device or through it, is on the host's disk.
  /// Devices pass it on to what they lie on. @throws Error, and then again at every later call:
  /// what was lost stays lost
  virtual void flush() const {}

  /// The same storage for an image format that allocates in it: as large as it can ever become,
  /// zeroes where nothing is stored yet; writing there extends it. Null: it cannot grow.
  virtual std::shared_ptr<const BlockDevice> growable() const { return nullptr; }

  /// The same device with the size that its storage has now, once that has grown under a format
  /// that allocates in it; null: this one is still the whole of it.
  virtual std::shared_ptr<const BlockDevice> regrown() const { return nullptr; }

  /// The bytes of a lower device, one for one, that the bytes at `offset` are computed from; of
  /// kind lower, or zero when that cannot be told. Drives `peelfs diff`.
  virtual Extent computed_from(std::uint64_t offset, std::uint64_t length) const;

  /// What it is, for a person: "LV vgq/lvq", "partition 2 of os43". Used as context of an Error.
  virtual std::string describe() const = 0;

  /// Locks on ranges for stores and for reads of computed bytes. Only the read loop and the write
  /// loop use them.
  RangeLocks& ranges() const noexcept { return ranges_; }

 private:
  const std::uint64_t size_;
  const std::uint32_t sector_size_;
  mutable RangeLocks ranges_;
  mutable std::atomic<bool> is_read_only_{false};
};

using DevicePtr = std::shared_ptr<const BlockDevice>;

}  // namespace peelfs
