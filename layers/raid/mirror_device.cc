#include "raid/mirror_device.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"
#include "peelfs/partial_write.h"

namespace peelfs::raid {

namespace {

constexpr std::size_t kZeroStep = std::size_t{1} << 20U;

class Mirror : public BlockDevice {
 public:
  Mirror(std::vector<Piece> legs, std::vector<Mark> marks, std::string description)
      : BlockDevice(legs.front().length, legs.front().device->sector_size()),
        legs_(std::move(legs)),
        marks_(std::move(marks)),
        description_(std::move(description)) {
    for (const Piece& leg : legs_) devices_.push_back(leg.device);
    for (const Mark& mark : marks_) mark_devices_.push_back(mark.device);
  }

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*legs_.front().device, legs_.front().offset + offset, length);
  }
  Extent map_write(std::uint64_t, std::uint64_t length, WriteKind) const override {
    return Extent::computed(length);
  }
  // The write loop holds the range, so two writers of the same bytes leave the same on all legs.
  void store(std::uint64_t offset, Bytes data) const override {
    std::optional<Error> full;
    on_all_legs([&] { full = store_alike(offset, data); });
    if (full) throw Error(*std::move(full));
  }
  void store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override {
    on_all_legs([&] {
      for (const Piece& leg : legs_) zero_leg(leg, offset, length, kind);
    });
  }

  bool writable() const noexcept override { return true; }
  void flush() const override {
    check_failed();
    const std::uint64_t before = writes_;
    flush_all(devices_);
    take_marks_back(before);
  }

  std::uint64_t allocated_bytes() const override {
    return std::min(size(), legs_.front().device->allocated_bytes());
  }
  std::string describe() const override { return description_; }

 private:
  void on_all_legs(const std::function<void()>& change) const {
    check_failed();
    ReaderLock lock(marking_);
    while (!marked_) {
      lock.unlock();
      set_marks();
      lock.lock();
    }
    try {
      change();
      ++writes_;
    } catch (...) {
      failed_ = true;
      throw;
    }
  }

  /// If one leg runs out of space, all legs keep the new bytes before that place, and the old bytes
  /// behind it.
  /// @return why not all of the bytes are written
  std::optional<Error> store_alike(std::uint64_t offset, Bytes data) const {
    std::optional<Error> full;
    std::size_t alike = data.size();
    for (std::size_t i = 0; i < legs_.size() && alike != 0; ++i) {
      const Piece& leg = legs_[i];
      std::size_t written = 0;
      try {
        written = write_some(*leg.device, leg.offset + offset, data.first(alike));
        if (written == alike) continue;
        full = Error(Fault::io, "a leg has no space left").with_errno(ENOSPC);
      } catch (const Error& error) {
        if (!is_no_space(error.error_number())) throw;
        full = error;
      }
      // The legs before this one have the new bytes, so they have space for the old ones, which are
      // written back.
      const Buffer old = read_bytes(*leg.device, leg.offset + offset + written, alike - written);
      for (std::size_t before = 0; before < i; ++before) {
        write(*legs_[before].device, legs_[before].offset + offset + written, old);
      }
      alike = written;
    }
    return full;
  }

  static void zero_leg(const Piece& leg, std::uint64_t offset, std::uint64_t length,
                       WriteKind kind) {
    try {
      zero(*leg.device, leg.offset + offset, length, kind);
      return;
    } catch (const Error& error) {
      if (error.error_number() != EOPNOTSUPP) throw;
    }
    // Another leg may have become zero already, and part of this one.
    const Buffer zeroes(std::min<std::uint64_t>(length, kZeroStep));
    for (std::uint64_t done = 0; done < length;) {
      const std::size_t step = std::min<std::uint64_t>(zeroes.size(), length - done);
      write(*leg.device, leg.offset + offset + done, Bytes(zeroes).first(step));
      done += step;
    }
  }

  void set_marks() const {
    const WriterLock lock(marking_);
    if (marked_) return;
    for (const Mark& mark : marks_) write(*mark.device, mark.offset, mark.differs);
    flush_all(mark_devices_);
    marked_ = true;
  }

  /// @param durable how many writes had ended before a flush that has succeeded
  void take_marks_back(std::uint64_t durable) const {
    const WriterLock lock(marking_);  // no write is under way
    if (!marked_ || writes_ != durable || failed_) return;
    marked_ = false;
    for (const Mark& mark : marks_) write(*mark.device, mark.offset, mark.clean);
    flush_all(mark_devices_);
  }

  void check_failed() const {
    if (!failed_) return;
    throw Error(Fault::io, description_ + ": a write has reached some of its legs only")
        .advice(
            "nothing more is written; when LVM activates it, the legs are made equal to the first")
        .with_errno(EIO);
  }

  const std::vector<Piece> legs_;
  const std::vector<Mark> marks_;
  const std::string description_;
  std::vector<DevicePtr> devices_, mark_devices_;
  mutable SharedMutex marking_;  ///< shared by writes
  mutable bool marked_ PEELFS_GUARDED_BY(marking_) = false;
  mutable std::atomic<std::uint64_t> writes_ = 0;
  mutable std::atomic<bool> failed_ = false;
};

}  // namespace

DevicePtr make_mirror(std::vector<Piece> legs, std::vector<Mark> marks, std::string description) {
  return std::make_shared<Mirror>(std::move(legs), std::move(marks), std::move(description));
}

}  // namespace peelfs::raid
