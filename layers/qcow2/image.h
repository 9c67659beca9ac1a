// An opened qcow2 image: its files, keys and tables, and the disks that can be seen in it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/sector_cipher.h"
#include "peelfs/block_device.h"
#include "peelfs/layer.h"
#include "qcow2/header.h"
#include "qcow2/read/block_cache.h"
#include "qcow2/read/cluster_map.h"

namespace peelfs::qcow2 {

class Writer;

/// What the disks of one image share. Filled by open_image(), immutable from then on; thread-safe.
struct Image {
  std::string name;  ///< for messages: "os43.qcow2"
  DevicePtr file;
  Header header;
  DevicePtr data;     ///< where standard clusters lie: `file`, or the external data file
  DevicePtr backing;  ///< null: what is unallocated reads as zero
  std::shared_ptr<const SectorCipher> cipher;  ///< null: not encrypted
  std::uint64_t iv_offset = 0;                 ///< in 512-byte units
  Caches* caches = nullptr;
  std::uint64_t cache_owner = 0;
  std::shared_ptr<Writer> writer;         ///< null: the image is only read
  std::string read_only_reason;           ///< why, if its file could be written
  std::shared_ptr<const void> relied_on;  ///< of a backing file: see uses.h
  std::shared_ptr<const void> relies_on;  ///< on one of another format: see BlockDevice::rely_on()

  /// `degraded` where some bytes cannot be read, `denied` where a file that it names was refused.
  Troubles troubles;
  std::vector<Part> parts;  ///< of this image and of those that it is based on

  /// LUKS counts initialization vectors in sectors of the host, old AES in sectors of the guest.
  bool iv_from_host() const noexcept { return header.disk.crypt_method == kCryptLuks; }
};

/// The active disk; writable when the image is.
DevicePtr make_active_disk(std::shared_ptr<const Image> image, std::string description);

/// One disk of an image: what the guest sees through one L1 table.
/// @param size of the disk, bytes
/// @param description "qcow2 os43.qcow2", for errors
/// The L1 table must have passed check_l1().
DevicePtr make_disk(std::shared_ptr<const Image> image, std::uint64_t size, const TableLocation& l1,
                    bool short_l1_is_unallocated, std::string description);

}  // namespace peelfs::qcow2
