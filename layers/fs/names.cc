#include "fs/names.h"

#include <algorithm>

namespace peelfs::fs {

namespace {

bool knows_owners(const Side& side) {
  return side.filesystem != nullptr && side.filesystem->abilities().owners;
}

/// The parts of the ranges that lie within a device.
std::vector<ByteRange> within(std::uint64_t size, std::span<const ByteRange> ranges) {
  std::vector<ByteRange> result;
  for (const ByteRange& range : ranges) {
    if (range.offset >= size) continue;
    result.push_back({range.offset, std::min(range.length, size - range.offset)});
  }
  return result;
}

std::vector<ByteRange> unnamed(const std::vector<NamedRange>& named) {
  std::vector<ByteRange> ranges;
  for (const NamedRange& range : named) {
    if (range.what.empty()) ranges.push_back({range.offset, range.length});
  }
  return ranges;
}

}  // namespace

std::string text_of(const Filesystem::Owner& owner) {
  using Kind = Filesystem::Owner::Kind;
  switch (owner.kind) {
    case Kind::none:
      return {};
    case Kind::structure:
      return owner.name;
    case Kind::file:
      return "file " + owner.name;
    case Kind::directory:
      return "directory " + owner.name;
    case Kind::map:
      return "block map or attributes of " + owner.name;
    case Kind::data:
      return "data";
  }
  return {};
}

std::vector<NamedRange> name_blocks(const Filesystem& filesystem,
                                    std::span<const ByteRange> ranges) {
  std::vector<NamedRange> result;
  for (const Filesystem::OwnedRange& range : filesystem.owners(ranges)) {
    append(result, range.offset, range.offset + range.length, text_of(range.owner));
  }
  return result;
}

std::vector<NamedRange> name_changes(const Side& before, const Side& now,
                                     std::span<const ByteRange> ranges) {
  if (!knows_owners(before) && !knows_owners(now)) return {};
  const std::vector<ByteRange> inside = within(now.size, ranges);
  std::vector<NamedRange> named;
  if (knows_owners(now)) {
    named = name_blocks(*now.filesystem, inside);
  } else {
    for (const ByteRange& range : inside) named.push_back({range.offset, range.length, ""});
  }
  std::vector<NamedRange> formerly;
  if (knows_owners(before)) {
    formerly = name_blocks(*before.filesystem, within(before.size, unnamed(named)));
  }
  std::vector<NamedRange> result;
  std::size_t next = 0;
  for (const NamedRange& range : named) {
    if (!range.what.empty()) {
      append(result, range.offset, range.offset + range.length, range.what);
      continue;
    }
    const std::uint64_t end = range.offset + range.length;
    std::uint64_t at = range.offset;
    for (; next < formerly.size() && formerly[next].offset < end; ++next) {
      const NamedRange& old = formerly[next];
      at = old.offset + old.length;
      append(result, old.offset, at, old.what.empty() ? "free space" : "formerly " + old.what);
    }
    if (at < end) append(result, at, end, "free space");
  }
  return result;
}

}  // namespace peelfs::fs
