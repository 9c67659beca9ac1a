// Dynamic VHD images, against qemu-img, and with every field of theirs wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "support/support.h"
#include "vhd/footer.h"
#include "vhd/vhd.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1U << 20U;

Opened open(const DevicePtr& file) {
  Member member;
  member.device = file;
  member.stem = "disk";
  member.unpacks_to_stem = true;
  return vhd_open({{&member, 1}, KeyRing(), Limits(), nullptr, 0});
}

class DynamicVhd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  }

  /// A raw disk with bytes here and there.
  void make_raw(std::uint64_t size) {
    must_run("truncate -s " + std::to_string(size) + " " + raw_);
    std::fstream file(raw_, std::ios::in | std::ios::out | std::ios::binary);
    std::uint64_t seed = 1;
    for (const std::uint64_t at : {std::uint64_t{0}, 2 * mib - 512, 9 * mib, size - 4096}) {
      const Buffer bytes = pattern(4096, seed++);
      file.seekp(static_cast<std::streamoff>(std::min(at, size - bytes.size())));
      file.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
    }
  }
  void convert(const std::string& options) {
    must_run("qemu-img convert -f raw -O vpc -o subformat=dynamic" + options + " " + raw_ + " " +
             vhd_);
  }
  /// A small image whose bytes a test may change.
  Buffer small_image() {
    make_raw(12 * mib);
    convert(",force_size=on");
    return read_file(vhd_);
  }
  static void put(Buffer& image, std::size_t at, std::string_view bytes) {
    std::copy_n(as_bytes(bytes).data(), bytes.size(), image.data() + at);
  }
  /// Makes the checksum of a structure right.
  static void sign(Buffer& image, std::size_t at, std::size_t size, std::size_t place) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
      if (i < place || i >= place + 4) sum += std::to_integer<std::uint32_t>(image[at + i]);
    }
    put_be<std::uint32_t>(image, at + place, ~sum);
  }
  static std::string failure(const Buffer& image) {
    try {
      const Opened opened = open(std::make_shared<MemoryDevice>(image));
      (void)read_bytes(*opened.devices.front().device, 0, 4096);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::damaged) << error.what();
      return error.what();
    }
  }

  TemporaryDirectory folder_;
  const std::string raw_ = folder_ / "disk.raw";
  const std::string vhd_ = folder_ / "disk.vhd";
  static constexpr std::size_t header_ = 512;  ///< qemu puts it behind the copy of the footer
  static constexpr std::size_t table_ = 1536;
};

TEST_F(DynamicVhd, IsTheDiskThatQemuPutIn) {
  for (const std::uint64_t size : {12 * mib, 12 * mib + 512, 300 * mib, 5000 * mib}) {
    make_raw(size);
    convert(",force_size=on");
    const DevicePtr file = file_device(vhd_);
    ASSERT_TRUE(vhd_probe({*file, {}})) << size;
    const Opened opened = open(file);
    const DevicePtr& disk = opened.devices.front().device;
    ASSERT_EQ(disk->size(), size);
    EXPECT_FALSE(opened.devices.front().trouble);
    if (size > 400 * mib) {
      // Holes are holes: nothing of them is read.
      std::uint64_t data = 0;
      for (std::uint64_t at = 0; at < size;) {
        const peelfs::Run run = block_status(*disk, at, size - at);
        data += run.data ? run.length : 0;
        at += run.length;
      }
      EXPECT_LT(data, 20 * mib);
      continue;
    }
    EXPECT_EQ(sha256(*disk), sha256(*file_device(raw_))) << size;
    if (size < 100 * mib) check_contract(*disk);
  }
}

TEST_F(DynamicVhd, TheGeometryIsTheSizeWhereItsMakerMeansIt) {
  make_raw(12 * mib);
  convert("");
  const Opened opened = open(file_device(vhd_));
  const std::string info = must_run("qemu-img info --output=json " + vhd_);
  const std::string size = std::to_string(opened.devices.front().device->size());
  EXPECT_NE(info.find("\"virtual-size\": " + size), std::string::npos) << size << " in " << info;
}

TEST_F(DynamicVhd, TheCopyOfTheFooterServesWhereTheFooterIsLost) {
  Buffer image = small_image();
  const std::string digest = sha256(*open(file_device(vhd_)).devices.front().device);
  image.resize(image.size() - 512);
  const Opened opened = open(std::make_shared<MemoryDevice>(image));
  EXPECT_EQ(sha256(*opened.devices.front().device), digest);
  ASSERT_TRUE(opened.devices.front().trouble);
  EXPECT_EQ(opened.devices.front().trouble->state, Trouble::note);
}

TEST_F(DynamicVhd, EveryWrongFieldIsSaid) {
  const Buffer good = small_image();
  EXPECT_EQ(failure(good), "");
  const struct {
    std::size_t at;
    std::string bytes;
    const char* says;
  } wrong[] = {
      {header_, "xxsparse", "no dynamic disk header"},
      {header_ + 32, std::string("\0\x20\0\1", 4), "Block Size"},
      {header_ + 32, std::string("\0\0\0\0", 4), "Block Size"},
      {header_ + 28, std::string("\0\0\0\1", 4), "larger than its table"},
      {header_ + 16, std::string("\x7f\0\0\0\0\0\0\0", 8), "table of the VHD image lies outside"},
      {header_ + 28, std::string("\1\0\0\0", 4), "lies outside"},
      {table_, std::string("\x7f\xff\xff\xff", 4), "block 0"},
      {table_, std::string("\0\0\0\0", 4), "own tables"},
      {table_, std::string("\0\0\0\2", 4), "own tables"},
  };
  for (const auto& one : wrong) {
    Buffer image = good;
    put(image, one.at, one.bytes);
    sign(image, header_, 1024, 36);
    const std::string said = failure(image);
    EXPECT_NE(said.find(one.says), std::string::npos) << one.says << ": " << said;
  }
  Buffer image = good;
  for (const std::size_t footer : {std::size_t{0}, image.size() - 512}) {
    put(image, footer + 16, std::string("\0\0\0\x7f\0\0\0\0", 8));  // Data Offset
    sign(image, footer, 512, 64);
  }
  const std::string said = failure(image);
  EXPECT_NE(said.find("dynamic disk header of the VHD image lies outside"), std::string::npos)
      << said;
  // A table that no disk needs is not held in memory.
  image = good;
  put(image, header_ + 28, std::string("\x7f\0\0\0", 4));
  sign(image, header_, 1024, 36);
  EXPECT_THROW(open(std::make_shared<MemoryDevice>(image)), Error);
}

// A field that cannot be trusted would show wrong bytes.
TEST_F(DynamicVhd, WithoutAChecksumNothingIsShown) {
  const Buffer good = small_image();
  Buffer image = good;
  put(image, header_ + 33, "\x40");  // a block size of 4 MiB
  EXPECT_NE(failure(image).find("wrong checksum"), std::string::npos);
  image = good;
  put(image, 48, "\x7f");
  EXPECT_EQ(failure(image), "") << "the footer at the end is whole";
  put(image, image.size() - 512 + 48, "\x7f");
  const auto probe = [](const Buffer& bytes) { return vhd_probe({MemoryDevice(bytes), {}}); };
  EXPECT_THROW(probe(image), Error) << "neither is";
  image = good;
  put(image, 60, std::string("\0\0\0\4", 4));
  sign(image, 0, 512, 64);
  EXPECT_THROW(probe(image), Error) << "differencing at the start, dynamic at the end";
}

// What was in the file before a block was made is not the disk's.
TEST_F(DynamicVhd, SectorsThatTheBitmapDoesNotMarkAreZeroes) {
  Buffer image = small_image();
  const Buffer whole = read_bytes(*open(file_device(vhd_)).devices.front().device, 0, 4096);
  const std::size_t place = std::to_integer<unsigned>(image[table_ + 3]) * std::size_t{512} +
                            std::to_integer<unsigned>(image[table_ + 2]) * std::size_t{512} * 256;
  image[place] = std::byte{0b1010'0000};  // of the first eight sectors the first and the third
  const Opened opened = open(std::make_shared<MemoryDevice>(image));
  const DevicePtr& disk = opened.devices.front().device;
  Buffer expected = whole;
  for (std::size_t sector = 0; sector < 8; ++sector) {
    if (sector == 0 || sector == 2) continue;
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(sector * 512), 512, std::byte{0});
  }
  EXPECT_EQ(read_bytes(*disk, 0, 4096), expected);
  EXPECT_FALSE(block_status(*disk, 512, 512).data);
  check_contract(*disk);
}

TEST_F(DynamicVhd, ACutImageReadsUpToTheCut) {
  Buffer image = small_image();
  const Buffer whole = read_bytes(*open(file_device(vhd_)).devices.front().device, 0, 4096);
  image.resize(image.size() - mib);  // of the last block
  const Opened opened = open(std::make_shared<MemoryDevice>(image));
  const DevicePtr& disk = opened.devices.front().device;
  EXPECT_EQ(read_bytes(*disk, 0, 4096), whole);
  EXPECT_THROW(read_bytes(*disk, disk->size() - 4096, 4096), Error);
}

TEST_F(DynamicVhd, AGuestCannotMakeOneOfItsRawDisk) {
  const Buffer image = small_image();
  Buffer disk(4 * mib);
  std::copy_n(image.end() - 512, 512, disk.end() - 512);
  EXPECT_FALSE(vhd_probe({MemoryDevice(disk), {}})) << "the footer alone is no image";
}

}  // namespace
}  // namespace peelfs::test
