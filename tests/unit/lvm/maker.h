// Makes physical volumes with any metadata text: the structures are written here a second time,
// from LVM2's description of them, so that a mistake in one place does not hide in the other.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "support/support.h"

namespace peelfs::test {

/// CRC as LVM2 has it.
std::uint32_t lvm_crc(Bytes bytes);

/// A disk of any size. What was not written reads as stamps: each 8 bytes say which disk they are
/// of and where they lie, so that a reader of a logical volume can tell where its bytes come from.
class StampedDisk : public BlockDevice {
 public:
  StampedDisk(unsigned number, std::uint64_t size, std::uint32_t sector_size = 512)
      : BlockDevice(size, sector_size), number_(number) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override;
  std::string describe() const override { return "disk " + std::to_string(number_); }

  void write(std::uint64_t offset, Bytes bytes);
  /// Changes one byte of what was written.
  void flip(std::uint64_t offset);
  static std::uint64_t stamp(unsigned number, std::uint64_t offset) {
    return (std::uint64_t{number} << 52U) + offset / 8;
  }

 private:
  const unsigned number_;
  std::map<std::uint64_t, Buffer> written_;
};
using StampedDiskPtr = std::shared_ptr<StampedDisk>;

/// The 8 bytes of a device at `offset`, little-endian.
std::uint64_t word_at(const BlockDevice& device, std::uint64_t offset);

struct AreaSpec {
  std::uint64_t start = 4096;
  std::uint64_t size = 1044480;
  std::string text;                 ///< empty: none was ever written
  std::uint64_t text_offset = 512;  ///< in the area; it wraps where it must
  std::uint32_t flags = 0;          ///< of the raw location
};

struct VolumeSpec {
  std::string uuid;  ///< 32 characters
  unsigned label_sector = 1;
  std::uint32_t header_offset = 32;
  std::vector<AreaSpec> areas;
  std::uint64_t data_start = 1U << 20U;
  std::uint32_t extension_version = 2, extension_flags = 1;
};

/// Writes label, headers and texts.
void write_volume(StampedDisk& disk, const VolumeSpec& spec);
/// Puts the right checksums back after a test has changed bytes of the label or an area's header.
void write_label(StampedDisk& disk, unsigned sector, Buffer label);
void write_area_header(StampedDisk& disk, std::uint64_t start, Buffer header);

/// "PV" and the number, 32 characters: pv_uuid(3) is "PV0000...03".
std::string pv_uuid(unsigned number);
/// The same with hyphens.
std::string hyphenated(const std::string& uuid);

/// Text of one volume group.
struct GroupSpec {
  std::string name = "vgs";
  std::string uuid = "VGVGVGVGVGVGVGVGVGVGVGVGVGVGVGVG";
  unsigned seqno = 7;
  std::uint64_t extent_size = 128;  ///< sectors
  std::uint64_t pe_start = 2048;    ///< sectors
  std::uint64_t pe_count = 1000;
  std::uint64_t dev_size = 0;                    ///< sectors; 0: what pe_start and pe_count come to
  unsigned members = 2;                          ///< pv0, pv1, ... with pv_uuid(0), ...
  std::map<unsigned, std::string> member_flags;  ///< for example 1: "MISSING"
  std::string volumes;                           ///< text of logical_volumes
  std::string more;                              ///< further lines of the group
  std::string text() const;
  std::uint64_t device_bytes() const;
};

/// Text of one logical volume. @param segments each made by segment()
std::string volume_text(const std::string& name, const std::vector<std::string>& segments,
                        const std::string& status = "\"READ\", \"WRITE\", \"VISIBLE\"");
std::string segment_text(std::uint64_t start, std::uint64_t count, const std::string& body);
/// The body of a linear segment.
std::string linear_on(const std::string& volume, std::uint64_t extent);
/// A volume of one linear segment.
std::string linear_volume(const std::string& name, const std::string& on, std::uint64_t extent,
                          std::uint64_t count);
/// A hidden one.
std::string hidden_volume(const std::string& name, const std::string& on, std::uint64_t extent,
                          std::uint64_t count);

/// The disks of a group, each with one copy of its text.
std::vector<StampedDiskPtr> make_group(const GroupSpec& spec);
std::vector<DevicePtr> as_devices(const std::vector<StampedDiskPtr>& disks);

}  // namespace peelfs::test
