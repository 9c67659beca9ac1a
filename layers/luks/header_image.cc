#include "luks/header_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs::luks {
namespace {

/// @return bytes of a LUKS2 copy at `offset`, or why there is none (then `trouble` is not empty)
Buffer read_copy(const BlockDevice& device, std::uint64_t offset, bool primary,
                 std::string& trouble) {
  const std::string_view magic = primary ? kPrimaryMagic : kSecondaryMagic;
  const Buffer head = read_up_to(device, offset, BinaryHeader::kSize);
  const std::optional<std::uint16_t> version = header_version(head, magic);
  if (!version) {
    trouble = "there is no magic number at " + hex(offset);
    return {};
  }
  if (head.size() < BinaryHeader::kSize) {
    trouble = "it is cut off (found " + std::to_string(head.size()) + " bytes, expected " +
              std::to_string(BinaryHeader::kSize) + ")";
    return {};
  }
  const BinaryHeader header = BinaryHeader::decode(head);
  if (*version != 2 || !is_header_size(header.hdr_size) ||
      header.hdr_offset != (primary ? 0 : header.hdr_size) || header.hdr_offset != offset) {
    trouble = "its fields contradict each other (found version " + std::to_string(*version) +
              ", hdr_size " + hex_figure(header.hdr_size) + ", hdr_offset " +
              hex_figure(header.hdr_offset) +
              ", expected version 2, a hdr_size from 0x4000 to 0x400000, hdr_offset " +
              hex(offset) + ")";
    return {};
  }
  if (offset + header.hdr_size >
      device.size()) {  // both below 2^63: is_header_size, and a real device
    trouble = "it is cut off (found a device of " + std::to_string(device.size()) +
              " bytes, expected " + figure(offset + header.hdr_size) + ")";
    return {};
  }
  Buffer bytes = read_bytes(device, offset, header.hdr_size);
  trouble = checksum_trouble(bytes);
  if (!trouble.empty()) bytes.clear();
  return bytes;
}

/// @return where a usable secondary header lies; 0: nowhere, and `trouble` says of the first place
///   that has its magic number what is wrong there
std::uint64_t find_secondary(const BlockDevice& device, std::string& trouble) {
  trouble = "there is none at 0x4000 to 0x400000";
  bool seen = false;
  for (const std::uint64_t offset : kHeaderSizes) {
    if (offset >= device.size()) break;
    const Buffer magic = read_up_to(device, offset, 8);
    if (header_version(magic, kSecondaryMagic) != 2) continue;
    std::string why;
    if (!read_copy(device, offset, false, why).empty()) return offset;
    if (!seen) trouble = "at " + hex(offset) + " " + why;
    seen = true;
  }
  return 0;
}

HeaderCopy copy_of(Buffer bytes, bool primary) {
  const BinaryHeader header = BinaryHeader::decode(bytes);
  return {2,           std::move(bytes), primary ? "primary" : "secondary",
          header.uuid, header.label,     header.seqid};
}

HeaderCopies find_luks2(const BlockDevice& device) {
  HeaderCopies copies;
  std::string primary_trouble, secondary_trouble;
  Buffer primary = read_copy(device, 0, true, primary_trouble);
  // A primary that can be trusted says where the other one lies. Otherwise it may be anywhere.
  const std::uint64_t place = primary.empty() ? find_secondary(device, secondary_trouble)
                                              : BinaryHeader::decode(primary).hdr_size;
  Buffer secondary;
  if (place != 0) {
    secondary_trouble.clear();
    secondary = read_copy(device, place, false, secondary_trouble);
  }
  if (!primary_trouble.empty()) {
    copies.trouble = "the primary header is damaged: " + primary_trouble;
  }
  if (!secondary_trouble.empty()) {
    if (!copies.trouble.empty()) copies.trouble += "; ";
    copies.trouble += "the secondary header is damaged: " + secondary_trouble;
  }
  if (!primary.empty()) copies.usable.push_back(copy_of(std::move(primary), true));
  if (!secondary.empty()) copies.usable.push_back(copy_of(std::move(secondary), false));
  if (copies.usable.empty()) {
    throw Error(Fault::damaged, "no LUKS2 header is usable: " + copies.trouble)
        .advice("if there is a backup of the header, give it with --header NAME=PATH");
  }
  if (copies.usable.size() == 2 && copies.usable[0].seqid != copies.usable[1].seqid) {
    const bool newer_first = copies.usable[0].seqid > copies.usable[1].seqid;
    copies.trouble = "the " + copies.usable[newer_first ? 1 : 0].name + " header is older (epoch " +
                     std::to_string(copies.usable[0].seqid) + " in the primary, " +
                     std::to_string(copies.usable[1].seqid) + " in the secondary)";
    if (!newer_first) std::swap(copies.usable[0], copies.usable[1]);
  }
  return copies;
}

}  // namespace

HeaderImage::HeaderImage(std::uint64_t size)
    : fd_(memfd_create("peelfs-luks-header", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  if (fd_ < 0) throw Error::system(errno, "cannot create memory for a LUKS header");
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) {
    const int error_number = errno;
    close(std::exchange(fd_, -1));
    throw Error::system(error_number, "cannot size the memory for a LUKS header");
  }
}

HeaderImage::~HeaderImage() {
  if (fd_ >= 0) close(fd_);
}

HeaderImage::HeaderImage(HeaderImage&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

// NOLINTNEXTLINE(readability-make-member-function-const): it changes the memory behind fd_
void HeaderImage::write(std::uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw Error::system(errno, "cannot copy a LUKS header into memory");
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

// NOLINTNEXTLINE(readability-make-member-function-const): it changes the memory behind fd_
void HeaderImage::seal() {
  if (fcntl(fd_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    throw Error::system(errno, "cannot seal the copy of a LUKS header");
  }
}

std::string HeaderImage::path() const {
  return "/proc/self/fd/" + std::to_string(fd_);
}

std::uint64_t find_secondary_header(const BlockDevice& device) {
  std::string trouble;
  return find_secondary(device, trouble);
}

HeaderCopies find_headers(const BlockDevice& device) {
  const Buffer head = read_up_to(device, 0, BinaryHeader::kSize);
  const std::optional<std::uint16_t> version = header_version(head, kPrimaryMagic);
  if (version == 1) {
    const Phdr phdr = Phdr::decode(head);
    HeaderCopies copies;
    copies.usable.push_back(
        {1, Buffer(head.begin(), head.begin() + Phdr::kSize), "", phdr.uuid, "", 0});
    return copies;
  }
  // A wrong version with a secondary header behind it is a damaged LUKS2 header, not a new format.
  if (version && *version != 2 && find_secondary_header(device) == 0) {
    throw Error(Fault::unsupported, "LUKS version is not known")
        .found(std::to_string(*version))
        .expected("1 or 2")
        .advice("if the header is damaged, give a backup of it with --header NAME=PATH");
  }
  return find_luks2(device);
}

HeaderImage make_header_image(const HeaderCopy& copy) {
  if (copy.version == 1) {
    const Phdr phdr = Phdr::decode(copy.bytes);
    // Every number has 32 bits and key_bytes is bounded by the caller, so the sums stay below 2^42.
    std::uint64_t end = std::uint64_t{phdr.payload_offset} * 512;
    for (const Phdr::KeySlot& slot : phdr.slots) {
      end = std::max(end, std::uint64_t{slot.key_material_offset} * 512 +
                              round_up(std::uint64_t{Phdr::kStripes} * phdr.key_bytes, 4096));
    }
    HeaderImage image(std::max<std::uint64_t>(round_up(end, 4096), 1U << 20U));
    image.write(0, copy.bytes);
    return image;
  }
  const std::uint64_t hdr_size = copy.bytes.size();
  HeaderImage image(2 * hdr_size + kGreatestKeyslotsArea);
  Buffer bytes = copy.bytes;
  turn_into_copy(bytes, true);
  image.write(0, bytes);
  turn_into_copy(bytes, false);
  image.write(hdr_size, bytes);
  return image;
}

}  // namespace peelfs::luks
