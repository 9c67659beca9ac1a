// What else a device may hold besides filesystems: members of arrays and pools, volumes that are
// encrypted or cached, partition tables of other systems.
#include "foreign/checks.h"
#include "foreign/kinds.h"

namespace peelfs::foreign {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kLosetup = "losetup -P opens it";
// Of a label in a partition: its entries may count from the start of the disk.
constexpr std::string_view kLosetupWhole = "losetup -P of the whole disk opens it";
constexpr std::string_view kKpartx = "kpartx -a opens it";
constexpr std::string_view kDmraid = "dmraid -ay opens it";

constexpr Kind raid(std::string_view type, std::string_view what, std::string_view advice) {
  return {.turn = Turn::after_gpt, .format = type, .what = what, .advice = advice, .type = type};
}

constexpr Kind named(std::string_view type, std::string_view what, std::string_view advice) {
  return {.format = type, .what = what, .advice = advice, .type = type};
}

constexpr Kind partition(std::string_view format, std::string_view parttype, std::string_view what,
                         std::string_view advice) {
  return {.format = format, .what = what, .advice = advice, .parttype = parttype};
}

constexpr Kind bitlocker(bool (*check)(const BlockDevice&), std::string_view what,
                         std::string_view advice) {
  return {
      .format = "BitLocker", .what = what, .advice = advice, .type = "BitLocker", .check = check};
}

constexpr std::string_view kBsd = "a BSD disk label";

constexpr Kind bsd_slice(std::string_view parttype) {
  return {.format = "bsd",
          .what = kBsd,
          .advice = kLosetupWhole,
          .parttype = parttype,
          .check = &has_bsd_label};
}

constexpr std::string_view kLdm = "a part of a Windows dynamic disk (LDM)";
constexpr std::string_view kLdmAdvice = "ldmtool opens it, with all disks of its group";

constexpr std::array kDevices = {
    // Members of arrays and pools.
    named("linux_raid_member", "a member of an MD RAID array",
          "mdadm --assemble --readonly opens it"),
    raid("ddf_raid_member", "a member of a DDF RAID array", "mdadm --assemble --readonly opens it"),
    raid("isw_raid_member", "a member of an Intel RAID array (IMSM)",
         "mdadm --assemble --readonly opens it"),
    raid("lsi_mega_raid_member", "a member of an LSI MegaRAID array", kDmraid),
    raid("via_raid_member", "a member of a VIA RAID array", kDmraid),
    raid("silicon_medley_raid_member", "a member of a Silicon Image RAID array", kDmraid),
    raid("nvidia_raid_member", "a member of an NVIDIA RAID array", kDmraid),
    raid("promise_fasttrack_raid_member", "a member of a Promise FastTrak array", kDmraid),
    raid("hpt45x_raid_member", "a member of a HighPoint RAID array (HPT45x)", kDmraid),
    raid("hpt37x_raid_member", "a member of a HighPoint RAID array (HPT37x)", kDmraid),
    raid("adaptec_raid_member", "a member of an Adaptec RAID array", kDmraid),
    raid("jmicron_raid_member", "a member of a JMicron RAID array", kDmraid),
    named("LVM1_member", "a member of an LVM1 volume group", "LVM2 before 2.03 opens it"),
    named("zfs_member", "a member of a ZFS pool", "zpool import -o readonly=on opens it"),
    named("VMFS_volume_member", "a member of a VMFS datastore", "vmfs-fuse or vmfs6-fuse opens it"),
    named("stratis", "a member of a Stratis pool", "stratisd opens it"),
    named("ceph_bluestore", "an object store of Ceph (BlueStore)",
          "ceph-objectstore-tool opens it"),
    named("drbd", "a DRBD backing device", "drbdadm up opens it, with its configuration"),
    named("drbdmanage_control_volume", "a control volume of drbdmanage", "drbdmanage opens it"),
    named("drbdproxy_datalog", "a data log of DRBD Proxy", "DRBD Proxy opens it"),
    partition("storage_spaces", "e75caf8f-f680-4cee-afa3-b001e56efc2d",
              "a member of a Windows storage pool (Storage Spaces)",
              "Windows opens it, with all disks of the pool"),
    Kind{.format = "storage_spaces",
         .what = "a member of a Windows storage pool (Storage Spaces)",
         .advice = "Windows opens it, with all disks of the pool",
         .any = {{{0, "SPACEDB "}}}},
    partition("ldm", "0x42", kLdm, kLdmAdvice),
    partition("ldm", "af9b60a0-1431-4f62-bc68-3311714a69ad", kLdm, kLdmAdvice),
    partition("ldm", "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3",
              "the database of a Windows dynamic disk (LDM)", kLdmAdvice),

    // One device below another: encrypted, cached, copied, checked.
    bitlocker(&is_bitlocker_of_vista, "a BitLocker volume of Windows Vista", "dislocker opens it"),
    bitlocker(&is_bitlocker_in_conversion, "a BitLocker volume that is only partly encrypted",
              "Windows opens it"),
    bitlocker(&is_bitlocker_with_clear_key, "a BitLocker volume with its key in the clear",
              "dislocker -c opens it"),
    bitlocker(nullptr, "a BitLocker volume", "cryptsetup bitlkOpen opens it"),
    Kind{.format = "BitLocker",
         .what = "a BitLocker volume without the metadata that it needs",
         .advice = "repair-bde of Windows may save what is in it",
         .any = {{{3, "-FVE-FS-"}, {3, "MSWIN4.1"}}},
         .check = &is_bitlocker_boot_sector},
    Kind{.format = "fvault2",
         .what = "a FileVault 2 volume (CoreStorage)",
         .advice = "cryptsetup fvault2Open opens it",
         .any = {{{88, "CS"}}},
         .check = &is_core_storage},
    named("apfs", "an APFS container", "fsapfsmount opens it"),
    named("bcache", "a bcache device, whose newest data may be in its cache",
          "bcache of a Linux host opens it"),
    named("vdo", "a VDO volume", "vdo start of RHEL opens it"),
    named("DM_snapshot_cow", "the changes of a device-mapper snapshot",
          "dmsetup opens it, with the device that they belong to"),
    named("DM_verity_hash", "the hashes of a dm-verity device",
          "veritysetup checks the device that they belong to"),
    named("DM_integrity", "a dm-integrity device", "integritysetup open opens it"),
    named("swsuspend", "the memory of a hibernated system, in its swap space",
          "starting that system uses it"),
    named("jbd", "an external journal of an ext filesystem",
          "e2fsck uses it, with the device of that filesystem"),
    named("xfs_external_log", "an external log of an XFS filesystem",
          "mount -o logdev uses it, with the device of that filesystem"),
    named("ubi", "a UBI flash image", "ubi_reader opens it"),
    Kind{.format = "ubi",
         .what = "a UBI flash image",
         .advice = "ubi_reader opens it",
         .any = {{{0, "UBI#\1\0\0\0"sv}}}},

    // Partition tables. libblkid checks their checksums where they have one.
    named("sun", "a Sun disk label", kKpartx),
    named("sgi", "an SGI disk label", kLosetup),
    named("mac", "an Apple partition map", kKpartx),
    bsd_slice("0xa5"),
    bsd_slice("0xa6"),
    bsd_slice("0xa9"),
    named("bsd", kBsd, kKpartx),
    Kind{.format = "bsd",
         .what = kBsd,
         .advice = "mmls -t bsd lists its partitions",
         .any = {{{512, "\x57\x45\x56\x82"}}},
         .check = &is_label_of_the_whole},
    named("ultrix", "an Ultrix disk label", kLosetup),
    named("atari", "an Atari partition table (AHDI)", kLosetup),
    named("aix", "an AIX volume", "AIX opens it"),
    Kind{.format = "solaris",
         .what = "a Solaris x86 disk label",
         .advice = kLosetupWhole,
         .any = {{{512 + 12, "\xee\xde\x0d\x60\1\0\0\0"sv}}},
         .check = &is_label_of_the_whole},
    Kind{.format = "unixware",
         .what = "a UnixWare disk label",
         .advice = kLosetupWhole,
         .any = {{{29 * 512 + 4, "\x0d\x60\xe5\xca"}}},
         .check = &is_label_of_the_whole},
    Kind{.format = "minix",
         .what = "a Minix partition table within a partition",
         .advice = kLosetupWhole,
         .parttype = "0x81",
         .check = &is_minix_subpartition},
    Kind{.format = "amiga",
         .what = "an Amiga partition table (RDB)",
         .advice = kLosetup,
         .check = &is_amiga},
    Kind{.format = "dasd",
         .what = "a DASD of an IBM mainframe",
         .advice = "Linux on IBM Z opens it",
         // "VOL1" twice, or "LNX1" or "CMS1", in EBCDIC and in block 2 of 512 to 4096 bytes.
         .any = {{{1024, "\xe5\xd6\xd3\xf1\xe5\xd6\xd3\xf1"},
                  {2048, "\xe5\xd6\xd3\xf1\xe5\xd6\xd3\xf1"},
                  {4096, "\xe5\xd6\xd3\xf1\xe5\xd6\xd3\xf1"},
                  {8192, "\xe5\xd6\xd3\xf1\xe5\xd6\xd3\xf1"},
                  {1024, "\xd3\xd5\xe7\xf1"},
                  {8192, "\xd3\xd5\xe7\xf1"},
                  {1024, "\xc3\xd4\xe2\xf1"},
                  {8192, "\xc3\xd4\xe2\xf1"}}}},
};

}  // namespace

std::span<const Kind> devices() {
  return kDevices;
}

}  // namespace peelfs::foreign
