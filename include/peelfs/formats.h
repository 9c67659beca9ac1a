// The rows of a table of layers, asked from outside of a layer: which file is a disk image, by its
// name and by its bytes. No other place knows a suffix or a magic number.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/layer.h"

namespace peelfs {

/// Kinds of directives that are no layer. The bytes are those of a disk, whatever image format they
/// look like; and: nothing is looked for in the device.
inline constexpr std::string_view kAsRaw = "raw";
inline constexpr std::string_view kAsNone = "none";

/// A table of layers. Immutable, so safe from any thread; the rows must outlive it.
class Formats {
 public:
  explicit constexpr Formats(std::span<const Layer> rows) noexcept : rows_(rows) {}

  std::span<const Layer> rows() const noexcept { return rows_; }

  /// The row that takes detached headers; null: none does.
  const Layer* for_detached_header() const noexcept;

  /// The row that opens images of a format: by its name, one of its signatures' formats, or qemu's
  /// name for it. Null: none does.
  const Layer* image_row(std::string_view format) const noexcept;

  /// The row that a directive's kind names; null: none, kAsRaw and kAsNone included.
  const Layer* by_kind(std::string_view kind) const noexcept;

  /// What a directive may name: kAsRaw, kAsNone, and of each row its first name.
  std::vector<std::string_view> kinds() const;

  /// Checks what a person wrote. @throws Error(Fault::usage) for a kind that there is not, an
  /// option that the kind does not take, a header for what takes none
  void check(const Directive& directive) const;

  /// Whether a file name ends in a suffix of a row, or in one that raw images use (.img, .raw,
  /// ...). Case does not matter, and a suffix alone is no name.
  bool has_image_suffix(std::string_view file_name) const;

  /// Whether the name is that of a disk image which has to be unpacked first: "disk.img.gz". It is
  /// no source by that name, and nothing that an image may refer to.
  bool is_packed_image(std::string_view file_name) const;

  /// "os43.qcow2" -> "os43"; names without such a suffix stay as they are.
  std::string strip_image_suffix(std::string_view file_name) const;

  /// The format of images, archives or encryption that the bytes of a file have, if they are not
  /// the raw bytes of a disk. Reads a few sectors.
  /// @return empty: none @throws Error when it cannot be read
  std::string_view wrapped_format(const BlockDevice& file) const;

  /// The same by what stands at the start alone, as qemu has it of a file that an image names
  /// without a format: a fixed VHD is raw to it.
  std::string_view format_at_start(const BlockDevice& file) const;

  /// Which format a file is that looks like a disk image: one of wrapped_format(), or a disk of at
  /// least 1 MiB, in whole sectors, with a partition table, a volume or a filesystem at its start.
  /// @return empty: it does not look like one @throws Error when it cannot be read
  std::string_view image_format(const BlockDevice& file) const;

 private:
  std::span<const Layer> rows_;
};

/// peelfs' own table (layers/table.cc).
const Formats& standard_formats();

}  // namespace peelfs
