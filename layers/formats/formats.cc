#include "peelfs/formats.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

// Of images without a format, which are no layer's.
constexpr std::array<std::string_view, 6> kRawSuffixes{".img", ".image", ".raw",
                                                       ".dd",  ".disk",  ".iso"};

// "disk.img.gz": a disk image that has to be unpacked first. A row says so of its bytes.
constexpr std::array<std::string_view, 7> kArchiveSuffixes{".gz",  ".xz",  ".zst", ".bz2",
                                                           ".lz4", ".zip", ".7z"};

constexpr std::size_t kHeadSize = 8192;  // all signatures lie below
constexpr std::uint64_t kLeastRawDisk = std::uint64_t{1} << 20U;
constexpr std::uint64_t kSector = 512;

bool ends_in(std::string_view name, std::string_view suffix) {
  if (name.size() <= suffix.size()) return false;
  const std::string_view end = name.substr(name.size() - suffix.size());
  return std::equal(end.begin(), end.end(), suffix.begin(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == b;
  });
}

bool is_wrapper(const Layer& row) {
  return row.traits.image || row.traits.encryption;
}

/// "raw, none, qcow2"
template <typename Names>
std::string list_of(const Names& names) {
  std::string text;
  for (const std::string_view name : names) {
    text += (text.empty() ? "" : ", ") + std::string(name);
  }
  return text;
}

std::string_view by_signature(const Layer& row, const ByteReader& head) {
  for (const Signature& signature : row.signatures) {
    if (head.has(signature.offset, signature.magic)) return signature.format;
  }
  return {};
}

}  // namespace

const Layer* Formats::for_detached_header() const noexcept {
  const auto row =
      std::ranges::find_if(rows_, [](const Layer& layer) { return layer.traits.detached_header; });
  return row == rows_.end() ? nullptr : &*row;
}

const Layer* Formats::image_row(std::string_view format) const noexcept {
  if (format.empty()) return nullptr;
  const auto row = std::ranges::find_if(rows_, [&](const Layer& layer) {
    return layer.traits.image && layer.probe != nullptr &&
           (layer.name == format || layer.qemu_name == format ||
            std::ranges::any_of(layer.signatures, [&](const Signature& signature) {
              return signature.format == format;
            }));
  });
  return row == rows_.end() ? nullptr : &*row;
}

const Layer* Formats::by_kind(std::string_view kind) const noexcept {
  const auto row = std::ranges::find_if(rows_, [&](const Layer& layer) {
    return std::ranges::find(layer.kinds, kind) != layer.kinds.end();
  });
  return row == rows_.end() ? nullptr : &*row;
}

std::vector<std::string_view> Formats::kinds() const {
  std::vector<std::string_view> names{kAsRaw, kAsNone};
  for (const Layer& row : rows_) {
    if (!row.kinds.empty()) names.push_back(row.kinds.front());
  }
  return names;
}

void Formats::check(const Directive& directive) const {
  const std::string& kind = directive.kind;
  const bool is_layer = kind != kAsRaw && kind != kAsNone;
  const bool by_header = kind.empty() && directive.header != nullptr;
  const Layer* const row = by_header ? for_detached_header() : by_kind(kind);
  const std::string device = printable(directive.device);
  if (is_layer && row == nullptr) {
    throw Error(Fault::usage, "--as " + device + ": there is no such kind")
        .found("'" + printable(kind) + "'")
        .expected(list_of(kinds()));
  }
  if (directive.header != nullptr && (row == nullptr || !row->traits.detached_header)) {
    throw Error(Fault::usage, "--as and --header contradict each other for " + device)
        .found("kind " + kind + ", which has no detached header");
  }
  const auto known = row == nullptr ? std::span<const std::string_view>() : row->options;
  for (const auto& [name, value] : directive.options) {
    if (std::ranges::find(known, name) != known.end()) continue;
    throw Error(Fault::usage,
                "--as " + device + ": " + kind + " takes no option '" + printable(name) + "'")
        .expected(known.empty() ? "no options" : list_of(known));
  }
}

std::string Formats::strip_image_suffix(std::string_view file_name) const {
  std::size_t length = 0;
  const auto try_all = [&](std::span<const std::string_view> suffixes) {
    for (const std::string_view suffix : suffixes) {
      if (length == 0 && ends_in(file_name, suffix)) length = suffix.size();
    }
  };
  try_all(kRawSuffixes);
  for (const Layer& row : rows_) try_all(row.suffixes);
  return std::string(file_name.substr(0, file_name.size() - length));
}

bool Formats::has_image_suffix(std::string_view file_name) const {
  return strip_image_suffix(file_name).size() != file_name.size();
}

bool Formats::is_packed_image(std::string_view file_name) const {
  for (const std::string_view suffix : kArchiveSuffixes) {
    if (!ends_in(file_name, suffix)) continue;
    file_name.remove_suffix(suffix.size());
    return has_image_suffix(file_name);
  }
  return false;
}

std::string_view Formats::wrapped_format(const BlockDevice& file) const {
  Buffer bytes;
  try {
    bytes = read_up_to(file, 0, kHeadSize);
  } catch (const Error&) {
    bytes = read_up_to(file, 0, kSector);  // a bad sector further on hides no magic number here
  }
  const ByteReader head(bytes, "beginning of a file");
  for (const Layer& row : rows_) {
    if (!is_wrapper(row)) continue;
    if (const auto format = by_signature(row, head); !format.empty()) return format;
  }
  for (const Layer& row : rows_) {
    if (!is_wrapper(row) || row.recognise == nullptr) continue;
    if (const auto format = row.recognise(file); !format.empty()) return format;
  }
  return {};
}

std::string_view Formats::format_at_start(const BlockDevice& file) const {
  const Buffer bytes = read_up_to(file, 0, kSector);
  const ByteReader head(bytes, "beginning of a file");
  for (const Layer& row : rows_) {
    if (!is_wrapper(row)) continue;
    if (const auto format = by_signature(row, head); !format.empty()) return format;
  }
  for (const Layer& row : rows_) {
    // Rows with signatures have been asked; what else they recognise does not stand at the start.
    if (!is_wrapper(row) || row.recognise == nullptr || !row.signatures.empty()) continue;
    if (const auto format = row.recognise(file); !format.empty()) return format;
  }
  return {};
}

std::string_view Formats::image_format(const BlockDevice& file) const {
  if (const auto format = wrapped_format(file); !format.empty()) return format;
  if (file.size() < kLeastRawDisk || file.size() % kSector != 0) return {};
  const Buffer bytes = read_up_to(file, 0, kHeadSize);
  const ByteReader head(bytes, "beginning of a file");
  for (const Layer& row : rows_) {
    if (is_wrapper(row)) continue;
    if (const auto format = by_signature(row, head); !format.empty()) return format;
  }
  for (const Layer& row : rows_) {
    if (is_wrapper(row) || row.recognise == nullptr) continue;
    if (const auto format = row.recognise(file); !format.empty()) return format;
  }
  return {};
}

}  // namespace peelfs
