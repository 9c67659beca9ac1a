// The table of layers, in the order in which they are asked. The first that claims a device has it.
#include <array>

#include "ext/ext.h"
#include "foreign/foreign.h"
#include "luks/luks.h"
#include "lvm/lvm.h"
#include "partition/partition.h"
#include "peelfs/layer.h"
#include "qcow2/qcow2.h"
#include "vhd/vhd.h"

namespace peelfs {

std::span<const Layer> layer_table() {
  static const std::array<Layer, 10> table{{
      // Before qcow2: what a guest wrote at the beginning of its disk must not make an image format
      // of a VHD, whose footer names the size of just this file.
      {"vhd", &vhd_probe, &vhd_open, true},
      // Magic numbers at offset 0, which nothing else may share.
      {"qcow2", &qcow2_probe, &qcow2_open, true, &qcow2_parts},
      {"foreign-image", &foreign_image_probe, &foreign_open, true},
      // Before everything that a RAID member with its superblock at the end would look like.
      {"foreign", &foreign_probe, &foreign_open, false},
      {"luks", &luks_probe, &luks_open, false},
      // An LVM label lies in one of the first four sectors; pvcreate wipes what it finds there, so
      // a
      // label is newer than a partition table beside it.
      {"lvm", &lvm_probe, &lvm_open, false},
      // Before MBR: every GPT disk has a protective or hybrid MBR.
      {"gpt", &gpt_probe, &gpt_open, false},
      // Behind GPT, both copies of which are on a member only if it holds all that the array holds
      // (a mirror, or a leftover). Before MBR, which proves nothing of that kind.
      {"foreign-raid", &foreign_raid_probe, &foreign_open, false},
      // Before ext: mke2fs wipes sector 0, so a partition table there is newer than an ext
      // superblock
      // at 1024. MBR itself refuses the boot sectors of filesystems.
      {"mbr", &mbr_probe, &mbr_open, false},
      {"ext", &ext_probe, &ext_open, false},
  }};
  return table;
}

}  // namespace peelfs
