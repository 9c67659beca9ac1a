// Secrets, what kinds of keys they are, and the ring that holds those of one run. Secrets live in
// wiped, locked memory and never in argv or logs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

/// What sort of key a secret is. The same bytes open a device as one kind and not as another.
enum class KeyKind : std::uint8_t {
  passphrase,    ///< as a person types it
  key_file,      ///< the bytes of a file
  recovery_key,  ///< of BitLocker, FileVault; no layer takes one yet
  startup_key,   ///< of BitLocker; no layer takes one yet
  volume_key,    ///< what the data themselves are encrypted with: no key derivation is needed
};

/// "a volume key"
std::string text_of(KeyKind kind);

/// A set of kinds.
class KeyKinds {
 public:
  constexpr KeyKinds() noexcept = default;
  constexpr KeyKinds(std::initializer_list<KeyKind> kinds) noexcept {
    for (const KeyKind kind : kinds) bits_ |= bit(kind);
  }
  constexpr bool contains(KeyKind kind) const noexcept { return (bits_ & bit(kind)) != 0; }
  constexpr bool empty() const noexcept { return bits_ == 0; }
  constexpr void add(KeyKinds others) noexcept { bits_ |= others.bits_; }
  constexpr bool operator==(const KeyKinds&) const noexcept = default;

 private:
  static constexpr unsigned bit(KeyKind kind) noexcept { return 1U << static_cast<unsigned>(kind); }
  unsigned bits_ = 0;
};

/// "a passphrase, a key file or a volume key"
std::string text_of(KeyKinds kinds);

/// Where the bytes of a file count as what a person would type, which is so for LUKS and qcow2.
inline constexpr KeyKinds kPassphrases{KeyKind::passphrase, KeyKind::key_file};

/// A secret and its kind. Copies share the secret.
struct Credential {
  // Implicit: most secrets are passphrases.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Credential(Secret key, KeyKind is = KeyKind::passphrase)
      : secret(std::make_shared<const Secret>(std::move(key))), kind(is) {}

  std::shared_ptr<const Secret> secret;  ///< never null
  KeyKind kind;
};

/// The volume key in the bytes of a file: these bytes, or the hexadecimal digits that "cryptsetup
/// luksDump" and "dmsetup table" print of it, with blanks and line ends between them.
/// @return nullopt when it can be none: 16 to 512 bytes are expected
std::optional<Secret> volume_key_in(Bytes bytes);

/// The keys of one run. Thread-safe.
class KeyRing {
 public:
  /// Tried on every locked device that takes its kind.
  void add_for_all(Credential key);
  /// Tried only on the device with that name or UUID (either case), before the ones for all.
  void add_for(std::string name_or_uuid, Credential key);

  /// The keys to try on a device, most specific first. Equal bytes are returned once: the caller
  /// uses all `kinds` in the same way, and asks again for those that it uses in another way.
  /// @param names what the person may call it: its flat name, its stem, its UUID; empty ones
  ///   ignored
  std::vector<std::shared_ptr<const Secret>> candidates(const std::vector<std::string>& names,
                                                        KeyKinds kinds = kPassphrases) const;
  bool empty() const;

  /// Keeps a key that a person gave by hand and that has opened the device with that name or UUID.
  /// It is tried as those of add_for(), and is not among uses().
  void keep_for(std::string name_or_uuid, Credential key);

  /// A layer says what became of a key that candidates() gave it for these names and kinds.
  void report(const std::vector<std::string>& names, const Secret& key, bool opened,
              KeyKinds kinds = kPassphrases) const;

  /// What became of one key.
  struct Use {
    std::string whose;    ///< as it was given; empty: for all
    bool wanted = false;  ///< a device asked for keys of that name and kind
    bool failed = false;  ///< it was tried on a device and did not open it
    bool opened = false;  ///< it opened one
    KeyKind kind = KeyKind::passphrase;
    KeyKinds others = {};  ///< kinds that devices of that name asked for, and that it is none of
  };
  /// One for each key given, in the order in which they were given.
  std::vector<Use> uses() const;

  /// The keys that were given for exactly this name.
  std::vector<Credential> named(const std::string& name_or_uuid) const;

 private:
  struct Entry {
    Credential key;
    bool by_hand = false;
    mutable Use use = {};  ///< changed by report() and candidates()
  };
  mutable Mutex mutex_;
  std::vector<Entry> entries_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace peelfs
