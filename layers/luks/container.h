// A LUKS header, loaded by libcryptsetup from a sealed copy in memory.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "luks/cryptsetup.h"
#include "luks/header_image.h"
#include "luks/keyslot.h"
#include "luks/segment.h"
#include "luks/volume.h"
#include "peelfs/block_device.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "peelfs/mutex.h"

namespace peelfs::luks {

/// What a header says, without any key.
struct Description {
  Segment segment;
  std::string uuid, label;
  std::string note;  ///< a damaged copy, a prepared reencryption; empty: nothing to say
};

/// Not thread-safe; holds cryptsetup_mutex for as long as it lives.
class PEELFS_SCOPED_CAPABILITY Container {
 public:
  /// @param header a device that begins with a LUKS header; read only in here and in unlock()
  /// @throws Error: damaged, unsupported
  /// @param cancel ends waiting for another thread that holds the lock; null: nothing does
  explicit Container(const BlockDevice& header, const Cancel* cancel = nullptr)
      PEELFS_ACQUIRE(cryptsetup_mutex);
  ~Container() PEELFS_RELEASE() = default;
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  const Description& description() const noexcept { return description_; }

  /// @throws Error: locked, unsupported
  Secret unlock(const LuksKeys& keys, const Limits& limits, const Attempts& attempts)
      PEELFS_REQUIRES(cryptsetup_mutex);

 private:
  /// @return "" or why libcryptsetup refused this copy
  std::string load(const HeaderCopy& copy) PEELFS_REQUIRES(cryptsetup_mutex);

  /// @return the first of them that the header's digests are of
  std::optional<Secret> find_volume_key(const LuksKeys& keys, const Attempts& attempts) const
      PEELFS_REQUIRES(cryptsetup_mutex);

  const CryptsetupLock lock_;
  const BlockDevice& header_;
  std::unique_ptr<HeaderImage> image_;
  std::unique_ptr<CryptContext> context_;
  Description description_;
};

}  // namespace peelfs::luks
