// Compressed clusters whose streams are not what one would expect. Packed by zlib itself; qemu
// takes a cluster for whole once it is full (qcow2_zlib_decompress in its block/qcow2-threads.c).
#include "qcow2/read/compression.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "peelfs/error.h"
#include "qcow2/qcow2_disk.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

/// @param flush Z_FINISH, or Z_SYNC_FLUSH for a stream that has no end
Buffer deflated(Bytes bytes, int flush) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY),
            Z_OK);
  Buffer packed(deflateBound(&stream, bytes.size()) + 64);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, flush);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

class Deflate : public testing::Test {
 protected:
  Deflate() : cluster_(65536) {
    for (std::size_t i = 0; i < cluster_.size(); ++i) {
      cluster_[i] = static_cast<std::byte>(i * i / 700 % 50 + 32);
    }
  }
  /// @return whether it came out right; throws what decompress() does
  bool unpacks(Bytes packed) {
    Buffer out(cluster_.size(), std::byte{0xee});
    qcow2::decompress(qcow2::kCompressionDeflate, packed, out);
    return out == cluster_;
  }
  Buffer cluster_;
};

TEST_F(Deflate, AWholeStream) {
  EXPECT_TRUE(unpacks(deflated(cluster_, Z_FINISH)));
}

TEST_F(Deflate, BytesOfSomebodyElseBehindIt) {
  Buffer packed = deflated(cluster_, Z_FINISH);
  const Buffer other = pattern(300, 5);
  packed.insert(packed.end(), other.begin(), other.end());
  EXPECT_TRUE(unpacks(packed));
}

TEST_F(Deflate, AStreamWithoutAnEnd) {
  EXPECT_TRUE(unpacks(deflated(cluster_, Z_SYNC_FLUSH)));
}

TEST_F(Deflate, MoreThanACluster) {
  Buffer more = cluster_;
  more.resize(more.size() + 1000, std::byte{7});
  EXPECT_TRUE(unpacks(deflated(more, Z_FINISH)));
}

TEST_F(Deflate, LessThanAClusterIsDamaged) {
  EXPECT_THROW(unpacks(deflated(Bytes(cluster_).first(65535), Z_FINISH)), Error);
}

TEST_F(Deflate, AStreamThatIsCutOffIsDamaged) {
  const Buffer packed = deflated(cluster_, Z_FINISH);
  EXPECT_THROW(unpacks(Bytes(packed).first(packed.size() / 2)), Error);
  EXPECT_THROW(unpacks(Bytes(packed).first(0)), Error);
}

TEST_F(Deflate, NoiseIsDamaged) {
  EXPECT_THROW(unpacks(Buffer(1000, std::byte{0xff})), Error);
}

}  // namespace
}  // namespace peelfs::test
