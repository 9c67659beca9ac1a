// Opening an image with everything that it needs: keys, an external data file, the backing chain.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "qcow2/image.h"

namespace peelfs::qcow2 {

/// What an opening needs besides the image; outlives it.
struct Surroundings {
  const OpenInput& input;
  Caches& caches;
};

/// An image to open.
struct Candidate {
  DevicePtr file;
  std::shared_ptr<const References> references;  ///< null: may name nothing outside of itself
  std::string name;                              ///< for messages
  std::vector<std::string> key_names;            ///< what a key for it may be called
};

/// Opens an image. A backing or data file that cannot be had does not fail it: what needs that file
/// throws when it is read, and Image::troubles say why.
/// @throws Error: locked (the image's own keys, or a backing file's), damaged, unsupported
std::shared_ptr<const Image> open_image(const Candidate& candidate,
                                        const Surroundings& surroundings);

/// Makes image.cipher for an image whose header says that it is encrypted.
/// @throws Error(Fault::locked) without a key that fits
void unlock(Image& image, const std::vector<std::string>& key_names,
            const Surroundings& surroundings);

/// The path in a backing or data file name of an image.
/// @throws Error(Fault::unsupported) for a pseudo-protocol ("json:", "nbd://host")
std::string referenced_path(const std::string& name);

}  // namespace peelfs::qcow2
