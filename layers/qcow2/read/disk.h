// The disk that a guest sees: plain clusters are described, encrypted and compressed ones computed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/missing.h"
#include "qcow2/image.h"

namespace peelfs::qcow2 {

/// The sector of both sorts of encryption that an image can have.
inline constexpr std::uint32_t kCryptSector = 512;

class Disk : public BlockDevice, public PartlyMissing {
 public:
  /// @param writer of the active disk of an image that is written; null otherwise
  Disk(std::shared_ptr<const Image> image, std::uint64_t disk_size, const TableLocation& l1,
       bool short_l1_is_unallocated, std::string description, const Writer* writer = nullptr);

  Extent map(std::uint64_t offset, std::uint64_t length) const override;
  std::uint64_t missing(std::uint64_t offset, std::uint64_t length) const override {
    return map_.missing(offset, length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override;
  std::uint32_t granule() const noexcept override { return image_->cipher ? kCryptSector : 1; }
  std::uint32_t compute_unit() const noexcept override {
    return image_->cipher ? kCryptSector : 1U << image_->header.cluster_bits();
  }
  std::uint64_t allocated_bytes() const override;
  std::string describe() const override { return description_; }
  std::string read_only_reason() const override {
    return image_->writer ? "snapshots never change" : image_->read_only_reason;
  }

  /// The run at `offset` in this image alone, without its backing file.
  GuestRun own_run(std::uint64_t offset, std::uint64_t length) const {
    return map_.run_at(offset, length);
  }

 protected:
  const Image& image() const noexcept { return *image_; }
  const ClusterMap& clusters() const noexcept { return map_; }
  /// The extent of bytes that are not allocated in this image: bytes of the backing file, or
  /// zeroes.
  Extent unallocated(std::uint64_t offset, std::uint64_t length) const;

 private:
  struct Placed {
    GuestRun run;
    std::uint64_t offset = 0;  ///< in the guest
    MutableBytes out;
  };

  bool is_computed(const GuestRun& run) const noexcept {
    return run.kind == ClusterKind::compressed ||
           (run.kind == ClusterKind::standard && image_->cipher != nullptr);
  }
  std::uint64_t cluster_of(std::uint64_t offset) const noexcept {
    return round_down(offset, image_->header.cluster_size());
  }
  /// Gives the run at the beginning of a range to `fill`, or collects it when it is packed.
  void place(const GuestRun& run, std::uint64_t offset, MutableBytes out,
             std::vector<Placed>& packed) const;
  void fill(const Placed& part) const;
  void decrypt(const Placed& part) const;
  bool copy_cached(const Placed& part) const;
  void unpack(std::vector<Placed> parts) const;
  void unpack_one(const Placed& part, Bytes packed) const;
  BlockCache::Key cluster_key(const GuestRun& run) const {
    return {image_->cache_owner, run.descriptor};
  }

  const std::shared_ptr<const Image> image_;
  const ClusterMap map_;
  const std::string description_;
  const std::uint64_t number_ = BlockCache::new_owner();  ///< of no other disk of this process
  const bool is_fixed_;  ///< nothing writes the image, so that what map() found stays true
};

}  // namespace peelfs::qcow2
