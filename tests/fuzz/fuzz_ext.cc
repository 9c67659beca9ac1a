// The ext layer on any bytes: it may refuse them with an Error, and nothing else.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "ext/ext.h"
#include "peelfs/error.h"
#include "peelfs/filesystem.h"
#include "peelfs/formats.h"
#include "support/support.h"

namespace {

using namespace peelfs;

constexpr std::size_t super_block = 1024;
constexpr std::size_t feature_ro_compat = super_block + 0x64;

/// Bounded looks at a device: its map at both ends and in between, and some bytes.
void look_at(const BlockDevice& device) {
  const std::uint64_t size = device.size();
  for (std::uint64_t part = 0; size > 0 && part < 8; ++part) {
    const std::uint64_t offset = part == 7 ? size - 1 : size / 8 * part;
    try {
      (void)device.map(offset, size - offset);
      (void)block_status(device, offset, size - offset);
      (void)read_bytes(device, offset, std::min<std::uint64_t>(size - offset, 5000));
    } catch (const Error&) {
    }
  }
}

/// The same for what it says of files and of bytes.
void look_at(const Filesystem& filesystem, std::uint64_t size) {
  try {
    const auto reader = filesystem.reader();
    Filesystem::Allowance allowance{.blocks = 20};
    std::vector<Filesystem::Id> ids;
    (void)reader->list(reader->stat(filesystem.root()), allowance,
                       [&](const Filesystem::Entry& entry) {
                         ids.push_back(entry.id);
                         return ids.size() < 20;
                       });
    for (const Filesystem::Id& id : ids) {
      try {
        look_at(*reader->file(reader->stat(id), "file"));
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  try {
    std::size_t visits = 0;
    (void)filesystem.free_space([&](const ByteRange&) { return ++visits < 1000; });
    const std::vector<ByteRange> ranges{{0, std::min<std::uint64_t>(size, 1U << 20U)}};
    (void)filesystem.owners(ranges);
  } catch (const Error&) {
  }
}

void look_into(Buffer bytes) {
  const auto device = std::make_shared<test::MemoryDevice>(std::move(bytes));
  try {
    const Identity identity;
    const auto claim = ext_probe({*device, identity});
    if (!claim) return;
    Limits limits;
    limits.search_files = 300;
    const KeyRing keys;
    const Member member{device, &*claim, "disk", "disk", false, nullptr};
    const Opened opened =
        ext_open({{&member, 1}, keys, limits, nullptr, 0, nullptr, nullptr, &standard_formats()});
    for (const auto& filesystem : opened.filesystems) look_at(*filesystem, device->size());
    for (std::size_t i = 0; i < std::min<std::size_t>(opened.devices.size(), 8); ++i) {
      look_at(*opened.devices[i].device);
      for (const char* name : {"base", "link", "../dir/loop", "/dir/a.img"}) {
        try {
          look_at(*opened.devices[i].references->open(name).device);
        } catch (const Error&) {
        }
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Buffer bytes(size);
  std::transform(data, data + size, bytes.begin(), [](uint8_t byte) { return std::byte{byte}; });
  look_into(bytes);
  if (size > feature_ro_compat + 4) {
    // Again with no checksum to stop it: without gdt_csum (0x10) and metadata_csum (0x400).
    bytes[feature_ro_compat] &= std::byte{0xef};
    bytes[feature_ro_compat + 1] &= std::byte{0xfb};
    look_into(std::move(bytes));
  }
  return 0;
}
