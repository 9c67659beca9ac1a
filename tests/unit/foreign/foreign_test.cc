// Every kind that is known but not opened: recognised by its bytes alone, and not where only some
// of them are there.
#include <gtest/gtest.h>

#include "foreign/foreign.h"
#include "foreign/kinds.h"
#include "identify/identify.h"
#include "peelfs/devices.h"
#include "support/support.h"
#include "vhd/footer.h"
#include "vhd/vhd.h"

namespace peelfs::test {
namespace {

using namespace std::string_literals;
using foreign::Turn;

constexpr std::size_t kSize = 1U << 20U;

struct Put {
  std::int64_t at;  ///< negative: from the end
  std::string bytes;
};

DevicePtr device_with(const std::vector<Put>& puts, std::size_t size = kSize) {
  Buffer bytes(size);
  for (const Put& put : puts) {
    const auto at =
        static_cast<std::size_t>(put.at < 0 ? static_cast<std::int64_t>(size) + put.at : put.at);
    std::copy_n(as_bytes(put.bytes).begin(), put.bytes.size(),
                bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return std::make_shared<MemoryDevice>(std::move(bytes));
}

/// What `ls` says of the device: the first of the rows in the table's order.
std::string sentence(const DevicePtr& device, const Identity& identity = {},
                     std::string_view parttype = {}) {
  for (const auto probe : {&foreign_image_probe, &foreign_probe, &foreign_raid_probe}) {
    const auto claim = probe({*device, identity, parttype});
    if (!claim) continue;
    Member member;
    member.device = device;
    member.claim = &*claim;
    try {
      foreign_open({{&member, 1}, KeyRing(), Limits(), nullptr, 0});
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported);
      return claim->format + ": " + error.what();
    }
    return "opened";
  }
  return "";
}

std::string be(std::uint64_t value, unsigned width) {
  std::string bytes;
  for (unsigned i = width; i-- > 0;) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string le(std::uint64_t value, unsigned width) {
  const std::string bytes = be(value, width);
  return {bytes.rbegin(), bytes.rend()};
}

struct Case {
  const char* name;
  std::vector<Put> puts;
  std::string says;
};

class BySignature : public testing::TestWithParam<Case> {};

TEST_P(BySignature, IsNamed) {
  const Case& wanted = GetParam();
  const DevicePtr device = device_with(wanted.puts);
  EXPECT_EQ(sentence(device, identify(*device)), wanted.says);
  // With one bit of it changed it is something else, or nothing.
  for (std::size_t i = 0; i < wanted.puts.size(); ++i) {
    std::vector<Put> puts = wanted.puts;
    puts[i].bytes[0] = static_cast<char>(puts[i].bytes[0] ^ 1);
    EXPECT_NE(sentence(device_with(puts)), wanted.says) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Images, BySignature,
    testing::Values(
        Case{"vmdk",
             {{0, "KDMV" + le(1, 4)}, {28, le(1, 8)}, {512, "# Disk DescriptorFile"}},
             "vmdk: a VMDK image; qemu-img convert opens it"},
        Case{"vmdk_esx", {{0, "COWD"}}, "vmdk: a VMDK image; qemu-img convert opens it"},
        Case{"vmdk_descriptor",
             {{0, "# Disk DescriptorFile\nversion=1\n"}},
             "vmdk: the descriptor of a VMDK image; qemu-img convert opens it with the files that "
             "it names"},
        Case{"vmdk_sesparse",
             {{0, le(0xCAFEBABE, 8) + le(0x200000001, 8)}},
             "vmdk: a part of a VMDK image; qemu-img convert opens it by its descriptor, the small "
             ".vmdk file"},
        Case{"vhd",
             {{0, "conectix"}},
             "vhd: a VHD image of an unknown type; look for a whole copy of it: its footer and "
             "the copy of that are damaged"},
        Case{"vhdx", {{0, "vhdxfile"}}, "vhdx: a VHDX image; qemu-img convert opens it"},
        Case{"vdi", {{64, le(0xBEDA107F, 4)}}, "vdi: a VDI image; qemu-img convert opens it"},
        Case{"qed", {{0, "QED\0"s}}, "qed: a QED image; qemu-img convert opens it"},
        Case{"parallels",
             {{0, "WithoutFreeSpace"}},
             "parallels: a Parallels image; qemu-img convert opens it"},
        Case{"parallels_ext",
             {{0, "WithouFreSpacExt"}},
             "parallels: a Parallels image; qemu-img convert opens it"},
        Case{"bochs",
             {{0, "Bochs Virtual HD Image"}},
             "bochs: a Bochs image; qemu-img convert opens it"},
        Case{"cloop",
             {{0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"}},
             "cloop: a cloop image; qemu-img convert -f cloop opens it"},
        Case{"dmg",
             {{-512, "koly" + be(4, 4) + be(512, 4)}, {-512 + 216, be(4096, 8) + be(100, 8)}},
             "dmg: a DMG image; dmg2img opens it"},
        Case{"dmg_encrypted",
             {{0, "encrcdsa"}},
             "dmg: an encrypted DMG image; hdiutil on macOS opens it"},
        Case{"dmg_encrypted_1",
             {{-8, "cdsaencr"}},
             "dmg: an encrypted DMG image; hdiutil on macOS opens it"},
        Case{"e01",
             {{0, "EVF\x09\x0d\x0a\xff\0\1\1\0"s}},
             "ewf: an EWF image (E01, S01); ewfmount opens it"},
        Case{"ex01", {{0, "EVF2\x0d\x0a\x81\0"s}}, "ewf2: an EWF2 image (Ex01); EnCase opens it"},
        Case{"l01",
             {{0, "LVF\x09\x0d\x0a\xff\0"s}},
             "lef: logical evidence, files and no disk (L01, Lx01); EnCase opens it"},
        Case{"aff", {{0, "AFF10\r\n\0"s}}, "aff: an AFF image; affconvert -r opens it"},
        Case{"aff4",
             {{0, "PK\3\4"}, {30, "container.description"}},
             "aff4: an AFF4 image; pyaff4 or Evimetry opens it"}),
    [](const auto& one) { return one.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Archives, BySignature,
    testing::Values(
        Case{"gzip", {{0, "\x1f\x8b\x08"}}, "gzip: compressed with gzip; gunzip opens it"},
        Case{"xz", {{0, "\xfd\x37zXZ\0"s}}, "xz: compressed with xz; unxz opens it"},
        Case{"zstd", {{0, "\x28\xb5\x2f\xfd"}}, "zstd: compressed with zstd; unzstd opens it"},
        Case{"bzip2",
             {{0, "BZh9"}, {4, "\x31\x41\x59\x26\x53\x59"}},
             "bzip2: compressed with bzip2; bunzip2 opens it"},
        Case{"lz4", {{0, "\x04\x22\x4d\x18"}}, "lz4: compressed with lz4; unlz4 opens it"},
        Case{"zip", {{0, "PK\3\4"}}, "zip: a zip archive; unzip opens it"},
        Case{"7z", {{0, "7z\xbc\xaf\x27\x1c"}}, "7z: a 7z archive; 7z x opens it"},
        Case{"tar", {{257, "ustar"}}, "tar: a tar archive (an OVA is one); tar -x opens it"}),
    [](const auto& one) { return one.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Devices, BySignature,
    testing::Values(
        Case{"fvault2",
             {{8, le(1, 2)}, {10, le(0x10, 2)}, {88, "CS"}, {90, le(1, 4)}},
             "fvault2: a FileVault 2 volume (CoreStorage); cryptsetup fvault2Open opens it"},
        Case{"ubi", {{0, "UBI#\1\0\0\0"s}}, "ubi: a UBI flash image; ubi_reader opens it"},
        Case{"storage_spaces",
             {{0, "SPACEDB "}},
             "storage_spaces: a member of a Windows storage pool (Storage Spaces); Windows opens "
             "it, with all disks of the pool"},
        Case{"solaris",
             {{512 + 12, le(0x600DDEEE, 4) + le(1, 4)}},
             "solaris: a Solaris x86 disk label; losetup -P of the whole disk opens it"},
        Case{"unixware",
             {{29 * 512 + 4, le(0xCAE5600D, 4)}},
             "unixware: a UnixWare disk label; losetup -P of the whole disk opens it"},
        Case{"amiga",
             {{1024, "RDSK" + be(3, 4) + be(0x100000000 - 0x5244534B - 3, 4)}},
             "amiga: an Amiga partition table (RDB); losetup -P opens it"},
        Case{"dasd",
             {{8192, "\xe5\xd6\xd3\xf1\xe5\xd6\xd3\xf1"}},
             "dasd: a DASD of an IBM mainframe; Linux on IBM Z opens it"},
        Case{"bsd",
             {{512, le(0x82564557, 4)}},
             "bsd: a BSD disk label; mmls -t bsd lists its partitions"}),
    [](const auto& one) { return one.param.name; });

// Every type that libblkid knows and this table names, every type of a partition.
TEST(Foreign, ByTypeAndPartitionType) {
  const DevicePtr empty = device_with({});
  std::size_t count = 0;
  for (const foreign::Kind& kind : foreign::devices()) {
    if (kind.check != nullptr) continue;
    Identity identity;
    identity.type = kind.type;
    identity.uuid = "1234";
    if (kind.type.empty() && kind.parttype.empty()) continue;
    ++count;
    const std::string says = sentence(empty, identity, kind.parttype);
    const std::string wanted =
        std::string(kind.format) + ": " + std::string(kind.what) + "; " + std::string(kind.advice);
    EXPECT_EQ(says, wanted);
  }
  EXPECT_GT(count, 35U);
}

// The sentence is read beside a name and a size, in 80 columns.
TEST(Foreign, SentencesAreShort) {
  for (const auto kinds : {foreign::images(), foreign::devices()}) {
    for (const foreign::Kind& kind : kinds) {
      EXPECT_LT(kind.what.size() + kind.advice.size(), 110U) << kind.what;
      EXPECT_FALSE(kind.format.empty()) << kind.what;
    }
  }
}

TEST(Foreign, AnArchiveIsNoneWhereSomethingElseStands) {
  const DevicePtr device = device_with({{0, "\x1f\x8b\x08"}});
  Identity member;
  member.type = "linux_raid_member";
  EXPECT_EQ(
      sentence(device, member),
      "linux_raid_member: a member of an MD RAID array; mdadm --assemble --readonly opens it");
  Identity table;
  table.pttype = "dos";
  EXPECT_EQ(sentence(device, table), "");
}

TEST(Foreign, LettersAtTheEndOfADiskAreNoImage) {
  EXPECT_EQ(sentence(device_with({{-512, "koly"}})), "");
  EXPECT_EQ(sentence(device_with({{-512, "koly" + be(4, 4) + be(512, 4)}})), "");
  // A data fork that leaves the file.
  EXPECT_EQ(sentence(device_with({{-512, "koly" + be(4, 4) + be(512, 4)},
                                  {-512 + 24, be(0, 8) + be(kSize, 8)},
                                  {-512 + 216, be(4096, 8) + be(100, 8)}})),
            "");
  EXPECT_EQ(sentence(device_with({{-512, "conectix"}})), "");
}

TEST(Foreign, LabelsBehindAPartitionedMbrAreLeftovers) {
  const std::string entry = "\x80\1\1\0\x83\xfe\xff\xff"s + le(63, 4) + le(1000, 4);
  const Put mbr{446, entry};
  const Put signature{510, "\x55\xaa"};
  EXPECT_EQ(sentence(device_with({mbr, signature, {512, le(0x82564557, 4)}})), "");
  // The boot block of FreeBSD's "dangerously dedicated" disks has an entry that begins at 0.
  const std::string dedicated = "\x80\0\1\0\xa5\xfe\xff\xff"s + le(0, 4) + le(50000, 4);
  EXPECT_EQ(sentence(device_with({{446, dedicated}, signature, {512, le(0x82564557, 4)}})),
            "bsd: a BSD disk label; mmls -t bsd lists its partitions");
}

TEST(Foreign, ALeftoverOfARaidIsSaidToBeOnePerhaps) {
  Identity identity;
  identity.type = "isw_raid_member";
  identity.usage = "raid";
  const DevicePtr empty = device_with({});
  EXPECT_EQ(sentence(empty, identity),
            "isw_raid_member: a member of an Intel RAID array (IMSM); mdadm --assemble --readonly "
            "opens it");
  identity.pttype = "dos";
  EXPECT_EQ(sentence(empty, identity),
            "isw_raid_member: a member of an Intel RAID array (IMSM); mdadm --assemble --readonly "
            "opens it (if it is a leftover of one: wipefs -t isw_raid_member -a on a copy)");
  identity.type = "future_raid_member";
  identity.pttype = "";
  EXPECT_EQ(
      sentence(empty, identity),
      "future_raid_member: a member of a RAID array; the program that made the array opens it");
}

TEST(Foreign, ALabelInAPartitionIsOpenedByTheWholeDisk) {
  const DevicePtr slice = device_with({{512, le(0x82564557, 4)}, {512 + 132, le(0x82564557, 4)}});
  for (const char* type : {"0xa5", "0xa6", "0xa9"}) {
    EXPECT_EQ(sentence(slice, {}, type),
              "bsd: a BSD disk label; losetup -P of the whole disk opens it");
    EXPECT_EQ(sentence(device_with({}), {}, type), "");
  }
}

// A bad block where some signature would be must not hide what the rows below know.
TEST(Foreign, UnreadableBlocksAreOfNoKind) {
  const DevicePtr good = device_with({{512 + 12, le(0x600DDEEE, 4) + le(1, 4)}});
  const DevicePtr bad =
      make_concat({{good, 0, 4096}, {nullptr, 0, 4096}, {good, 8192, kSize - 8192}},
                  Error(Fault::io, "a bad block"), "disk");
  EXPECT_EQ(sentence(bad),
            "solaris: a Solaris x86 disk label; losetup -P of the whole disk opens it");
  EXPECT_EQ(sentence(make_unreadable(kSize, Error(Fault::io, "dead"), "disk")), "");
}

TEST(Foreign, BitLockerThatCryptsetupRefuses) {
  Identity identity;
  identity.type = "BitLocker";
  const std::string normal = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01";
  const std::string on_write = "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8";
  const auto volume = [&](const char* oem, std::int64_t guid_at, const std::string& guid,
                          unsigned state, unsigned protection) {
    const std::string entry = le(40, 2) + le(2, 2) + le(8, 2) + le(1, 2) + std::string(26, 'x') +
                              le(protection, 2) + std::string(4, 'x');
    return device_with({{0, "\xEB\x58\x90"s + oem},
                        {guid_at, guid + le(65536, 8)},
                        {65536, "-FVE-FS-" + le(57, 2) + le(2, 2) + le(state, 2) + le(4, 2)},
                        {65536 + 64, le(48 + 40, 4)},
                        {65536 + 112, entry}});
  };
  constexpr unsigned kPassphrase = 0x2000;
  const std::string opens = "BitLocker: a BitLocker volume; cryptsetup bitlkOpen opens it";
  const std::string partly =
      "BitLocker: a BitLocker volume that is only partly encrypted; Windows opens it";
  const std::string clear =
      "BitLocker: a BitLocker volume with its key in the clear; dislocker -c opens it";
  for (const auto& [oem, at] : {std::pair("-FVE-FS-", 160), std::pair("MSWIN4.1", 424)}) {
    EXPECT_EQ(sentence(volume(oem, at, normal, 4, kPassphrase), identity), opens) << oem;
    EXPECT_EQ(sentence(volume(oem, at, on_write, 4, kPassphrase), identity), partly) << oem;
    EXPECT_EQ(sentence(volume(oem, at, normal, 5, kPassphrase), identity), partly) << oem;
    EXPECT_EQ(sentence(volume(oem, at, normal, 4, 0), identity), clear) << oem;
  }
  EXPECT_EQ(sentence(device_with({{0, "\xEB\x52\x90-FVE-FS-"}}), identity),
            "BitLocker: a BitLocker volume of Windows Vista; dislocker opens it");
  const std::string lost =
      "BitLocker: a BitLocker volume without the metadata that it needs; "
      "repair-bde of Windows may save what is in it";
  EXPECT_EQ(sentence(device_with({{0, "\xEB\x58\x90-FVE-FS-"}})), lost);
  EXPECT_EQ(sentence(device_with({{0, "\xEB\x58\x90MSWIN4.1"}, {424, normal}})), lost);
  EXPECT_EQ(sentence(device_with({{0, "\xEB\x58\x90MSWIN4.1"}})), "");  // a FAT
}

std::string vhd_footer(std::uint64_t size, std::uint32_t type) {
  std::string footer(512, '\0');
  footer.replace(0, 8, "conectix");
  footer.replace(48, 8, be(size, 8));
  footer.replace(60, 4, be(type, 4));
  std::uint32_t sum = 0;
  for (const char c : footer) sum += static_cast<unsigned char>(c);
  footer.replace(64, 4, be(~sum & 0xFFFFFFFF, 4));
  return footer;
}

TEST(Vhd, FixedIsADiskWithoutItsFooter) {
  const DevicePtr file = device_with({{-512, vhd_footer(kSize - 512, 2)}, {100, "hello"}});
  const auto claim = vhd_probe({*file, {}});
  ASSERT_TRUE(claim);
  Member member;
  member.device = file;
  member.stem = "disk";
  member.unpacks_to_stem = true;
  const Opened opened = vhd_open({{&member, 1}, KeyRing(), Limits(), nullptr, 0});
  ASSERT_EQ(opened.devices.size(), 1U);
  EXPECT_EQ(opened.devices.front().name, "disk");
  EXPECT_EQ(opened.devices.front().device->size(), kSize - 512);
  EXPECT_EQ(as_text(read_bytes(*opened.devices.front().device, 100, 5)), "hello");
  check_contract(*opened.devices.front().device);
}

TEST(Vhd, AFooterThatDoesNotFitIsData) {
  for (const std::string& footer :
       {vhd_footer(kSize, 2), vhd_footer(kSize - 1024, 2), vhd_footer(kSize - 512, 3),
        "xonectix" + vhd_footer(kSize - 512, 2).substr(8), "conectix" + std::string(504, '\0')}) {
    const DevicePtr disk = device_with({{-512, footer}});
    EXPECT_FALSE(vhd_probe({*disk, {}}));
    EXPECT_EQ(sentence(disk), "");
  }
  EXPECT_FALSE(vhd_probe({*device_with({}, 512), {}}));
}

TEST(Vhd, AWrongChecksumIsSaid) {
  std::string footer = vhd_footer(kSize - 512, 2);
  footer[300] = 1;  // the checksum is over all of it
  const DevicePtr file = device_with({{-512, footer}});
  const auto claim = vhd_probe({*file, {}});
  ASSERT_TRUE(claim);
  Member member;
  member.device = file;
  member.claim = &*claim;
  member.stem = "disk";
  const Opened opened = vhd_open({{&member, 1}, KeyRing(), Limits(), nullptr, 0});
  ASSERT_EQ(opened.devices.size(), 1U);
  EXPECT_EQ(opened.devices.front().device->size(), kSize - 512);
  ASSERT_TRUE(opened.devices.front().trouble);
  EXPECT_EQ(opened.devices.front().trouble->state, Trouble::note);
  EXPECT_NE(opened.devices.front().trouble->reason.find("wrong checksum"), std::string::npos);
}

TEST(Vhd, DifferencingNeedsItsParent) {
  EXPECT_EQ(sentence(device_with({{0, vhd_footer(kSize, 4)}})),
            "vhd: a differencing VHD image; Hyper-V or VirtualBox opens it, with the image that it "
            "builds on");
}

}  // namespace
}  // namespace peelfs::test
