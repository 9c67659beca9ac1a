#include "peelfs/storage.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/epoch.h"
#include "peelfs/error.h"

namespace peelfs {

namespace {

/// A storage as a format that allocates in it sees it.
class Growable : public BlockDevice {
 public:
  explicit Growable(std::shared_ptr<const Storage> storage)
      : BlockDevice(kGreatest, storage->sector_size()), storage_(std::move(storage)) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t end = storage_->end();
    if (offset >= end) return Extent::zeroes(length);
    return Extent::in_storage(*storage_, offset, std::min(length, end - offset));
  }
  Extent map_write(std::uint64_t offset, std::uint64_t length, WriteKind) const override {
    return Extent::in_storage(*storage_, offset, length);
  }
  bool writable() const noexcept override { return storage_->writable(); }
  void flush() const override { storage_->flush(); }
  std::uint64_t allocated_bytes() const override { return storage_->allocated_bytes(); }
  std::string describe() const override { return storage_->name(); }

 private:
  static constexpr std::uint64_t kGreatest = 1ULL << 62U;
  const std::shared_ptr<const Storage> storage_;
};

class StorageDevice : public BlockDevice {
 public:
  explicit StorageDevice(std::shared_ptr<const Storage> storage)
      : BlockDevice(storage->size(), storage->sector_size()), storage_(std::move(storage)) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_storage(*storage_, offset, length);
  }
  bool writable() const noexcept override { return storage_->writable(); }
  void flush() const override { storage_->flush(); }
  DevicePtr growable() const override {
    return storage_->can_grow() ? std::make_shared<Growable>(storage_) : nullptr;
  }
  std::uint64_t allocated_bytes() const override { return storage_->allocated_bytes(); }
  std::string describe() const override { return storage_->name(); }

 private:
  const std::shared_ptr<const Storage> storage_;
};

}  // namespace

void Storage::write(std::uint64_t /*offset*/, std::span<const iovec> /*buffers*/) const {
  throw Error(Fault::denied, name() + " can only be read").with_errno(EROFS);
}

void Storage::zero(std::uint64_t offset, std::uint64_t length, bool /*punch*/) const {
  throw Error(Fault::unsupported, "zeroing " + std::to_string(length) + " bytes of " + name() +
                                      " at offset " + std::to_string(offset))
      .with_errno(EOPNOTSUPP);
}

DevicePtr make_storage_device(std::shared_ptr<const Storage> storage) {
  return std::make_shared<StorageDevice>(std::move(storage));
}

std::uint32_t best_read(const BlockDevice& device, std::uint64_t offset) {
  const Epochs::Request request;
  const BlockDevice* at = &device;
  while (offset < at->size()) {
    const Resolved found = resolve(*at, offset, 1);
    if (found.extent.kind == ExtentKind::storage) return found.extent.storage->best_read();
    if (found.extent.kind != ExtentKind::computed) return 0;
    const Extent from = found.device->computed_from(found.offset, 1);
    if (from.kind != ExtentKind::lower) return 0;
    at = from.device;
    offset = from.offset;
  }
  return 0;
}

}  // namespace peelfs
