// The copy in memory of a LUKS header that libcryptsetup gets instead of the disk: if it repairs
// anything, it repairs only the copy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "luks/luks_disk.h"
#include "peelfs/block_device.h"

namespace peelfs::luks {

/// A sparse memfd. Not thread-safe.
class HeaderImage {
 public:
  /// @param size bytes; none of them is memory until it is written
  explicit HeaderImage(std::uint64_t size);
  ~HeaderImage();
  HeaderImage(HeaderImage&& other) noexcept;
  HeaderImage& operator=(HeaderImage&&) = delete;
  HeaderImage(const HeaderImage&) = delete;
  HeaderImage& operator=(const HeaderImage&) = delete;

  void write(std::uint64_t offset, Bytes bytes);
  /// From now on no code can change it, not even libcryptsetup.
  void seal();
  /// A path that opens it, in this process.
  std::string path() const;

 private:
  int fd_;
};

/// One copy of a header that passed what can be checked without libcryptsetup.
struct HeaderCopy {
  std::uint16_t version = 0;  ///< 1 or 2
  Buffer bytes;               ///< LUKS1: the phdr; LUKS2: hdr_size bytes
  std::string name;           ///< "primary", "secondary" (LUKS2)
  std::string uuid, label;
  std::uint64_t seqid = 0;  ///< LUKS2; 0 otherwise
};

struct HeaderCopies {
  /// In the order in which they are to be tried: newest first, of equals the primary.
  std::vector<HeaderCopy> usable;
  /// What is wrong with the copies that are not, for people; empty when nothing is.
  std::string trouble;
};

/// Finds the headers of a device: LUKS1's one, or LUKS2's primary at 0 and secondary, wherever it
/// lies.
/// @throws Error: damaged when no copy is usable, unsupported for another version
HeaderCopies find_headers(const BlockDevice& device);

/// The image that libcryptsetup loads: both copies made from this one, and room for the keyslots.
HeaderImage make_header_image(const HeaderCopy& copy);

/// Cheap: whether a LUKS2 secondary header with a right checksum lies at one of the places for it.
/// @return where, or 0
std::uint64_t find_secondary_header(const BlockDevice& device);

}  // namespace peelfs::luks
