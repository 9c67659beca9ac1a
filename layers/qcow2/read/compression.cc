#include "qcow2/read/compression.h"

#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <new>
#include <string>

#include "peelfs/error.h"
#include "qcow2/qcow2_disk.h"

namespace peelfs::qcow2 {

namespace {

[[noreturn]] void fail(std::string_view method, const std::string& found, Bytes packed,
                       MutableBytes out) {
  throw Error(Fault::damaged, "a compressed cluster (" + std::string(method) + ") is damaged")
      .found(found)
      .expected(std::to_string(out.size()) + " bytes out of " + std::to_string(packed.size()) +
                " compressed ones");
}

struct FreeDecompressor {
  void operator()(libdeflate_decompressor* decompressor) const noexcept {
    libdeflate_free_decompressor(decompressor);
  }
};

/// @return false: not a whole stream of exactly this length, which may be right all the same
bool deflated_whole(Bytes packed, MutableBytes out) {
  thread_local const std::unique_ptr<libdeflate_decompressor, FreeDecompressor> decompressor(
      libdeflate_alloc_decompressor());
  if (!decompressor) throw std::bad_alloc();
  // Bytes behind the end marker in its sector belong to other clusters; the number of bytes that
  // were used is not needed.
  return libdeflate_deflate_decompress_ex(decompressor.get(), packed.data(), packed.size(),
                                          out.data(), out.size(), nullptr,
                                          nullptr) == LIBDEFLATE_SUCCESS;
}

/// Copes with streams that have no end, and says what is wrong with others.
class Inflater {
 public:
  Inflater() {
    // Negative: raw deflate; 12: what qemu writes and reads.
    if (inflateInit2(&stream_, -12) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  void run(Bytes packed, MutableBytes out) {
    inflateReset(&stream_);
    // zlib does not write to its input; its interface is older than const.
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    stream_.avail_in = static_cast<uInt>(packed.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream_, Z_FINISH);
    // The buffer must be full, and that is enough: the length of the packed data is known in whole
    // sectors only, and the end marker may not have been reached.
    if ((result == Z_STREAM_END || result == Z_BUF_ERROR) && stream_.avail_out == 0) return;
    const std::string produced = std::to_string(out.size() - stream_.avail_out) + " bytes";
    fail("zlib", stream_.msg != nullptr ? produced + ", then: " + stream_.msg : produced, packed,
         out);
  }

 private:
  z_stream stream_{};
};

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

void unzstd(Bytes packed, MutableBytes out) {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  if (!context) throw std::bad_alloc();
  // Frame by frame, because bytes behind the last frame in its sector belong to other clusters.
  std::size_t taken = 0;
  std::size_t made = 0;
  while (made < out.size()) {
    const Bytes rest = packed.subspan(taken);
    const std::size_t frame = ZSTD_findFrameCompressedSize(rest.data(), rest.size());
    if (ZSTD_isError(frame) != 0) fail("zstd", ZSTD_getErrorName(frame), packed, out);
    const std::size_t got = ZSTD_decompressDCtx(context.get(), out.data() + made, out.size() - made,
                                                rest.data(), frame);
    if (ZSTD_isError(got) != 0) fail("zstd", ZSTD_getErrorName(got), packed, out);
    taken += frame;
    made += got;
  }
}

}  // namespace

void decompress(std::uint8_t type, Bytes packed, MutableBytes out) {
  if (type == kCompressionZstd) {
    unzstd(packed, out);
    return;
  }
  // Two to three times as fast as zlib.
  if (deflated_whole(packed, out)) return;
  thread_local Inflater inflater;
  inflater.run(packed, out);
}

}  // namespace peelfs::qcow2
