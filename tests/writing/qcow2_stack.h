// What a qcow2 image that is written in place is to be like.
#pragma once

#include <cstdint>
#include <string>

#include "writing/stack.h"

namespace peelfs::test {

struct Qcow2Options {
  std::uint64_t cluster = 65536;
  std::uint64_t size = 12U << 20U;
  std::string create = {};  ///< more -o options of qemu-img create
  unsigned refcount_bits = 16;
  std::string data_file = {};       ///< name of an external data file
  std::string backing_format = {};  ///< "raw", "qcow2"; empty: none
  std::uint64_t backing_size = 0;
  bool compressed = false;  ///< begins with compressed clusters
  unsigned writes = 12;     ///< of qemu, in the image before the test begins
  std::uint64_t longest_write = 256 * 1024;
  std::uint64_t seed = 0;  ///< what they are depends on it
  bool encrypted = false;
  bool snapshots = false;  ///< internal snapshots come and go
  bool qemu_discards = true;
};

/// Makes `folder`/disk.qcow2 and what it needs. The bytes it begins with are qemu-io's.
Disk make_qcow2(const std::string& folder, const Qcow2Options& options);

/// An image of any kind that can be written, as the dice will: cluster size, version, widths,
/// backing file, compression, snapshots, data file, encryption, and sizes that are no multiple of
/// anything but 512. Small, so that a few operations are enough to meet its end, and with little in
/// it.
Qcow2Options random_qcow2(Dice& dice);

/// For messages: everything that the image is made from.
std::string to_string(const Qcow2Options& options);

/// The same for an image that is there already.
Disk qcow2_disk(const std::string& folder, const Qcow2Options& options);

/// How long an image may become in which nothing is leaked: every cluster of the disk (and of as
/// many snapshots), the tables for them, a quarter more, and what waits for the next flush.
std::uint64_t longest_image(const Qcow2Options& options, unsigned disks = 1);

}  // namespace peelfs::test
