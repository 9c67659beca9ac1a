// Makes images with qemu-img and qemu-io, and checks ours against what qemu-img says of them.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "support/support.h"

namespace peelfs::test {

/// What an image is to be like.
struct ImageOptions {
  int version = 3;
  std::uint64_t cluster = 65536;
  std::uint64_t size = 4U << 20U;
  std::string more = {};     ///< further -o options: "extended_l2=on,data_file=d.raw"
  std::string backing = {};  ///< file name, in the same directory
  std::string backing_format =
      {};                       ///< empty: -u -b without -F is not possible any more; see rebase
  std::string encryption = {};  ///< "aes", "luks"
  int writes = 24;
  bool compressed = true;  ///< also compressed clusters
  bool zeroes = true;      ///< also zero writes and discards
};

/// Makes images in one directory. Nothing is random but by the seed.
class ImageMaker {
 public:
  ImageMaker();
  const std::string& directory() const { return directory_.path(); }
  std::string path(const std::string& name) const { return directory_ / name; }

  /// Creates the image and writes to it all over.
  void make(const std::string& name, const ImageOptions& options, std::uint64_t seed);
  /// Writes more: scattered data, zeroes, discards, compressed clusters.
  void scribble(const std::string& name, const ImageOptions& options, std::uint64_t seed,
                bool compressed);
  /// A raw file with data, zeroes and holes.
  void make_raw(const std::string& name, std::uint64_t size, std::uint64_t seed);

  /// Compares the image, its snapshots, and what qemu-img map calls a hole, with qemu's own
  /// reading. Also runs the device contract.
  void check(const std::string& name, const std::string& encryption = "");

  static constexpr const char* passphrase = "correct horse battery";
  int images() const { return images_; }

 private:
  std::string image_options(const std::string& name, const std::string& encryption) const;
  void check_map(const std::string& name, const std::string& encryption,
                 const BlockDevice& disk) const;

  TemporaryDirectory directory_;
  int images_ = 0;
};

}  // namespace peelfs::test
