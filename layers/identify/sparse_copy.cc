#include "identify/sparse_copy.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kChunk = 256 * 1024;

// A disk with bad blocks answers each of them after seconds: an identity is not worth minutes.
constexpr unsigned kMostFailures = 16;
constexpr unsigned kMostFailuresWithoutSuccess = 3;

bool is_zero(Bytes bytes) {
  static constexpr std::array<std::byte, kPage> kZeroes{};
  return std::memcmp(bytes.data(), kZeroes.data(), bytes.size()) == 0;
}

// Growing a file beyond RLIMIT_FSIZE is a signal that ends the program.
std::uint64_t largest_file() {
  rlimit limit{};
  const std::uint64_t most = 0x7FFF'FFFF'FFFF'FFFFULL;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return most;
  return std::min<std::uint64_t>(most, limit.rlim_cur);
}

}  // namespace

SparseCopy::SparseCopy(const BlockDevice& device)
    : device_(device),
      fd_(memfd_create("peelfs-identify", MFD_CLOEXEC | MFD_ALLOW_SEALING)),
      size_(std::min(device.size(), largest_file())) {
  if (fd_ < 0) host_error_ = errno;
  if (fd_ >= 0 && ftruncate(fd_, static_cast<off_t>(size_)) != 0) {
    // No host has files as large as some damaged image claims to be.
    if (errno != EFBIG && errno != EINVAL) host_error_ = errno;
    close(fd_);
    fd_ = -1;
  }
}

void SparseCopy::check_host() const {
  if (host_error_ == 0) return;
  const std::string what = "this host has no room for the copy that is looked at";
  if (host_error_ == ENOSPC) {
    throw Error(Fault::denied, what + ": no space in its memory")
        .advice("this says nothing about the device");
  }
  throw Error::system(host_error_, what);
}

SparseCopy::~SparseCopy() {
  if (fd_ >= 0) close(fd_);
}

void SparseCopy::fill(std::uint64_t offset, std::uint64_t length) {
  if (!usable() || length == 0 || offset >= size_) return;
  std::uint64_t begin = round_down(offset, kPage);
  std::uint64_t end = offset + std::min(length, size_ - offset);
  end = std::min(size_, end + (kPage - 1 - (end - 1) % kPage));
  for (const Range& range : filled_) {
    if (begin >= range.begin && end <= range.end) return;
  }
  end = std::min(end, begin + budget_);
  if (begin == end) return;
  budget_ -= end - begin;
  filled_.push_back({begin, end});
  while (begin < end && usable()) {
    // Most of a thin image is holes, which the copy has, too.
    const std::uint64_t hole = round_down(hole_at(begin, end - begin), kPage);
    if (hole != 0) {
      begin += hole;
      continue;
    }
    const auto step = static_cast<std::size_t>(std::min<std::uint64_t>(kChunk, end - begin));
    copy_chunk(begin, step);
    begin += step;
  }
}

std::uint64_t SparseCopy::hole_at(std::uint64_t offset, std::uint64_t length) const {
  try {
    const Run run = block_status(device_, offset, length);
    return run.data ? 0 : run.length;
  } catch (const Error&) {
    return 0;  // reading meets it again, and counts it
  }
}

void SparseCopy::copy_chunk(std::uint64_t offset, std::size_t length) {
  chunk_.resize(kChunk);
  const MutableBytes chunk = MutableBytes(chunk_).first(length);
  if (!read_chunk(offset, chunk)) {
    // Page by page, so that one bad block hides only itself.
    for (std::size_t at = 0; at < length; at += kPage) {
      const MutableBytes page = chunk.subspan(at, std::min(kPage, length - at));
      if (!read_chunk(offset + at, page)) std::fill(page.begin(), page.end(), std::byte{0});
    }
  }
  // Pages of zeroes stay holes; runs of others are written with one call.
  std::size_t run = length;
  for (std::size_t at = 0; at < length; at += kPage) {
    const bool zero = is_zero(chunk.subspan(at, std::min(kPage, length - at)));
    if (!zero && run == length) run = at;
    if (zero && run != length) {
      store(offset + run, chunk.subspan(run, at - run));
      run = length;
    }
  }
  if (run != length) store(offset + run, chunk.subspan(run, length - run));
}

// An identity is a hint: bytes that cannot be read count as zeroes. A layer that opens the device
// meets the same failure where it matters, so Errors are dropped here.
bool SparseCopy::read_chunk(std::uint64_t offset, MutableBytes out) {
  if (dead_ || failures_ >= kMostFailures) return false;
  try {
    read(device_, offset, out);
    anything_read_ = true;
    bytes_read_ += out.size();
    return true;
  } catch (const Error&) {
    ++failures_;
    dead_ = !anything_read_ && failures_ >= kMostFailuresWithoutSuccess;
    return false;
  }
}

Buffer SparseCopy::look(std::uint64_t offset, std::size_t length) {
  Buffer bytes(length);
  if (offset < device_.size()) {
    const auto there =
        static_cast<std::size_t>(std::min<std::uint64_t>(length, device_.size() - offset));
    if (!read_chunk(offset, MutableBytes(bytes).first(there))) {
      std::fill(bytes.begin(), bytes.end(), std::byte{0});
    }
  }
  return bytes;
}

void SparseCopy::store(std::uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));  // below size_
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      dead_ = true;
      host_error_ = written < 0 ? errno : ENOSPC;
      return;
    }
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void SparseCopy::hide(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size_) return;
  hidden_.push_back({offset, offset + std::min(length, size_ - offset)});
}

int SparseCopy::seal() {
  if (!usable()) return -1;
  for (const Range& range : hidden_) {
    store(range.begin, Buffer(static_cast<std::size_t>(range.end - range.begin)));
  }
  if (dead_ ||
      fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    return -1;
  }
  return fd_;
}

}  // namespace peelfs
