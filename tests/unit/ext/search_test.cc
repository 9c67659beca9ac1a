// What is found, by which rule, and within which bounds.
#include <ctime>
#include <filesystem>

#include "ext_support.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "support/fixtures.h"

namespace peelfs::test {
namespace {

constexpr std::size_t KiB = 1024, MiB = 1024 * KiB;

/// A tree of files that mke2fs copies into an image.
class Search : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("mke2fs") || !have_program("debugfs")) {
      GTEST_SKIP() << "needs mke2fs and debugfs (e2fsprogs)";
    }
    std::filesystem::create_directory(tree_);
  }
  void add(const std::string& name, Buffer bytes) {
    std::filesystem::create_directories(std::filesystem::path(tree_ / name).parent_path());
    write_file(tree_ / name, bytes);
  }
  /// A file of `size` with `magic` at `offset`.
  void add_magic(const std::string& name, std::size_t size, std::size_t offset,
                 std::string_view magic) {
    Buffer bytes = pattern(size, 9);
    std::copy(as_bytes(magic).begin(), as_bytes(magic).end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    add(name, std::move(bytes));
  }
  std::string make(const std::string& size = "64M", const std::string& options = "-t ext4") {
    EXPECT_TRUE(make_filesystem(image_, size, options + " -d '" + tree_.string() + "'"));
    return image_;
  }
  static std::vector<std::string> names(const SeenImage& seen) {
    std::vector<std::string> result;
    for (const Inner& inner : seen.files()) result.push_back(inner.name);
    return result;
  }

  ScratchDirectory directory_;
  std::filesystem::path tree_ = directory_ / "tree";
  std::string image_ = directory_ / "image";
};

TEST_F(Search, BySuffixAndSize) {
  add("images/os43.qcow2", pattern(64 * KiB, 1));
  add("b.IMG", pattern(64 * KiB + 1, 2));
  add("c.Vmdk", pattern(100 * KiB, 3));
  add("small.img", pattern(64 * KiB - 1, 4));
  add("small-but.qcow2", [] {
    Buffer bytes = pattern(10 * KiB, 5);
    std::copy(as_bytes("QFI\xfb").begin(), as_bytes("QFI\xfb").end(), bytes.begin());
    return bytes;
  }());
  add("photo.jpg", pattern(200 * KiB, 6));
  add("img", pattern(200 * KiB, 7));
  const SeenImage seen(make());
  EXPECT_EQ(seen.trouble(), "");
  EXPECT_EQ(names(seen),
            (std::vector<std::string>{"b.IMG", "c.Vmdk", "os43.qcow2", "small-but.qcow2"}));
  const Inner& inner = seen.at("images/os43.qcow2");
  EXPECT_EQ(inner.kind, "file");
  EXPECT_EQ(inner.stem, "os43");
  EXPECT_EQ(inner.path, (std::vector<std::string>{"images", "os43.qcow2"}));
  EXPECT_TRUE(inner.image_file);
  EXPECT_TRUE(inner.peel);
  EXPECT_FALSE(inner.trouble.has_value());
  ASSERT_NE(inner.references, nullptr);
  EXPECT_EQ(sha256(*inner.device), sha256(pattern(64 * KiB, 1)));
  EXPECT_LE(inner.device->allocated_bytes(), inner.device->size());
}

TEST_F(Search, ByMagic) {
  using namespace std::string_view_literals;
  add_magic("qcow2", 64 * KiB, 0, "QFI\xfb");
  add_magic("luks", 64 * KiB, 0, "LUKS\xba\xbe");
  add_magic("vhdx", 64 * KiB, 0, "vhdxfile");
  add_magic("vhd", 64 * KiB, 0, "conectix");
  add_magic("vdi", 64 * KiB, 0x40, "\x7f\x10\xda\xbe");
  add_magic("gpt512", 1 * MiB, 512, "EFI PART");
  add_magic("gpt4096", 1 * MiB, 4096, "EFI PART");
  add_magic("not-1", 1 * MiB - 512, 512, "EFI PART");
  add_magic("not-2", 1 * MiB + 1, 512, "EFI PART");
  add_magic("not-3", 63 * KiB, 0, "QFI\xfb");
  add_magic("not-4", 64 * KiB, 1, "QFI\xfb");
  // Four bytes alone are not enough for these.
  add_magic("not-5", 64 * KiB, 0, "KDMV");
  add_magic("not-6", 1 * MiB, 1 * MiB - 512, "conectix");
  std::vector<std::string> expected{"gpt4096", "gpt512", "luks", "lvm",
                                    "qcow2",   "vdi",    "vhd",  "vhdx"};
  if (have_program("qemu-img")) {
    const std::string tree = tree_.string();
    must_run("qemu-img create -q -f vmdk '" + tree + "/vmdk' 1M");
    must_run("qemu-img create -q -f vpc -o subformat=fixed,force_size=on '" + tree +
             "/fixed-vhd' 1M");
    expected.insert(expected.begin(), "fixed-vhd");
    expected.emplace_back("vmdk");
  }
  Buffer lvm = pattern(1 * MiB, 1);
  std::copy_n(as_bytes("LABELONE").begin(), 8, lvm.begin() + 512);
  std::copy_n(as_bytes("LVM2 001").begin(), 8, lvm.begin() + 512 + 24);
  add("lvm", lvm);
  const SeenImage seen(make());
  EXPECT_EQ(names(seen), expected);
}

TEST_F(Search, RawDisksMadeByTools) {
  if (!have_program("sfdisk") || !have_program("qemu-img") || !have_program("qemu-io")) {
    GTEST_SKIP() << "needs sfdisk, qemu-img and qemu-io";
  }
  const std::string tree = tree_.string();
  for (const std::string label : {"dos", "gpt"}) {
    must_run("truncate -s 8M '" + tree + "/" + label + "' && echo 1M,2M | /sbin/sfdisk -q -X " +
             label + " '" + tree + "/" + label + "'");
  }
  ASSERT_TRUE(make_filesystem(tree + "/rootfs", "8M", "-t ext2"));
  for (const std::string format : {"vpc", "vmdk", "vdi", "vhdx", "qcow2", "qed", "parallels"}) {
    must_run("qemu-img create -q -f " + format + " '" + tree + "/" + format +
             "' 8M && qemu-io -f " + format + " -c 'write -q 0 1M' '" + tree + "/" + format + "'");
  }
  must_run("qemu-img create -q -f vpc -o subformat=fixed '" + tree + "/vpc-fixed' 8M");
  const SeenImage seen(make());
  EXPECT_EQ(names(seen),
            (std::vector<std::string>{"dos", "gpt", "parallels", "qcow2", "qed", "rootfs", "vdi",
                                      "vhdx", "vmdk", "vpc", "vpc-fixed"}));
}

TEST(ImageMagic, PartitionTablesMustBePossible) {
  Buffer disk(1 * MiB);
  const auto magic = [&] { return standard_formats().image_format(MemoryDevice(disk)); };
  put16(disk, 510, 0xaa55);
  EXPECT_EQ(magic(), "") << "no partition: any boot loader's file looks like this";
  disk.at(446 + 4) = std::byte{0x83};
  put32(disk, 446 + 8, 1);
  put32(disk, 446 + 12, 2047);
  EXPECT_EQ(magic(), "dos");
  put32(disk, 446 + 12, 2048);
  EXPECT_EQ(magic(), "") << "it ends behind the end of the file";
  put32(disk, 446 + 12, 100);
  disk.at(446) = std::byte{0x41};
  EXPECT_EQ(magic(), "") << "no status byte";
  disk.at(446) = std::byte{0x80};
  EXPECT_EQ(magic(), "dos");
  put32(disk, 446 + 8, 0);
  EXPECT_EQ(magic(), "") << "it begins in the table itself";
}

TEST_F(Search, DepthBounds) {
  add("a.img", pattern(100 * KiB, 1));
  const DevicePtr device = file_device(make());
  Limits limits;
  limits.search_depth = 0;
  EXPECT_TRUE(SeenImage(device, limits).claimed());
  EXPECT_TRUE(SeenImage(device, limits).files().empty());
  EXPECT_EQ(SeenImage(device, limits).trouble(), "");
  limits.search_depth = 2;
  EXPECT_EQ(SeenImage(device, limits, {}, 1).files().size(), 1U);
  const SeenImage too_deep(device, limits, {}, 2);
  EXPECT_TRUE(too_deep.files().empty());
  EXPECT_NE(too_deep.trouble().find("note: not searched"), std::string::npos);
  EXPECT_NE(too_deep.trouble().find("--depth"), std::string::npos);
}

TEST_F(Search, FileBounds) {
  for (int i = 0; i < 50; ++i)
    add("d" + std::to_string(i % 5) + "/" + std::to_string(i) + ".img", pattern(64 * KiB, 1));
  const DevicePtr device = file_device(make());
  Limits limits;
  limits.search_files = 20;
  const SeenImage seen(device, limits);
  EXPECT_LE(seen.files().size(), 15U);
  EXPECT_GE(seen.files().size(), 10U);
  EXPECT_EQ(seen.trouble(), "note: only the first 20 files were searched for disk images");
  limits.search_files = 56;  // lost+found, five directories, fifty files
  EXPECT_EQ(SeenImage(device, limits).trouble(), "");
  EXPECT_EQ(SeenImage(device, limits).files().size(), 50U);
  limits.search_files = 55;
  EXPECT_NE(SeenImage(device, limits).trouble(), "");
  limits.search_files = 0;
  EXPECT_TRUE(SeenImage(device, limits).files().empty());
  limits.search_files = 1000;
  limits.devices = 7;
  EXPECT_EQ(SeenImage(device, limits).files().size(), 7U);
  EXPECT_NE(SeenImage(device, limits).trouble().find("note: only the first 7 images"),
            std::string::npos);
}

TEST_F(Search, FiftyThousandFilesAreQuick) {
  for (int directory = 0; directory < 100; ++directory) {
    const std::filesystem::path path = tree_ / ("directory " + std::to_string(directory));
    std::filesystem::create_directory(path);
    // Every fifth is large enough for its contents to be looked at.
    for (int i = 0; i < 500; ++i) {
      const std::filesystem::path file = path / ("file" + std::to_string(i));
      write_file(file, as_bytes("small"));
      if (i % 5 == 0) std::filesystem::resize_file(file, 70'000);
    }
  }
  add("found.img", pattern(100 * KiB, 1));
  const DevicePtr device = file_device(make("400M", "-t ext4 -N 60000"));
  // Processor time: other programs may have the machine meanwhile.
  const std::clock_t begin = std::clock();
  EXPECT_EQ(SeenImage(device).files().size(), 1U);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  RecordProperty("search_seconds", std::to_string(seconds));
  EXPECT_LT(seconds, 5) << "0.3 s without a sanitizer";
}

// The oracle where nothing can be mounted: what debugfs writes out.
TEST_F(Search, ContentsAsDebugfsDumpsThem) {
  struct Case {
    const char* name;
    const char* options;
  };
  for (const auto& [name, options] : {Case{"ext2 1k", "-t ext2 -b 1024"}, Case{"ext4", "-t ext4"},
                                      Case{"64 KiB blocks", "-t ext4 -b 65536"},
                                      Case{"64 KiB blocks, mapped", "-t ext2 -b 65536"},
                                      Case{"bigalloc", "-t ext4 -O bigalloc -C 65536"},
                                      Case{"inline", "-t ext4 -O inline_data -I 1024"},
                                      Case{"casefold", "-t ext4 -O casefold -E encoding=utf8"},
                                      Case{"encrypt", "-t ext4 -O encrypt,verity"}}) {
    std::filesystem::remove_all(tree_);
    std::filesystem::create_directory(tree_);
    add("dir/deep/plain.img", pattern(3 * MiB + 17, 1));
    const std::string sparse = tree_ / "sparse.img";
    for (const std::size_t at : {0 * MiB, 3 * MiB, 9 * MiB, 30 * MiB}) {
      write_at(sparse, at, pattern(100'000, at));
    }
    std::filesystem::resize_file(sparse, 40 * MiB + 1);
    const std::string image = make("256M", options);
    const SeenImage seen(image);
    EXPECT_EQ(seen.trouble(), "") << name;
    for (const std::string file : {"dir/deep/plain.img", "sparse.img"}) {
      const std::string out = directory_ / "out";
      must_run("/sbin/debugfs -R 'dump /" + file + " " + out + "' '" + image + "'");
      ASSERT_NE(seen.find(file), nullptr) << name;
      EXPECT_EQ(sha256(*seen.at(file).device), sha256(*file_device(out))) << name << ": " << file;
      check_contract(*seen.at(file).device);
    }
  }
}

TEST_F(Search, FixtureWithAJournalToReplay) {
  // The manifest's dm_table of the LV: 61440 sectors from sector 2048 on.
  const DevicePtr volume =
      make_slice(file_device(fixture_image("dirtyext4")), 2048 * 512, 61440 * 512, "LV");
  const SeenImage seen(volume);
  EXPECT_EQ(seen.claim().format, "ext4");
  EXPECT_EQ(seen.claim().label, "dirtyext4");
  EXPECT_EQ(seen.claim().uuid, "f67aa44e-962b-4d71-8727-4e7dcc1ac2c8");
  EXPECT_NE(seen.trouble().find("note: journal needs recovery"), std::string::npos);
}

}  // namespace
}  // namespace peelfs::test
