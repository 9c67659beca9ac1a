// A LUKS header, loaded by libcryptsetup from a sealed copy in memory.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "luks/header_image.h"
#include "luks/keyslot.h"
#include "luks/segment.h"
#include "luks/volume.h"
#include "peelfs/block_device.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"

namespace peelfs::luks {

/// What a header says, without any key.
struct Description {
  Segment segment;
  std::string uuid, label;
  std::string note;  ///< a damaged copy, a prepared reencryption; empty: nothing to say
};

/// Not thread-safe; holds lock_cryptsetup() for as long as it lives.
class Container {
 public:
  /// @param header a device that begins with a LUKS header; read only in here and in unlock()
  /// @throws Error: damaged, unsupported
  /// @param cancel ends waiting for another thread that holds the lock; null: nothing does
  explicit Container(const BlockDevice& header, const Cancel* cancel = nullptr);

  const Description& description() const noexcept { return description_; }

  /// @throws Error: locked, unsupported
  Secret unlock(const LuksKeys& keys, const Limits& limits, const Attempts& attempts);

 private:
  /// @return "" or why libcryptsetup refused this copy
  std::string load(const HeaderCopy& copy);

  /// @return the first of them that the header's digests are of
  std::optional<Secret> find_volume_key(const LuksKeys& keys, const Attempts& attempts) const;

  std::unique_lock<std::timed_mutex> lock_;
  const BlockDevice& header_;
  std::unique_ptr<HeaderImage> image_;
  std::unique_ptr<CryptContext> context_;
  Description description_;
};

}  // namespace peelfs::luks
