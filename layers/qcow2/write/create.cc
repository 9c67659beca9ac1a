// New, empty images.
#include <algorithm>

#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/header.h"
#include "qcow2/overlay.h"

namespace peelfs::qcow2 {

namespace {

constexpr std::uint32_t kRefcountOrder = 4;

/// Where things lie in a new image: header, refcount table, one refcount block, L1 table.
struct Layout {
  std::uint64_t cluster = 0;
  std::uint64_t table_clusters = 0;
  std::uint64_t l1_entries = 0;
  std::uint64_t l1_clusters = 0;
  std::uint64_t clusters() const noexcept { return 2 + table_clusters + l1_clusters; }
};

Layout layout_of(std::uint64_t size, std::uint32_t cluster_bits) {
  Layout layout;
  layout.cluster = 1ULL << cluster_bits;
  const std::uint64_t reach = 1ULL << (2 * cluster_bits - 3);
  layout.l1_entries = div_round_up(size, reach);
  layout.l1_clusters =
      div_round_up(std::max<std::uint64_t>(layout.l1_entries, 1) * 8, layout.cluster);
  if (layout.l1_entries * 8 > kMaxL1Bytes) {
    throw Error(Fault::unsupported, "a disk of this size does not fit into a qcow2 image")
        .found(std::to_string(size) + " bytes in clusters of " + std::to_string(layout.cluster))
        .expected("an L1 table of at most 32 MiB")
        .with_errno(EFBIG);
  }
  // The table is made large enough for every cluster of the disk, with its tables and counts, so
  // that it need not move later.
  const std::uint64_t counts_per_block = layout.cluster * 8 >> kRefcountOrder;
  const std::uint64_t data = div_round_up(size, layout.cluster);
  const std::uint64_t all = data + data / 64 + 2 * layout.l1_entries + layout.l1_clusters + 64;
  const std::uint64_t blocks = div_round_up(all, counts_per_block);
  layout.table_clusters =
      std::clamp<std::uint64_t>(div_round_up(blocks * 8, layout.cluster), 1,
                                std::max<std::uint64_t>(1, (8U << 20U) / layout.cluster));
  return layout;
}

void add_extension(Buffer& header, std::uint32_t type, Bytes data) {
  const std::size_t at = header.size();
  header.resize(round_up(at + 8 + data.size(), 8));
  put_be(header, at, type);
  put_be(header, at + 4, static_cast<std::uint32_t>(data.size()));
  std::copy(data.begin(), data.end(), header.begin() + static_cast<std::ptrdiff_t>(at + 8));
}

}  // namespace

void create_image(const BlockDevice& file, const NewImage& image) {
  const std::uint64_t size = round_up(image.size, 512);
  const Layout layout = layout_of(size, image.cluster_bits);
  if (layout.clusters() * 2 > layout.cluster) {
    throw Error(Fault::unsupported, "the clusters are too small for a disk of this size")
        .found("clusters of " + std::to_string(layout.cluster) + " bytes")
        .expected("one refcount block for the tables of an empty image");
  }
  const std::uint64_t counts = (1 + layout.table_clusters) * layout.cluster;
  const std::uint64_t l1 = counts + layout.cluster;

  Buffer header(112);
  std::copy(kMagic.begin(), kMagic.end(), reinterpret_cast<char*>(header.data()));
  put_be(header, 4, std::uint32_t{3});
  put_be(header, 20, image.cluster_bits);
  put_be(header, 24, size);
  put_be(header, 36, static_cast<std::uint32_t>(layout.l1_entries));
  put_be(header, 40, l1);
  put_be(header, 48, layout.cluster);
  put_be(header, 56, static_cast<std::uint32_t>(layout.table_clusters));
  put_be(header, 96, kRefcountOrder);
  put_be(header, 100, std::uint32_t{112});
  if (!image.backing_format.empty()) {
    add_extension(header, kExtensionBackingFormat, as_bytes(image.backing_format));
  }
  for (const HeaderExtension& extension : image.extensions) {
    add_extension(header, extension.type, extension.data);
  }
  add_extension(header, kExtensionEnd, {});
  if (!image.backing_file.empty()) {
    // At the end of the cluster, so that extensions have room to grow.
    const std::size_t at = round_down(layout.cluster - image.backing_file.size(), 8);
    if (image.backing_file.size() > 1023 || image.backing_file.size() > layout.cluster ||
        at < header.size()) {
      throw Error(Fault::unsupported, "the backing file's name does not fit into the image")
          .found(std::to_string(image.backing_file.size()) + " bytes")
          .expected("at most 1023")
          .with_errno(ENAMETOOLONG);
    }
    put_be(header, 8, std::uint64_t{at});
    put_be(header, 16, static_cast<std::uint32_t>(image.backing_file.size()));
    header.resize(at);
    const Bytes name = as_bytes(image.backing_file);
    header.insert(header.end(), name.begin(), name.end());
  }
  if (header.size() > layout.cluster) {
    throw Error(Fault::unsupported, "the header extensions do not fit into a cluster")
        .found(std::to_string(header.size()) + " bytes")
        .expected("at most " + std::to_string(layout.cluster));
  }

  Buffer front(layout.clusters() * layout.cluster);
  std::copy(header.begin(), header.end(), front.begin());
  put_be(front, layout.cluster, counts);
  for (std::uint64_t i = 0; i < layout.clusters(); ++i) {
    put_be(front, counts + 2 * i, std::uint16_t{1});
  }
  write(file, 0, front);
}

}  // namespace peelfs::qcow2
