#include "ext/channel.h"

#include <algorithm>
#include <cstring>

#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::ext {

namespace {

// Inode tables are read in order: 64 KiB hold 256 inodes of the usual size.
constexpr std::size_t kChunkSize = std::size_t{64} << 10U;
constexpr std::size_t kChunksKept = 32;

// The library's open callback is given a name only; the channel that is being opened waits here.
thread_local DeviceChannel* opening = nullptr;

errcode_t close_callback(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  ext2fs_free_mem(&channel->name);
  ext2fs_free_mem(&channel);
  return 0;
}

errcode_t set_block_size(io_channel channel, int size) {
  channel->block_size = size;
  return 0;
}

errcode_t refuse_write(io_channel, unsigned long, int, const void*) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t refuse_write64(io_channel, unsigned long long, int, const void*) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t refuse_bytes(io_channel, unsigned long, int, const void*) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t refuse_range(io_channel, unsigned long long, unsigned long long) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t nothing_to_flush(io_channel) {
  return 0;
}

errcode_t no_option(io_channel, const char*, const char*) {
  return EXT2_ET_INVALID_ARGUMENT;
}

errcode_t no_statistics(io_channel, io_stats* stats) {
  if (stats != nullptr) *stats = nullptr;
  return 0;
}

}  // namespace

struct_io_manager& DeviceChannel::manager() {
  // The library only ever reads it, but takes it as a pointer to something that can change.
  static struct_io_manager instance = [] {
    struct_io_manager result{};
    result.magic = EXT2_ET_MAGIC_IO_MANAGER;
    result.name = "peelfs device";
    result.open = open_callback;
    result.close = close_callback;
    result.set_blksize = set_block_size;
    result.read_blk = [](io_channel channel, unsigned long block, int count, void* data) {
      return read_callback(channel, block, count, data);
    };
    result.read_blk64 = read_callback;
    result.write_blk = refuse_write;
    result.write_blk64 = refuse_write64;
    result.write_byte = refuse_bytes;
    result.discard = refuse_range;
    result.zeroout = refuse_range;
    result.flush = nothing_to_flush;
    result.set_option = no_option;
    result.get_stats = no_statistics;
    return result;
  }();
  return instance;
}

errcode_t DeviceChannel::open(int flags, ext2_filsys* handle) {
  opening = this;
  zeroes_beyond_end_ = true;
  const errcode_t code = ext2fs_open2("peelfs", nullptr, flags, 0, 0, &manager(), handle);
  zeroes_beyond_end_ = false;
  opening = nullptr;
  return code;
}

errcode_t DeviceChannel::open_callback(const char*, int, io_channel* channel) {
  io_channel made = nullptr;
  if (const errcode_t code = ext2fs_get_memzero(sizeof(struct struct_io_channel), &made)) {
    return code;
  }
  made->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  made->manager = &manager();
  made->block_size = 1024;
  made->refcount = 1;
  made->private_data = opening;
  // The library's own messages print it.
  if (const errcode_t code = ext2fs_get_memzero(8, &made->name)) {
    ext2fs_free_mem(&made);
    return code;
  }
  std::memcpy(made->name, "peelfs", 7);
  *channel = made;
  return 0;
}

errcode_t DeviceChannel::read_callback(io_channel channel, unsigned long long block, int count,
                                       void* data) {
  auto& self = *static_cast<DeviceChannel*>(channel->private_data);
  // A negative count is one of bytes.
  const auto block_size = static_cast<std::uint64_t>(channel->block_size);
  const std::uint64_t length = count < 0 ? -static_cast<std::int64_t>(count)
                                         : static_cast<std::uint64_t>(count) * block_size;
  if (block > ~std::uint64_t{0} / block_size) return EXT2_ET_BAD_BLOCK_NUM;
  return self.read(block * block_size, {static_cast<std::byte*>(data), length});
}

errcode_t DeviceChannel::read(std::uint64_t offset, MutableBytes out) {
  const std::uint64_t size = device_.size();
  std::size_t inside = out.size();
  if (offset >= size || inside > size - offset) {
    if (!zeroes_beyond_end_) return EXT2_ET_SHORT_READ;
    inside = offset >= size ? 0 : size - offset;
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(inside), out.end(), std::byte{0});
  }
  try {
    read_cached(offset, out.first(inside));
    return 0;
  } catch (...) {
    // The exception must not pass through the library's functions, which are C; Library throws it
    // again.
    failure_ = std::current_exception();
    return EXT2_ET_SHORT_READ;
  }
}

void DeviceChannel::read_cached(std::uint64_t offset, MutableBytes out) {
  try {
    for (std::size_t done = 0; done < out.size();) {
      const std::uint64_t at = offset + done;
      const Buffer& bytes = chunk(at / kChunkSize);
      const std::size_t within = at % kChunkSize;
      const std::size_t length = std::min(out.size() - done, bytes.size() - within);
      std::memcpy(out.data() + done, bytes.data() + within, length);
      done += length;
    }
  } catch (const Error&) {
    // A bad sector must not take its neighbours with it: only what was asked for counts.
    peelfs::read(device_, offset, out);
  }
}

const Buffer& DeviceChannel::chunk(std::uint64_t number) {
  if (const auto found = index_.find(number); found != index_.end()) {
    chunks_.splice(chunks_.begin(), chunks_, found->second);
    return chunks_.front().bytes;
  }
  Buffer bytes = read_up_to(device_, number * kChunkSize, kChunkSize);
  chunks_.push_front({number, std::move(bytes)});
  index_[number] = chunks_.begin();
  if (chunks_.size() > kChunksKept) {
    index_.erase(chunks_.back().number);
    chunks_.pop_back();
  }
  return chunks_.front().bytes;
}

}  // namespace peelfs::ext
