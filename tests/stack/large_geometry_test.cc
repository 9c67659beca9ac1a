// Disks of terabytes, sparse, with data where numbers no longer fit into 32 bits: at their ends,
// and on both sides of each border. Other tools say where the bytes are, or write them there.
#include <sstream>

#include "large.h"

namespace peelfs::test {
namespace {

// ---- LUKS

class LargeLuks : public Large, public ::testing::WithParamInterface<const char*> {};

TEST_P(LargeLuks, InitialVectorsBeyondTwoTebibytes) {
  if (!need({"cryptsetup", "qemu-io"})) GTEST_SKIP() << missing_;
  const std::string image = sparse("disk.img", 3 * TiB);
  must_run("printf '%s' " + std::string(passphrase) +
           " | PATH=$PATH:/sbin cryptsetup luksFormat -q --type luks1 -s 512 -c " + GetParam() +
           " --pbkdf-force-iterations 1000 --key-file - '" + image + "'");
  // luksFormat aligns the data; qemu finds it by the header.
  const std::string size =
      must_run("qemu-img info --output=json --object secret,id=s,data=" + std::string(passphrase) +
               " --image-opts driver=luks,key-secret=s,file.filename=" + image);
  const auto field = size.find("\"virtual-size\": ");
  ASSERT_NE(field, std::string::npos) << size;
  const std::uint64_t end = std::stoull(size.substr(field + 16));
  // Across the border where a sector's number needs its 33rd bit, and around it.
  const std::vector<std::uint64_t> offsets{0, 2 * TiB - 30 * KiB, 2 * TiB + 5 * GiB,
                                           end - mark_size};
  qemu_write("--object secret,id=s,data=" + std::string(passphrase) +
                 " --image-opts driver=luks,key-secret=s,file.filename=" + image,
             offsets);
  const auto catalog = peel(image);
  const BlockDevice& plain = device(*catalog, "disk_crypt");
  EXPECT_EQ(plain.size(), end);
  for (const std::uint64_t offset : offsets) EXPECT_TRUE(has_mark(plain, offset)) << offset;
}

INSTANTIATE_TEST_SUITE_P(Ciphers, LargeLuks, ::testing::Values("aes-xts-plain", "aes-xts-plain64"),
                         [](const auto& instance) {
                           return std::string(instance.param).substr(8);
                         });

TEST_F(Large, PlainAndPlain64DifferBeyondTwoTebibytes) {
  if (!need({"cryptsetup", "qemu-io"})) GTEST_SKIP() << missing_;
  // That the two tests above can fail: with the other one's name in the header they would.
  const std::string image = sparse("disk.img", 3 * TiB);
  must_run("printf '%s' " + std::string(passphrase) +
           " | PATH=$PATH:/sbin cryptsetup luksFormat -q --type luks1 -s 512 -c aes-xts-plain"
           " --pbkdf-force-iterations 1000 --key-file - '" +
           image + "'");
  const std::vector<std::uint64_t> offsets{1 * TiB, 2 * TiB + 5 * GiB};
  qemu_write("--object secret,id=s,data=" + std::string(passphrase) +
                 " --image-opts driver=luks,key-secret=s,file.filename=" + image,
             offsets);
  write_at(image, 40, as_bytes("xts-plain64"));  // cipher-mode of the LUKS1 header
  const auto catalog = peel(image);
  EXPECT_TRUE(has_mark(device(*catalog, "disk_crypt"), offsets[0]));
  EXPECT_FALSE(has_mark(device(*catalog, "disk_crypt"), offsets[1]));
}

// ---- LVM

TEST_F(Large, LogicalVolumeAtTheEndOfAPhysicalVolume) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for a loop device";
  if (!need({"lvm", "losetup"})) GTEST_SKIP() << missing_;
  const std::string image = sparse("disk.img", 8 * TiB - 12345 * 512);
  const CommandResult loop = run("losetup -f --show '" + image + "'");
  if (loop.exit_code != 0) GTEST_SKIP() << "no loop device: " << loop.output;
  const std::string node = loop.output.substr(0, loop.output.find('\n'));
  const std::string config =
      " --driverloaded n --config 'devices{use_devicesfile=0 filter=[\"a|^" + node +
      "$|\",\"r|.*|\"]} backup{backup=0 archive=0} global{locking_dir=\"" + directory_.path() +
      "\" use_lvmpolld=0 event_activation=0} activation{udev_sync=0 udev_rules=0 monitoring=0}' ";
  const auto lvm = [&](const std::string& command, const std::string& arguments) {
    return must_run("PATH=$PATH:/sbin LVM_SUPPRESS_FD_WARNINGS=1 lvm " + command + config +
                    arguments + " 2>/dev/null");
  };
  lvm("pvcreate", "-q -y " + node);
  lvm("vgcreate", "-q -s 4m vg " + node);
  std::uint64_t start = 0, count = 0;
  std::istringstream(
      lvm("pvs", "--noheadings --units b --nosuffix -o pe_start,pv_pe_count " + node)) >>
      start >> count;
  EXPECT_GT(count * 4 * MiB, 7 * TiB);
  const std::uint64_t last = count - 1;
  lvm("lvcreate", "-q -y -an -Zn -Wn -l 10 -n lv vg " + node + ":0-9");
  lvm("lvextend",
      "-q -l +10 vg/lv " + node + ":" + std::to_string(last - 9) + "-" + std::to_string(last));
  // Nearly all of it: one segment of terabytes.
  lvm("lvcreate", "-q -y -an -Zn -Wn -l " + std::to_string(count - 20) + " -n bulk vg " + node);
  must_run("losetup -d " + node);

  const std::uint64_t extent = 4 * MiB;
  const auto put = [&](std::uint64_t first_extent, std::uint64_t within, std::uint64_t offset) {
    write_at(image, start + first_extent * extent + within, mark(offset));
  };
  put(0, 0, 0);
  put(last - 9, 0, 10 * extent);
  put(last, extent - mark_size, 20 * extent - mark_size);
  const std::uint64_t bulk_end = (count - 20) * extent;
  put(10, bulk_end - mark_size, bulk_end - mark_size);
  put(10, 4 * TiB, 4 * TiB);

  const auto catalog = peel(image);
  const BlockDevice& volume = device(*catalog, "vg-lv");
  EXPECT_EQ(volume.size(), 20 * extent);
  for (const std::uint64_t offset : {std::uint64_t{0}, 10 * extent, 20 * extent - mark_size}) {
    EXPECT_TRUE(has_mark(volume, offset)) << offset;
  }
  const BlockDevice& bulk = device(*catalog, "vg-bulk");
  EXPECT_EQ(bulk.size(), bulk_end);
  EXPECT_TRUE(has_mark(bulk, 4 * TiB));
  EXPECT_TRUE(has_mark(bulk, bulk_end - mark_size));
}

// ---- partition tables

/// What sfdisk wrote and partx (libblkid) reads, against ours: sizes, and marks at both ends.
void compare_partitions(const std::string& image, const std::string& stem, std::size_t expected) {
  std::istringstream table(
      must_run("PATH=$PATH:/sbin partx -g -b -o NR,START,SECTORS,TYPE '" + image + "'"));
  struct Partition {
    std::string number, type;
    std::uint64_t start, sectors;
  };
  std::vector<Partition> partitions;
  for (Partition next; table >> next.number >> next.start >> next.sectors >> next.type;) {
    partitions.push_back(next);
  }
  ASSERT_EQ(partitions.size(), expected);
  for (const auto& [number, type, start, sectors] : partitions) {
    if (type == "0x5" || type == "0xf") continue;
    write_at(image, start * 512, mark(start));
    write_at(image, (start + sectors) * 512 - mark_size, mark(start + sectors));
  }
  const auto catalog = peel(image);
  for (const auto& [number, type, start, sectors] : partitions) {
    if (type == "0x5" || type == "0xf") continue;
    const BlockDevice& partition = device(*catalog, stem + "p" + number);
    EXPECT_EQ(partition.size(), sectors * 512) << number;
    EXPECT_TRUE(has_bytes(partition, 0, mark(start))) << number;
    EXPECT_TRUE(has_bytes(partition, sectors * 512 - mark_size, mark(start + sectors))) << number;
  }
}

TEST_F(Large, MbrUpToItsLastSector) {
  if (!need({"sfdisk", "partx"})) GTEST_SKIP() << missing_;
  const std::string image = sparse("disk.img", 0xffffffffULL * 512);
  sfdisk(image,
         "label: dos\\n"
         "start=2048,size=2097152,type=83\\n"
         "start=2200000000,size=1999000000,type=83\\n"  // sign bit of 32
         "start=4200000000,size=94967295,type=5\\n"
         "start=4200002048,size=1000000,type=83\\n"
         "start=4294000000,size=967295,type=83\\n");
  compare_partitions(image, "disk", 5);
}

TEST_F(Large, MbrWhosePartitionEndsBeyondTwoTebibytes) {
  if (!need({"sfdisk", "partx"})) GTEST_SKIP() << missing_;
  // Start and count have 32 bits each, so the end may have 33; sfdisk will not, so it is patched.
  const std::string image = sparse("disk.img", 4 * TiB);
  sfdisk(image, "label: dos\\nstart=2048,size=2048,type=83\\n");
  Buffer entry(16);
  entry[4] = std::byte{0x83};
  std::fill(entry.begin() + 9, entry.end(), std::byte{0xff});  // start and count: 0xffffff00
  entry[12] = std::byte{0x00};
  write_at(image, 446 + 16, entry);
  compare_partitions(image, "disk", 2);
}

TEST_F(Large, GptUpToItsLastSector) {
  if (!need({"sfdisk", "partx"})) GTEST_SKIP() << missing_;
  const std::string image = sparse("disk.img", 8 * TiB);
  sfdisk(image,
         "label: gpt\\n"
         "start=2048,size=4096\\n"
         "start=4294967290,size=2097152\\n"   // across 2 TiB
         "start=10737418240,size=2097153\\n"  // 5 TiB, an odd number of sectors
         "start=12884901888\\n");             // 6 TiB to the end
  compare_partitions(image, "disk", 4);
}

// ---- qcow2

struct Qcow2Geometry {
  const char* name;
  const char* options;
  std::uint64_t size;
  std::uint64_t border;  ///< where the second cluster of the L1 table begins, or its second entry
};

void PrintTo(const Qcow2Geometry& geometry, std::ostream* out) {
  *out << geometry.options;
}

class LargeQcow2 : public Large, public ::testing::WithParamInterface<Qcow2Geometry> {};

TEST_P(LargeQcow2, L1TableOfManyClusters) {
  if (!need({"qemu-img", "qemu-io"})) GTEST_SKIP() << missing_;
  const auto& [name, options, size, border] = GetParam();
  const std::string image = directory_ / "disk.qcow2";
  must_run("qemu-img create -q -f qcow2 -o " + std::string(options) + " '" + image + "' " +
           std::to_string(size));
  const std::vector<std::uint64_t> offsets{0, border - 32 * KiB, size / 2 + 5 * GiB,
                                           size - mark_size};
  qemu_write("-f qcow2 '" + image + "'", offsets);
  const auto catalog = peel(image);
  const BlockDevice& disk = device(*catalog, "disk");
  EXPECT_EQ(disk.size(), size);
  for (const std::uint64_t offset : offsets) EXPECT_TRUE(has_mark(disk, offset)) << offset;
  EXPECT_TRUE(has_bytes(disk, border + 1 * GiB, Buffer(10'000))) << "holes are zeroes";
  const std::uint64_t data = count_data(disk);
  EXPECT_GE(data, 4 * mark_size);
  EXPECT_LE(data, 4 * (mark_size + 2 * 2 * MiB));
}

INSTANTIATE_TEST_SUITE_P(
    Geometries, LargeQcow2,
    ::testing::Values(Qcow2Geometry{"c64k", "cluster_size=64k", 8 * TiB, 4 * TiB},
                      Qcow2Geometry{"c4k", "cluster_size=4k", 1 * TiB, 1 * GiB},
                      Qcow2Geometry{"c512", "cluster_size=512", 100 * GiB, 2 * MiB},
                      Qcow2Geometry{"c2m", "cluster_size=2M", 8 * TiB, 512 * GiB},
                      Qcow2Geometry{"extended", "cluster_size=64k,extended_l2=on", 8 * TiB,
                                    2 * TiB}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace peelfs::test
