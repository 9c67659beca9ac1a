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
  bool encrypted = false;
  bool snapshots = false;  ///< internal snapshots come and go
  bool qemu_discards = true;
};

/// Makes `folder`/disk.qcow2 and what it needs. The bytes it begins with are qemu-io's.
Disk make_qcow2(const std::string& folder, const Qcow2Options& options);

/// The same for an image that is there already.
Disk qcow2_disk(const std::string& folder, const Qcow2Options& options);

/// How long an image may become in which nothing is leaked: every cluster of the disk (and of as
/// many snapshots), the tables for them, a quarter more, and what waits for the next flush.
std::uint64_t longest_image(const Qcow2Options& options, unsigned disks = 1);

}  // namespace peelfs::test
