#include "peel/copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/missing.h"
#include "peel/copy_digest.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {
namespace {

constexpr std::uint64_t kChunk = 4U << 20;
constexpr std::uint64_t kBlock = 4096;            // what filesystems can leave out
constexpr std::uint64_t kLongestHole = 1U << 30;  // between two looks at Ctrl-C

bool all_zero(Bytes bytes) {
  return bytes[0] == std::byte{0} &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

std::optional<Error> try_read(const BlockDevice& device, std::uint64_t offset, MutableBytes out) {
  try {
    read(device, offset, out);
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

/// The run at `offset`; data where that cannot be told: the read that follows reports the error.
Run status_or_data(const BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
  try {
    return block_status(device, offset, length);
  } catch (const Error&) {
    return {true, length};
  }
}

class Copier {
 public:
  Copier(const BlockDevice& device, const Target& target, const CopyOptions& options, CopyMap& map)
      : device_(device),
        target_(target),
        options_(options),
        map_(map),
        done_(map.total(CopyMap::State::done)),
        sector_(std::clamp<std::uint64_t>(device.sector_size(), 512, kBlock)),
        buffer_(std::clamp<std::uint64_t>(device.size(), 1, kChunk)) {}

  CopyResult run() {
    const std::vector<CopyMap::Range> ranges = map_.ranges();  // a copy: marking changes them
    for (const CopyMap::Range& range : ranges) {
      if (range.state == CopyMap::State::done) continue;
      const std::uint64_t end = range.start + range.length;
      for (std::uint64_t at = range.start; at < end;) {
        ended_ = ended_ || options_.interrupted();
        if (!ended_) at += copy_some(at, end - at);
        result_.position = at;
        if (ended_) return std::move(result_);
        options_.progress(at, done_);
      }
    }
    result_.finished = true;
    return std::move(result_);
  }

 private:
  /// @return bytes dealt with from `offset` on; at least 1 unless ended_ is set
  std::uint64_t copy_some(std::uint64_t offset, std::uint64_t length) {
    const Run run = status_or_data(device_, offset, std::min(length, kLongestHole));
    // Chunks end on multiples of their size, so that layers are asked for whole clusters.
    const std::uint64_t to_boundary = round_down(offset, kChunk) + kChunk - offset;
    std::uint64_t size = std::min({length, run.length, to_boundary, std::uint64_t{buffer_.size()}});
    const MutableBytes chunk = MutableBytes(buffer_).first(size);
    if (!run.data) {
      if (target_.seekable && options_.sparse != Sparse::never) {
        size = std::min(length, run.length);
        make_hole(offset, size);
      } else {
        std::fill(chunk.begin(), chunk.end(), std::byte{0});
        write(offset, chunk);
      }
      mark_done(offset, size);
      if (options_.digest != nullptr) options_.digest->zeroes(size);
      return size;
    }
    std::vector<BadPlace> bad;
    std::uint64_t known = size;
    if (const auto error = try_read(device_, offset, chunk)) {
      const Presence there = presence(device_, offset, length);
      if (there.missing) return leave_out(offset, there.length, *error);
      known = salvage(offset, chunk, *error, bad) - offset;
    }
    write(offset, chunk.first(known));
    // Marked only now: a mapfile never claims what has not been written.
    mark_done(offset, known);
    for (BadPlace& place : bad) add_bad(std::move(place));
    if (options_.digest != nullptr) buffer_ = options_.digest->bytes(std::move(buffer_), known);
    return known;
  }

  /// Deals with a range that is known to be missing at once, however long it is.
  std::uint64_t leave_out(std::uint64_t offset, std::uint64_t length, const Error& why) {
    if (options_.stop_on_error) {
      ended_ = true;
      result_.bad.push_back({offset, length, why.what()});
      return 0;
    }
    if (!target_.seekable || options_.sparse == Sparse::never) {
      const std::uint64_t to_boundary = round_down(offset, kChunk) + kChunk - offset;
      length = std::min({length, to_boundary, std::uint64_t{buffer_.size()}});
      const MutableBytes chunk = MutableBytes(buffer_).first(length);
      std::fill(chunk.begin(), chunk.end(), std::byte{0});
      write(offset, chunk);
    } else {
      make_hole(offset, length);
    }
    mark_done(offset, length);
    add_bad({offset, length, why.what()});
    if (options_.digest != nullptr) options_.digest->zeroes(length);
    return length;
  }

  /// Reads what can be read of a range that failed as a whole, halving it until bad sectors are
  /// alone.
  /// @return the end of what is known now: the range's end, unless ended_ is set
  std::uint64_t salvage(std::uint64_t offset, MutableBytes out, const Error& why,
                        std::vector<BadPlace>& bad) {
    const std::uint64_t end = offset + out.size();
    const Presence there = presence(device_, offset, out.size());
    if (out.size() <= sector_ || (there.missing && there.length == out.size())) {
      ended_ = options_.stop_on_error || options_.interrupted();
      if (options_.stop_on_error) {
        result_.bad.push_back({offset, out.size(), why.what()});
        return offset;
      }
      std::fill(out.begin(), out.end(), std::byte{0});
      bad.push_back({offset, out.size(), why.what()});
      return end;
    }
    const std::uint64_t middle = std::max(round_down(offset + out.size() / 2, sector_),
                                          round_down(offset, sector_) + sector_);
    for (const auto& [from, to] : {std::pair(offset, middle), std::pair(middle, end)}) {
      const MutableBytes half = out.subspan(from - offset, to - from);
      const auto error = try_read(device_, from, half);
      if (!error) continue;
      const std::uint64_t known = salvage(from, half, *error, bad);
      if (ended_) return known;
    }
    return end;
  }

  void mark_done(std::uint64_t offset, std::uint64_t length) {
    map_.mark(offset, length, CopyMap::State::done);
    done_ += length;
  }

  void add_bad(BadPlace place) {
    map_.mark(place.start, place.length, CopyMap::State::bad);
    done_ -= place.length;
    if (!result_.bad.empty()) {
      BadPlace& last = result_.bad.back();
      if (last.start + last.length == place.start) {
        last.length += place.length;
        return;
      }
    }
    result_.bad.push_back(std::move(place));
  }

  /// Where nothing is written to. In a file that was begun before, something may be there.
  void make_hole(std::uint64_t offset, std::uint64_t length) {
    struct stat status {};
    if (!options_.over_old_bytes || ::fstat(target_.fd, &status) != 0) return;
    const std::uint64_t end =
        std::min(offset + length, static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0)));
    if (offset >= end) return;
    if (::fallocate(target_.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offset), static_cast<off_t>(end - offset)) == 0) {
      return;
    }
    const Buffer zeroes(std::min<std::uint64_t>(end - offset, kChunk));
    while (offset < end) {
      const auto size = std::min<std::uint64_t>(end - offset, zeroes.size());
      write_all(offset, Bytes(zeroes).first(size));
      offset += size;
    }
  }

  void write(std::uint64_t offset, Bytes bytes) {
    if (!target_.seekable || options_.sparse != Sparse::always) return write_all(offset, bytes);
    // Blocks of zeroes stay holes; what lies between them goes out in one piece.
    while (!bytes.empty()) {
      std::size_t zeroes = 0;
      std::size_t data = 0;
      const auto block = [&](std::size_t at) {
        const std::uint64_t absolute = offset + at;
        const std::uint64_t stop = round_down(absolute, kBlock) + kBlock - absolute;
        return bytes.subspan(at, std::min<std::uint64_t>(stop, bytes.size() - at));
      };
      while (zeroes < bytes.size() && all_zero(block(zeroes))) zeroes += block(zeroes).size();
      if (zeroes != 0) make_hole(offset, zeroes);
      data = zeroes;
      while (data < bytes.size() && !all_zero(block(data))) data += block(data).size();
      write_all(offset + zeroes, bytes.subspan(zeroes, data - zeroes));
      offset += data;
      bytes = bytes.subspan(data);
    }
  }

  void write_all(std::uint64_t offset, Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t put = target_.seekable ? ::pwrite(target_.fd, bytes.data(), bytes.size(),
                                                      static_cast<off_t>(offset))
                                           : ::write(target_.fd, bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        throw Error::system(
            errno, "cannot write to " + target_.name + " at byte " + std::to_string(offset));
      }
      offset += static_cast<std::uint64_t>(put);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
  }

  const BlockDevice& device_;
  const Target& target_;
  const CopyOptions& options_;
  CopyMap& map_;
  std::uint64_t done_;
  const std::uint64_t sector_;
  Buffer buffer_;
  CopyResult result_;
  bool ended_ = false;
};

}  // namespace

CopyResult copy_device(const BlockDevice& device, const Target& target, const CopyOptions& options,
                       CopyMap& map) {
  return Copier(device, target, options, map).run();
}

}  // namespace peelfs
