// The table of layers, in the order in which they are asked. The first that claims a device has it.
#include <array>

#include "btrfs/btrfs.h"
#include "foreign/foreign.h"
#include "partition/partition.h"
#include "peelfs/formats.h"
#include "qcow2/qcow2.h"
#include "vhd/vhd.h"

// Layers that a build may leave out, see CMakeLists.txt.
#include "left_out/left_out.h"
#ifndef PEELFS_WITHOUT_EXT
#include "ext/ext.h"
#endif
#ifndef PEELFS_WITHOUT_LUKS
#include "luks/luks.h"
#endif
#ifndef PEELFS_WITHOUT_LVM
#include "lvm/lvm.h"
#endif

namespace peelfs {

namespace {

#ifdef PEELFS_WITHOUT_EXT
constexpr const Layer& kExtRow = kExtLeftOut;
#else
constexpr const Layer& kExtRow = kExtLayer;
#endif
#ifdef PEELFS_WITHOUT_LUKS
constexpr const Layer& kLuksRow = kLuksLeftOut;
#else
constexpr const Layer& kLuksRow = kLuksLayer;
#endif
#ifdef PEELFS_WITHOUT_LVM
constexpr const Layer& kLvmRow = kLvmLeftOut;
#else
constexpr const Layer& kLvmRow = kLvmLayer;
#endif

constexpr std::array kRows{
    // Before qcow2: what a guest wrote at the beginning of its disk must not make an image format
    // of a VHD, whose footer names the size of just this file.
    kVhdLayer,
    // Magic numbers at offset 0, which nothing else may share.
    kQcow2Layer,
    kForeignImageLayer,
    // Before everything that a RAID member with its superblock at the end would look like.
    kForeignLayer,
    kLuksRow,
    // An LVM label lies in one of the first four sectors; pvcreate wipes what it finds there, so a
    // label is newer than a partition table beside it.
    kLvmRow,
    // Before MBR: every GPT disk has a protective or hybrid MBR.
    kGptLayer,
    // Behind GPT, both copies of which are on a member only if it holds all that the array holds (a
    // mirror, or a leftover). Before MBR, which proves nothing of that kind.
    kForeignRaidLayer,
    // Before ext: mke2fs wipes sector 0, so a partition table there is newer than an ext superblock
    // at 1024. MBR itself refuses the boot sectors of filesystems.
    kMbrLayer,
    kExtRow,
    kBtrfsLayer,
    kLeafLayer,
};

constexpr Formats kFormats{kRows};

}  // namespace

const Formats& standard_formats() {
  return kFormats;
}

}  // namespace peelfs
