// A device on storage that can run out of space, page by page, as a sparse file on a full disk
// does.
#pragma once

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs::test {

/// Memory that has pages of 4096 bytes only where something was written. A write takes them in
/// order, and stops at the first that it cannot have: what came before it is written then.
class Scarcity {
 public:
  static constexpr std::uint64_t page = 4096;
  using Page = std::array<std::byte, page>;

  /// Pages that may still be taken.
  void allow(std::uint64_t pages) {
    const std::lock_guard lock(mutex_);
    left_ = pages;
  }
  std::uint64_t end() const {
    const std::lock_guard lock(mutex_);
    return end_;
  }
  /// Puts bytes there that need no permission; pages of zeroes stay holes.
  void put(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    pages_.clear();
    end_ = bytes.size();
    for (std::uint64_t at = 0; at < bytes.size(); at += page) {
      const Bytes part = bytes.subspan(at, std::min<std::uint64_t>(page, bytes.size() - at));
      if (std::all_of(part.begin(), part.end(), [](std::byte b) { return b == std::byte{0}; })) {
        continue;
      }
      Page& fresh = pages_[at / page];
      fresh.fill(std::byte{0});
      std::copy(part.begin(), part.end(), fresh.begin());
    }
  }
  Buffer bytes() const {
    Buffer all(end());
    read(0, all);
    return all;
  }

  void read(std::uint64_t offset, MutableBytes out) const {
    const std::lock_guard lock(mutex_);
    each(offset, out.size(),
         [&](std::uint64_t index, std::size_t within, std::size_t done, std::size_t length) {
           const auto found = pages_.find(index);
           if (found == pages_.end()) {
             std::memset(out.data() + done, 0, length);
           } else {
             std::memcpy(out.data() + done, found->second.data() + within, length);
           }
         });
  }
  void write(std::uint64_t offset, Bytes data) {
    const std::lock_guard lock(mutex_);
    each(offset, data.size(),
         [&](std::uint64_t index, std::size_t within, std::size_t done, std::size_t length) {
           auto found = pages_.find(index);
           if (found == pages_.end()) {
             if (left_ == 0) {
               throw Error(Fault::io, "the storage of the test is full").with_errno(ENOSPC);
             }
             --left_;
             found = pages_.try_emplace(index).first;
             found->second.fill(std::byte{0});
           }
           std::memcpy(found->second.data() + within, data.data() + done, length);
           end_ = std::max(end_, offset + done + length);
         });
  }
  void zero(std::uint64_t offset, std::uint64_t length, bool discard) {
    const std::lock_guard lock(mutex_);
    each(offset, length,
         [&](std::uint64_t index, std::size_t within, std::size_t, std::size_t part) {
           const auto found = pages_.find(index);
           if (found == pages_.end()) return;
           if (discard && part == page) {
             pages_.erase(found);
           } else {
             std::memset(found->second.data() + within, 0, part);
           }
         });
  }

 private:
  template <typename Each>
  static void each(std::uint64_t offset, std::uint64_t length, const Each& one) {
    for (std::size_t done = 0; done < length;) {
      const std::size_t within = (offset + done) % page;
      const std::size_t part = std::min<std::uint64_t>(page - within, length - done);
      one((offset + done) / page, within, done, part);
      done += part;
    }
  }

  mutable std::mutex mutex_;
  std::map<std::uint64_t, Page> pages_;
  std::uint64_t left_ = ~std::uint64_t{0};
  std::uint64_t end_ = 0;
};

/// A device on it; several may be, and growable() makes one.
class ScarceDevice : public BlockDevice {
 public:
  ScarceDevice(std::shared_ptr<Scarcity> storage, std::uint64_t size)
      : BlockDevice(size), storage_(std::move(storage)) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    storage_->read(offset, out);
  }
  bool writable() const noexcept override { return true; }
  void store(std::uint64_t offset, Bytes data) const override { storage_->write(offset, data); }
  void store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override {
    storage_->zero(offset, length, kind == WriteKind::discard);
  }
  std::uint32_t write_granule() const noexcept override { return Scarcity::page; }
  DevicePtr growable() const override {
    return std::make_shared<ScarceDevice>(storage_, std::uint64_t{1} << 50U);
  }
  std::string describe() const override { return "scarce memory"; }

 private:
  const std::shared_ptr<Scarcity> storage_;
};

/// All of what is stored, as a device.
inline DevicePtr device_on(const std::shared_ptr<Scarcity>& storage) {
  return std::make_shared<ScarceDevice>(storage, storage->end());
}

}  // namespace peelfs::test
