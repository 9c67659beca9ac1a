// Secrets and where they come from. Secrets live in wiped, locked memory and never in argv or logs.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/bytes.h"
#include "peelfs/mutex.h"

namespace peelfs {

/// Bytes that are locked in memory (where RLIMIT_MEMLOCK allows) and wiped when freed. Move-only.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size);
  explicit Secret(Bytes copy_of);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  Bytes bytes() const noexcept { return {data_, size_}; }
  MutableBytes writable() noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }
  Secret clone() const { return Secret(bytes()); }

 private:
  void release() noexcept;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The keys of one run. Thread-safe.
class KeyRing {
 public:
  /// Tried on every locked device.
  void add_for_all(Secret key);
  /// Tried only on the device with that name or UUID (either case), before the ones for all.
  void add_for(std::string name_or_uuid, Secret key);

  /// The keys to try on a device, most specific first.
  /// @param names what the person may call it: its flat name, its stem, its UUID; empty ones
  ///   ignored
  std::vector<std::shared_ptr<const Secret>> candidates(
      const std::vector<std::string>& names) const;
  bool empty() const;

  /// Keeps a key that a person gave by hand and that has opened the device with that name or UUID.
  /// It is tried as those of add_for(), and is not among uses().
  void keep_for(std::string name_or_uuid, Secret key);

  /// A layer says what became of a key that candidates() gave it.
  void report(const Secret& key, bool opened) const;

  /// What became of one key.
  struct Use {
    std::string whose;    ///< as it was given; empty: for all
    bool wanted = false;  ///< a device asked for keys of that name
    bool failed = false;  ///< it was tried on a device and did not open it
    bool opened = false;  ///< it opened one
  };
  /// One for each key given, in the order in which they were given.
  std::vector<Use> uses() const;

  /// The keys that were given for exactly this name.
  std::vector<std::shared_ptr<const Secret>> named(const std::string& name_or_uuid) const;

 private:
  struct Entry {
    std::shared_ptr<const Secret> key;
    bool by_hand = false;
    mutable Use use = {};  ///< changed by report() and candidates()
  };
  mutable Mutex mutex_;
  std::vector<Entry> entries_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace peelfs
