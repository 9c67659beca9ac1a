#include "vhd/vhd.h"

#include <memory>
#include <string>

#include "engine/image_disk.h"
#include "peelfs/devices.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"
#include "vhd/dynamic_disk.h"
#include "vhd/footer.h"

namespace peelfs {

namespace {

std::optional<VhdFooter> footer_at(const BlockDevice& file, std::uint64_t offset) {
  if (file.size() < VhdFooter::kSize || offset > file.size() - VhdFooter::kSize) {
    return std::nullopt;
  }
  try {
    return VhdFooter::decode(read_bytes(file, offset, VhdFooter::kSize));
  } catch (const Error&) {
    return std::nullopt;  // a bad sector tells nothing; the other footer may
  }
}

std::optional<VhdFooter> footer_at_end(const BlockDevice& file) {
  if (file.size() < VhdFooter::kSize) return std::nullopt;
  return footer_at(file, file.size() - VhdFooter::kSize);
}

// A guest may write anything into the last sector of its disk. A footer that names exactly the size
// of this file is believed, and a wrong checksum is reported; a mistake costs only that sector.
bool is_fixed(const BlockDevice& file, const VhdFooter& footer) {
  return file.size() > VhdFooter::kSize && footer.disk_type == VhdFooter::kFixed &&
         footer.current_size == file.size() - VhdFooter::kSize;
}

/// What the footer and its copy say of a dynamic image.
struct Dynamic {
  VhdFooter footer;
  std::string note;
};

bool agree(const VhdFooter& one, const VhdFooter& other) {
  return one.disk_type == other.disk_type && one.data_offset == other.data_offset &&
         one.disk_size() == other.disk_size();
}

/// @throws Error(Fault::damaged) when they contradict each other, or none of them can be trusted
std::optional<Dynamic> find_dynamic(const BlockDevice& file) {
  // A guest may write a footer into the last sector of its raw disk: one at the start is needed.
  const auto copy = footer_at(file, 0);
  if (!copy) return std::nullopt;
  const auto footer = footer_at_end(file);
  const bool has_footer = footer && footer->intact;
  if (!copy->intact && !has_footer) {
    if (copy->disk_type != VhdFooter::kDynamic) return std::nullopt;
    throw Error(Fault::damaged, "neither the footer of the VHD image nor its copy is whole")
        .found("wrong checksums")
        .expected("one of them to be right: they say where everything else is")
        .advice("look for a whole copy of the image");
  }
  if (copy->intact && has_footer && !agree(*copy, *footer)) {
    throw Error(Fault::damaged, "the footer of the VHD image and its copy contradict each other")
        .found("type " + std::to_string(footer->disk_type) + " and " + figure(footer->disk_size()) +
               " bytes at the end, type " + std::to_string(copy->disk_type) + " and " +
               figure(copy->disk_size()) + " bytes at the start")
        .expected("the same in both")
        .advice("look for a whole copy of the image");
  }
  const VhdFooter& used = has_footer ? *footer : *copy;
  if (used.disk_type != VhdFooter::kDynamic) return std::nullopt;
  std::string note;
  if (!has_footer) note = "there is no whole footer at the end; its copy at the start is used";
  if (!copy->intact) note = "the copy of the footer at the start has a wrong checksum";
  return Dynamic{used, std::move(note)};
}

void open_dynamic(const Member& member, const Dynamic& image, Inner& disk) {
  const std::string description = "VHD " + member.stem;
  const VhdFooter& footer = image.footer;
  const BlockDevice& file = *member.device;
  if (footer.data_offset > file.size() ||
      file.size() - footer.data_offset < VhdDynamicHeader::kSize) {
    throw Error(Fault::damaged, "the dynamic disk header of the VHD image lies outside of the file")
        .found("Data Offset " + figure(footer.data_offset))
        .expected("at most " + std::to_string(file.size()) + " less 1024 bytes");
  }
  auto header =
      VhdDynamicHeader::decode(read_bytes(file, footer.data_offset, VhdDynamicHeader::kSize));
  if (!header) {
    throw Error(Fault::damaged, "there is no dynamic disk header in the VHD image")
        .found("no 'cxsparse' at byte " + std::to_string(footer.data_offset))
        .expected("the header that the footer names");
  }
  if (!header->intact) {
    throw Error(Fault::damaged, "the dynamic disk header of the VHD image has a wrong checksum")
        .found("block size " + std::to_string(header->block_size) + ", " +
               std::to_string(header->max_table_entries) + " table entries")
        .expected("fields that fit the checksum: a wrong one would show wrong bytes")
        .advice("look for a whole copy of the image");
  }
  header->offset = footer.data_offset;
  Troubles troubles;
  troubles.note(image.note);
  if (footer.disk_size() != footer.current_size) {
    troubles.note("the size is that of the geometry (" + std::to_string(footer.disk_size()) +
                  " bytes), as Virtual PC and qemu mean it; Current Size says " +
                  figure(footer.current_size));
  }
  disk.device = make_vhd_dynamic_disk(member.device, *header, footer.disk_size(), description);
  disk.trouble = troubles.summary();
}

}  // namespace

std::optional<Claim> vhd_probe(const ProbeInput& input) {
  const auto footer = footer_at_end(input.device);
  if (!(footer && is_fixed(input.device, *footer)) && !find_dynamic(input.device)) {
    return std::nullopt;
  }
  Claim claim;
  claim.format = "vhd";
  return claim;
}

std::string_view vhd_recognise(const BlockDevice& file) {
  const auto footer = footer_at_end(file);
  return footer && is_fixed(file, *footer) ? "vhd" : std::string_view();
}

Opened vhd_open(const OpenInput& input) {
  const Member& member = input.members.front();
  Inner disk = begin_image_disk(member, "vhd");
  const auto footer = footer_at_end(*member.device);
  if (footer && is_fixed(*member.device, *footer)) {
    disk.device = make_slice(member.device, 0, member.device->size() - VhdFooter::kSize,
                             "VHD " + member.stem);
    if (!footer->intact) {
      disk.trouble = {Trouble::note,
                      "the footer of a fixed VHD with a wrong checksum stands at the end (" +
                          std::to_string(VhdFooter::kSize) +
                          " bytes, left out; raw:PATH shows them)"};
    }
  } else if (const auto image = find_dynamic(*member.device)) {
    open_dynamic(member, *image, disk);
  } else {
    throw Error(Fault::io, "the footer of the VHD image cannot be read any more");
  }
  Opened opened;
  opened.devices.push_back(std::move(disk));
  return opened;
}

}  // namespace peelfs
