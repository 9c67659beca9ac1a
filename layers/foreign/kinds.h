// The table of what peelfs knows by name but does not open: how each kind is recognised, what it is
// called and what opens it. A kind that peelfs learns to open moves out of here to a layer of its
// own.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "peelfs/layer.h"

namespace peelfs::foreign {

/// Bytes at a place.
struct Signature {
  /// From the start of the device, below 16 KiB; negative: from its end, at most 512.
  std::int64_t at = 0;
  std::string_view bytes;
};

/// When the rows of a kind are asked (layers/table.cc says why in this order).
enum class Turn {
  image,      ///< files that unpack to a disk. Never asked about sources that are given as raw
  archive,    ///< the same, but their signatures are short: only where libblkid knows nothing
  device,     ///< before all partition tables and filesystems
  after_gpt,  ///< RAID metadata at the end of a disk whose GPT, if it is whole, counts for more
};

/// One row. A device is of this kind if any of the signatures, or libblkid's name, or the type in
/// the partition table fits, and the check does not object.
struct Kind {
  Turn turn = Turn::device;
  std::string_view format =
      {};  ///< what stands under FSTYPE; libblkid's or qemu's name where one has
  std::string_view what = {};      ///< "a VMDK image": continues "unsupported: "
  std::string_view advice = {};    ///< "qemu-img convert opens it": what comes behind the semicolon
  std::string_view type = {};      ///< TYPE or PTTYPE of libblkid
  std::string_view parttype = {};  ///< a partition's type: "0x42", or a GUID in lower case
  std::array<Signature, 8> any = {};
  /// What a signature alone does not prove. With nothing else in the row it decides alone.
  bool (*check)(const BlockDevice&) = nullptr;
};

/// In the order in which they are asked: of two rows for one format the special one comes first.
std::span<const Kind> images();
std::span<const Kind> devices();

/// The first row of that turn that fits. A device that cannot be read fits none. Null: no row fits.
const Kind* find(const ProbeInput& input, Turn turn);

/// Which disk image a file is, by its bytes alone: "vmdk", "vhdx", "ewf", ...
/// @return empty: none of this table
std::string_view image_format(const BlockDevice& file);

}  // namespace peelfs::foreign
