// The table of layers, in the order in which they are asked. The first that claims a device has it.
#include <array>

#include "btrfs/btrfs.h"
#include "ext/ext.h"
#include "foreign/foreign.h"
#include "luks/luks.h"
#include "lvm/lvm.h"
#include "partition/partition.h"
#include "peelfs/formats.h"
#include "qcow2/qcow2.h"
#include "vhd/vhd.h"

namespace peelfs {

namespace {

constexpr std::array kRows{
    // Before qcow2: what a guest wrote at the beginning of its disk must not make an image format
    // of a VHD, whose footer names the size of just this file.
    kVhdLayer,
    // Magic numbers at offset 0, which nothing else may share.
    kQcow2Layer,
    kForeignImageLayer,
    // Before everything that a RAID member with its superblock at the end would look like.
    kForeignLayer,
    kLuksLayer,
    // An LVM label lies in one of the first four sectors; pvcreate wipes what it finds there, so a
    // label is newer than a partition table beside it.
    kLvmLayer,
    // Before MBR: every GPT disk has a protective or hybrid MBR.
    kGptLayer,
    // Behind GPT, both copies of which are on a member only if it holds all that the array holds (a
    // mirror, or a leftover). Before MBR, which proves nothing of that kind.
    kForeignRaidLayer,
    // Before ext: mke2fs wipes sector 0, so a partition table there is newer than an ext superblock
    // at 1024. MBR itself refuses the boot sectors of filesystems.
    kMbrLayer,
    kExtLayer,
    kBtrfsLayer,
    kLeafLayer,
};

constexpr Formats kFormats{kRows};

}  // namespace

const Formats& standard_formats() {
  return kFormats;
}

}  // namespace peelfs
