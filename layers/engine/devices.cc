#include "peelfs/devices.h"

#include <algorithm>
#include <exception>
#include <set>

#include "engine/missing.h"

namespace peelfs {

namespace {

class Slice : public BlockDevice {
 public:
  Slice(DevicePtr lower, std::uint64_t begin, std::uint64_t length, std::string description)
      : BlockDevice(length, lower->sector_size()),
        lower_(std::move(lower)),
        begin_(begin),
        description_(std::move(description)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*lower_, begin_ + offset, length);
  }
  bool writable() const noexcept override { return lower_->writable(); }
  std::string read_only_reason() const override { return lower_->read_only_reason(); }
  void flush() const override { lower_->flush(); }
  std::uint64_t allocated_bytes() const override {
    return std::min(size(), lower_->allocated_bytes());
  }
  std::string describe() const override { return description_; }

 private:
  const DevicePtr lower_;
  const std::uint64_t begin_;
  const std::string description_;
};

class Concat : public BlockDevice, public PartlyMissing {
 public:
  Concat(std::vector<Piece> pieces, std::vector<std::uint64_t> ends, Error missing,
         std::string description, std::uint32_t sector_size)
      : BlockDevice(ends.empty() ? 0 : ends.back(), sector_size),
        pieces_(std::move(pieces)),
        ends_(std::move(ends)),
        missing_(std::move(missing)),
        description_(std::move(description)) {
    std::set<const BlockDevice*> distinct;
    for (const Piece& piece : pieces_) {
      if (piece.device && distinct.insert(piece.device.get()).second) {
        carriers_.push_back(piece.device);
      }
    }
  }

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), offset);
    const Piece& piece = pieces_[static_cast<std::size_t>(end - ends_.begin())];
    if (!piece.device) throw Error(missing_);
    const std::uint64_t skip = offset - (*end - piece.length);
    return Extent::in_device(*piece.device, piece.offset + skip, std::min(length, *end - offset));
  }
  std::uint64_t missing(std::uint64_t offset, std::uint64_t length) const override {
    auto end = std::upper_bound(ends_.begin(), ends_.end(), offset);
    const auto there = std::find_if(pieces_.begin() + (end - ends_.begin()), pieces_.end(),
                                    [](const Piece& piece) { return piece.device != nullptr; });
    end = ends_.begin() + (there - pieces_.begin());
    const std::uint64_t gap_end = end == ends_.begin() ? 0 : *std::prev(end);
    return gap_end > offset ? std::min(length, gap_end - offset) : 0;
  }

  bool writable() const noexcept override {
    return !carriers_.empty() &&
           std::all_of(carriers_.begin(), carriers_.end(),
                       [](const DevicePtr& carrier) { return carrier->writable(); });
  }
  std::string read_only_reason() const override {
    for (const DevicePtr& carrier : carriers_) {
      std::string reason = carrier->writable() ? "" : carrier->read_only_reason();
      if (!reason.empty()) return reason;
    }
    return {};
  }
  void flush() const override { flush_all(carriers_); }

  std::uint64_t allocated_bytes() const override {
    std::uint64_t sum = 0;
    for (const DevicePtr& carrier : carriers_) {
      sum += std::min(carrier->allocated_bytes(), size());
      if (sum >= size()) return size();
    }
    return sum;
  }
  std::string describe() const override { return description_; }

 private:
  const std::vector<Piece> pieces_;
  const std::vector<std::uint64_t> ends_;  ///< the offset behind each piece
  const Error missing_;
  const std::string description_;
  std::vector<DevicePtr> carriers_;
};

class ReadOnly : public BlockDevice {
 public:
  ReadOnly(DevicePtr lower, std::string reason)
      : BlockDevice(lower->size(), lower->sector_size()),
        lower_(std::move(lower)),
        reason_(std::move(reason)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*lower_, offset, length);
  }
  std::string read_only_reason() const override { return reason_; }
  std::uint64_t allocated_bytes() const override { return lower_->allocated_bytes(); }
  std::string describe() const override { return lower_->describe(); }

 private:
  const DevicePtr lower_;
  const std::string reason_;
};

class Unreadable : public BlockDevice, public PartlyMissing {
 public:
  Unreadable(std::uint64_t size, Error why, std::string description)
      : BlockDevice(size), why_(std::move(why)), description_(std::move(description)) {}

  Extent map(std::uint64_t, std::uint64_t) const override { throw Error(why_); }
  std::uint64_t missing(std::uint64_t, std::uint64_t length) const override { return length; }
  std::string read_only_reason() const override { return why_.what(); }
  std::string describe() const override { return description_; }

 private:
  const Error why_;
  const std::string description_;
};

void check_inside(const BlockDevice& lower, std::uint64_t offset, std::uint64_t length,
                  const std::string& description) {
  if (offset <= lower.size() && length <= lower.size() - offset) return;
  throw Error(Fault::damaged, description + " lies outside of " + lower.describe())
      .found(std::to_string(length) + " bytes at offset " + std::to_string(offset))
      .expected("an end within its " + std::to_string(lower.size()) + " bytes")
      .advice("the image may be truncated: compare its size with the original's");
}

}  // namespace

DevicePtr make_slice(DevicePtr lower, std::uint64_t offset, std::uint64_t length,
                     std::string description) {
  check_inside(*lower, offset, length, description);
  return std::make_shared<Slice>(std::move(lower), offset, length, std::move(description));
}

DevicePtr make_concat(std::vector<Piece> pieces, Error missing, std::string description,
                      std::uint32_t sector_size) {
  std::erase_if(pieces, [](const Piece& piece) { return piece.length == 0; });
  std::vector<std::uint64_t> ends;
  ends.reserve(pieces.size());
  std::uint64_t end = 0;
  for (const Piece& piece : pieces) {
    if (piece.device) check_inside(*piece.device, piece.offset, piece.length, description);
    end = checked_add(end, piece.length, "size of " + description);
    ends.push_back(end);
  }
  return std::make_shared<Concat>(std::move(pieces), std::move(ends), std::move(missing),
                                  std::move(description), sector_size);
}

DevicePtr make_read_only(DevicePtr lower, std::string reason) {
  return std::make_shared<ReadOnly>(std::move(lower), std::move(reason));
}

void flush_all(std::span<const DevicePtr> devices) {
  std::exception_ptr first;
  for (const DevicePtr& device : devices) {
    try {
      device->flush();
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

DevicePtr make_unreadable(std::uint64_t size, Error why, std::string description) {
  return std::make_shared<Unreadable>(size, std::move(why), std::move(description));
}

}  // namespace peelfs
