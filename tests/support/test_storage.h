// A storage that is no host file: in memory, as slow and as faulty as a test wants it, and with a
// liking for large requests, as one behind a network has.
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "peelfs/error.h"
#include "peelfs/storage.h"

namespace peelfs::test {

class TestStorage final : public Storage {
 public:
  struct Request {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    auto operator<=>(const Request&) const = default;
  };

  explicit TestStorage(Buffer bytes, std::string name = "mem://disk")
      : bytes_(std::move(bytes)), size_(bytes_.size()), name_(std::move(name)) {}

  void set_writable() { writable_ = true; }
  void set_best_read(std::uint32_t bytes) { best_read_ = bytes; }
  void set_delay(std::chrono::microseconds delay) { delay_ = delay; }
  /// Requests that touch this byte fail with `error_number`.
  void fail_at(std::uint64_t offset, int error_number) { faults_[offset] = error_number; }
  void heal() { faults_.clear(); }

  /// The requests for reading so far, in the order in which they came; forgotten then.
  std::vector<Request> take_requests() {
    const std::lock_guard lock(mutex_);
    return std::exchange(requests_, {});
  }
  std::uint64_t flushes() const { return flushes_; }
  Buffer bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

  const std::string& name() const noexcept override { return name_; }
  StorageId identity() const override { return {{}, name_}; }
  std::uint64_t size() const noexcept override { return size_; }
  bool writable() const noexcept override { return writable_; }
  std::uint32_t best_read() const noexcept override { return best_read_; }

  void read(std::uint64_t offset, std::span<const iovec> buffers) const override {
    std::this_thread::sleep_for(delay_);
    const std::lock_guard lock(mutex_);
    requests_.push_back({offset, total(buffers)});
    check(offset, total(buffers), "reading ");
    for (const iovec& buffer : buffers) {
      std::memcpy(buffer.iov_base, bytes_.data() + offset, buffer.iov_len);
      offset += buffer.iov_len;
    }
  }
  void write(std::uint64_t offset, std::span<const iovec> buffers) const override {
    if (!writable_) return Storage::write(offset, buffers);
    std::this_thread::sleep_for(delay_);
    const std::lock_guard lock(mutex_);
    check(offset, total(buffers), "writing ");
    for (const iovec& buffer : buffers) {
      std::memcpy(bytes_.data() + offset, buffer.iov_base, buffer.iov_len);
      offset += buffer.iov_len;
    }
  }
  void flush() const override { ++flushes_; }

 private:
  static std::uint64_t total(std::span<const iovec> buffers) {
    std::uint64_t sum = 0;
    for (const iovec& buffer : buffers) sum += buffer.iov_len;
    return sum;
  }
  void check(std::uint64_t offset, std::uint64_t length, const char* what) const {
    if (offset + length > bytes_.size()) {
      throw Error(Fault::io, name_ + " has become shorter").with_errno(EIO);
    }
    const auto fault = faults_.lower_bound(offset);
    if (fault == faults_.end() || fault->first >= offset + length) return;
    throw Error::system(fault->second, what + name_ + " at offset " + std::to_string(offset));
  }

  mutable std::mutex mutex_;
  mutable Buffer bytes_;
  const std::uint64_t size_;
  const std::string name_;
  bool writable_ = false;
  std::uint32_t best_read_ = 128U << 10U;
  std::chrono::microseconds delay_{0};
  std::map<std::uint64_t, int> faults_;
  mutable std::vector<Request> requests_;
  mutable std::atomic<std::uint64_t> flushes_{0};
};

}  // namespace peelfs::test
