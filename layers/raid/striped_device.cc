#include "raid/striped_device.h"

#include <algorithm>
#include <set>

#include "peelfs/error.h"
#include "peelfs/figure.h"

namespace peelfs::raid {

namespace {

class Striped : public BlockDevice {
 public:
  Striped(std::vector<Piece> stripes, std::uint64_t stripe_size, std::uint64_t size,
          std::string description)
      : BlockDevice(size),
        stripes_(std::move(stripes)),
        stripe_size_(stripe_size),
        description_(std::move(description)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t chunk = offset / stripe_size_;
    const std::uint64_t within = offset % stripe_size_;
    const Piece& stripe = stripes_[chunk % stripes_.size()];
    const std::uint64_t row = chunk / stripes_.size();
    return Extent::in_device(*stripe.device, stripe.offset + row * stripe_size_ + within,
                             std::min(length, stripe_size_ - within));
  }

  bool writable() const noexcept override {
    return std::all_of(stripes_.begin(), stripes_.end(),
                       [](const Piece& stripe) { return stripe.device->writable(); });
  }
  std::string read_only_reason() const override {
    for (const Piece& stripe : stripes_) {
      std::string reason = stripe.device->writable() ? "" : stripe.device->read_only_reason();
      if (!reason.empty()) return reason;
    }
    return {};
  }
  void flush() const override {
    std::vector<DevicePtr> devices;
    for (const Piece& stripe : stripes_) devices.push_back(stripe.device);
    flush_all(devices);
  }

  std::uint64_t allocated_bytes() const override {
    std::set<const BlockDevice*> seen;
    std::uint64_t sum = 0;
    for (const Piece& stripe : stripes_) {
      if (!seen.insert(stripe.device.get()).second) continue;
      sum += std::min(stripe.device->allocated_bytes(), size());
      if (sum >= size()) return size();
    }
    return sum;
  }
  std::string describe() const override { return description_; }

 private:
  const std::vector<Piece> stripes_;
  const std::uint64_t stripe_size_;
  const std::string description_;
};

}  // namespace

DevicePtr make_striped(std::vector<Piece> stripes, std::uint64_t stripe_size,
                       std::string description) {
  const std::uint64_t length = stripes.front().length;
  for (const Piece& stripe : stripes) {
    if (stripe.length == length && stripe.offset <= stripe.device->size() &&
        length <= stripe.device->size() - stripe.offset) {
      continue;
    }
    throw Error(Fault::damaged,
                description + ": a stripe lies outside of " + stripe.device->describe())
        .found(figure(stripe.length) + " bytes at offset " + figure(stripe.offset))
        .expected(std::to_string(length) + " bytes within its " +
                  std::to_string(stripe.device->size()));
  }
  if (stripe_size == 0 || length % stripe_size != 0) {
    throw Error(Fault::damaged, description + ": stripes are not a whole number of chunks")
        .found(figure(length) + " bytes in chunks of " + figure(stripe_size))
        .expected("a multiple, as device-mapper demands");
  }
  const std::uint64_t size = checked_mul(length, stripes.size(), "size of " + description);
  return std::make_shared<Striped>(std::move(stripes), stripe_size, size, std::move(description));
}

}  // namespace peelfs::raid
