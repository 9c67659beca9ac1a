// NTFS with its $MFT beyond 4 GiB, as Windows places it on large volumes.
#include <gtest/gtest.h>

#include "identify/identify.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

std::uint64_t le(const Buffer& bytes, std::size_t at, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = width; i-- > 0;)
    value = value << 8U | std::to_integer<unsigned>(bytes.at(at + i));
  return value;
}

void put_le(Buffer& bytes, std::size_t at, std::uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}

Buffer read_at(const std::string& path, std::uint64_t offset, std::size_t length) {
  return read_bytes(*file_device(path), offset, length);
}

void write_at(const std::string& path, std::uint64_t offset, const Buffer& bytes,
              const TemporaryDirectory& directory) {
  const std::string piece = directory / "piece";
  write_file(piece, bytes);
  must_run("dd if='" + piece + "' of='" + path +
           "' conv=notrunc oflag=seek_bytes seek=" + std::to_string(offset) + " bs=1M status=none");
}

/// Moves $MFT to another cluster: copies its clusters, then points the boot sectors and the run
/// list of its own $DATA (in $MFT and in $MFTMirr) to the new place.
void move_mft(const std::string& path, std::uint64_t to_cluster,
              const TemporaryDirectory& directory) {
  Buffer boot = read_at(path, 0, 512);
  const std::uint64_t cluster = le(boot, 11, 2) * le(boot, 13, 1);
  const std::uint64_t from = le(boot, 48, 8) * cluster;
  const std::uint64_t mirror = le(boot, 56, 8) * cluster;
  Buffer record = read_at(path, from, 1024);
  ASSERT_EQ(as_text(Bytes(record).first(4)), "FILE");
  std::size_t attribute = le(record, 20, 2);
  while (le(record, attribute, 4) != 0x80) attribute += le(record, attribute + 4, 4);
  ASSERT_EQ(le(record, attribute + 8, 1), 1U) << "$DATA of $MFT is resident?";
  const std::size_t runs = attribute + le(record, attribute + 32, 2);
  const unsigned length_width = le(record, runs, 1) & 15U;
  const std::uint64_t clusters = le(record, runs + 1, length_width);
  const std::size_t end = attribute + le(record, attribute + 4, 4);
  ASSERT_LE(runs + 2 + length_width + 4, end) << "no room for a longer run";
  ASSERT_LT(clusters * cluster, 4U << 20U);

  const Buffer table = read_at(path, from, clusters * cluster);
  put_le(record, runs, 0x40U | length_width, 1);
  put_le(record, runs + 1 + length_width, to_cluster, 4);
  put_le(record, runs + 1 + length_width + 4, 0, 1);
  write_at(path, to_cluster * cluster, table, directory);
  write_at(path, to_cluster * cluster, record, directory);
  write_at(path, mirror, record, directory);
  write_at(path, from, Buffer(table.size()), directory);
  put_le(boot, 48, to_cluster, 8);
  write_at(path, 0, boot, directory);
  write_at(path, le(boot, 40, 8) * le(boot, 11, 2), boot, directory);  // the backup boot sector
}

TEST(IdentifyNtfs, MftBeyond4GiB) {
  if (!have_program("mkntfs") || !have_program("ntfsinfo")) {
    GTEST_SKIP() << "mkntfs and ntfsinfo (ntfs-3g) are not installed";
  }
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 12G '" + path + "' && mkntfs -Q -F -L 'far MFT' '" + path + "'");
  const std::string uuid = identify(*file_device(path)).uuid;
  move_mft(path, (5ULL << 30U) / 4096 + 17, directory);
  if (HasFatalFailure()) return;

  // Independent tools first: the image is a whole NTFS, with $MFT there.
  const std::string info = must_run("ntfsinfo -m '" + path + "'");
  EXPECT_NE(info.find("LCN of Data Attribute for FILE_MFT: 1310737"), std::string::npos) << info;
  EXPECT_EQ(run("blkid -p -o value -s LABEL '" + path + "'").output, "far MFT\n");

  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.type, "ntfs");
  EXPECT_EQ(identity.label, "far MFT");
  EXPECT_EQ(identity.uuid, uuid);
  EXPECT_EQ(identity.pttype, "");
}

}  // namespace
}  // namespace peelfs::test
