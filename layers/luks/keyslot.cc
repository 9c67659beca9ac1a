#include "luks/keyslot.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <map>
#include <optional>

#include "crypto/cipher_spec.h"
#include "luks/attempt.h"
#include "peelfs/error.h"
#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs::luks {
namespace {

// A volume key of two 256-bit halves and an integrity key has 128 bytes; the AF splitter makes each
// byte into 4000.
constexpr std::size_t kGreatestKey = 512;
// cryptsetup never asks for more than 4; Argon2 starts a thread for each.
constexpr std::uint32_t kGreatestThreads = 64;

// How many slots may cost as much as the limit allows: enough for 32 that cost what cryptsetup
// chooses, while a hostile header stays in the range of minutes.
constexpr std::uint64_t kSlotsAtTheLimit = 4;

std::string kibibytes(std::uint64_t number) {
  return std::to_string(number) + " KiB";
}

/// Why the key derivation of a slot cannot be done at all, or nothing.
std::string kdf_refusal(const crypt_pbkdf_type& kdf) {
  const std::string type = kdf.type != nullptr ? kdf.type : "?";
  if (type == CRYPT_KDF_PBKDF2) return "";
  if (type != CRYPT_KDF_ARGON2I && type != CRYPT_KDF_ARGON2ID) {
    return "its key derivation " + type + " is not known";
  }
  if (kdf.parallel_threads > kGreatestThreads) {
    return "it demands " + std::to_string(kdf.parallel_threads) + " threads, at most " +
           std::to_string(kGreatestThreads) + " are expected";
  }
  return "";
}

/// What trying one key on a slot costs. An Argon2 pass over one KiB counts as one iteration: either
/// takes less than a microsecond.
std::uint64_t work_of(const crypt_pbkdf_type& kdf) {
  const bool argon2 = std::string_view(kdf.type) != CRYPT_KDF_PBKDF2;
  return argon2 ? std::uint64_t{kdf.max_memory_kb} * kdf.iterations
                : kdf.iterations;  // 32 bits each
}

/// Why the key derivation of a slot is too dear, or nothing.
/// @param before what the slots that are tried before it cost: a header has up to 32
std::string cost_refusal(const crypt_pbkdf_type& kdf, std::uint64_t before, const Limits& limits) {
  const std::string type = kdf.type;
  const std::uint64_t memory = type == CRYPT_KDF_PBKDF2 ? 0 : kdf.max_memory_kb;
  if (memory * 1024 > limits.kdf_memory) {  // 32 bits times 2^10
    return "it demands " + kibibytes(memory) + " of memory for " + type + ", the limit is " +
           kibibytes(limits.kdf_memory / 1024) + "; raise it with --kdf-memory";
  }
  const std::uint64_t work = work_of(kdf), limit = limits.kdf_iterations;
  const std::string end = std::to_string(limit) + "; raise it with --kdf-iterations";
  if (work > limit && memory == 0) {
    return "it demands " + std::to_string(work) + " PBKDF2 iterations, the limit is " + end;
  }
  if (work > limit) {
    return "it demands " + std::to_string(kdf.iterations) + " " + type + " passes over " +
           kibibytes(memory) + ", " + std::to_string(work) + " block iterations, the limit is " +
           end;
  }
  if (work > kSlotsAtTheLimit * limit - std::min(before, kSlotsAtTheLimit * limit)) {
    return "with the keyslots before it, it demands " + std::to_string(before + work) +
           " iterations, the limit is " + std::to_string(kSlotsAtTheLimit) + " times " + end;
  }
  return "";
}

/// A cipher that libcryptsetup decrypts keyslots with itself, by OpenSSL. With any other name, and
/// with any other length of key, it turns to the kernel: AF_ALG, then a loop device on the header
/// and device-mapper upon it. tests/cli/kernel_crypto_test.cc shows that it does not.
struct OwnCipher {
  std::string_view begins;
  std::array<std::size_t, 3> key_bytes;
};
constexpr std::array kByLibcryptsetup{
    OwnCipher{"aes-xts-", {32, 64}},
    OwnCipher{"aes-cbc-", {16, 24, 32}},
};

/// Why the slot's own encryption cannot be undone, or nothing.
std::string cipher_refusal(const char* cipher, std::size_t key_bytes) {
  if (cipher == nullptr) return "its encryption is not named";
  const std::string name = cipher;
  if (key_bytes == 0 || key_bytes > kGreatestKey) {
    return "its key of " + std::to_string(key_bytes) + " bytes is out of range (at most " +
           std::to_string(kGreatestKey) + ")";
  }
  const auto* mode =
      std::find_if(kByLibcryptsetup.begin(), kByLibcryptsetup.end(),
                   [&](const OwnCipher& own) { return name.starts_with(own.begins); });
  if (mode == kByLibcryptsetup.end()) {
    return "cipher " + name +
           " of the keyslot cannot be decrypted yet; it comes in a later release";
  }
  const auto& sizes = mode->key_bytes;
  if (std::find(sizes.begin(), sizes.end(), key_bytes) == sizes.end()) {
    return "cipher " + name + " of the keyslot with a key of " + std::to_string(key_bytes * 8) +
           " bits cannot be decrypted yet; it comes in a later release";
  }
  try {
    (void)parse_cipher_spec(name, key_bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Copies what lies in the slot's area. @return why that cannot be done, or nothing
std::string copy_area(CryptContext& context, int slot, std::size_t key_bytes,
                      const BlockDevice& header, HeaderImage& image) {
  std::uint64_t offset = 0, length = 0;
  if (crypt_keyslot_area(context.get(), slot, &offset, &length) != 0) {
    return "its area is not named";
  }
  // libcryptsetup proved that the area lies in the header; a header cut off is our business.
  length = std::min<std::uint64_t>(length, round_up(key_bytes * Phdr::kStripes, 4096));
  if (offset > header.size() || length > header.size() - offset) {
    return "its area is cut off (found a device of " + std::to_string(header.size()) +
           " bytes, expected at least " + figure(offset) + " + " + figure(length) + ")";
  }
  try {
    image.write(offset, read_bytes(header, offset, static_cast<std::size_t>(length)));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Keyslot survey_slot(CryptContext& context, int number, const std::string& type,
                    const BlockDevice& header, HeaderImage& image) {
  Keyslot slot;
  slot.number = number;
  slot.preferred = crypt_keyslot_get_priority(context.get(), number) == CRYPT_SLOT_PRIORITY_PREFER;
  std::size_t key_bytes = 0;
  const char* cipher = crypt_keyslot_get_encryption(context.get(), number, &key_bytes);
  if (type != "luks1" && type != "luks2") {
    slot.refusal = "its type " + type + " is not known";
    return slot;
  }
  slot.refusal = cipher_refusal(cipher, key_bytes);
  // LUKS1 stores the name in two fields, and libcryptsetup takes each as it is: "aes-xts" and
  // "plain64" make the same name as "aes" and "xts-plain64", but no cipher that it has.
  const char* const first = type == "luks1" ? crypt_get_cipher(context.get()) : "";
  if (slot.refusal.empty() &&
      (first == nullptr || std::string_view(first).find('-') != std::string_view::npos)) {
    slot.refusal = "its cipher " + printable(cipher) + " is not divided into name and mode";
  }
  const int stored = crypt_keyslot_get_key_size(context.get(), number);
  if (slot.refusal.empty() && (stored <= 0 || static_cast<std::size_t>(stored) > kGreatestKey)) {
    slot.refusal = "its volume key of " + std::to_string(stored) + " bytes is out of range (1 to " +
                   std::to_string(kGreatestKey) + ")";
  }
  if (slot.refusal.empty()) {
    slot.refusal = crypt_keyslot_get_pbkdf(context.get(), number, &slot.kdf) == 0
                       ? kdf_refusal(slot.kdf)
                       : "its key derivation is not named";
  }
  if (slot.refusal.empty()) {
    slot.refusal = copy_area(context, number, static_cast<std::size_t>(stored), header, image);
  }
  return slot;
}

/// "0-3, 7"
/// @param numbers ascending
std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t first = 0; first < numbers.size();) {
    std::size_t last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += std::to_string(numbers[first]);
    if (last != first) text += (last == first + 1 ? ", " : "-") + std::to_string(numbers[last]);
    first = last + 1;
  }
  return text;
}

/// The reason without its numbers: those of each slot's own area would make it another one.
std::string kind_of(const std::string& refusal) {
  std::string kind = refusal;
  std::erase_if(kind, [](unsigned char c) { return std::isdigit(c) != 0; });
  return kind;
}

/// Why slots are not tried: a reason once, however many slots it holds for.
std::string refusals(const std::vector<Keyslot>& slots) {
  std::map<int, const Keyslot*> in_order;
  for (const Keyslot& slot : slots) {
    if (!slot.refusal.empty()) in_order.emplace(slot.number, &slot);
  }
  struct Reason {
    std::string text;  ///< of the first slot
    bool alike = true;
    std::vector<int> slots;
  };
  std::vector<Reason> reasons;
  for (const auto& [number, slot] : in_order) {
    auto known = std::find_if(reasons.begin(), reasons.end(), [slot = slot](const Reason& reason) {
      return kind_of(reason.text) == kind_of(slot->refusal);
    });
    if (known == reasons.end()) known = reasons.insert(known, {slot->refusal, true, {}});
    known->alike = known->alike && known->text == slot->refusal;
    known->slots.push_back(number);
  }
  std::string text;
  for (const Reason& reason : reasons) {
    if (!text.empty()) text += "; ";
    const std::string first = std::to_string(reason.slots.front());
    if (reason.slots.size() == 1) {
      text += "keyslot " + first + " is not tried: ";
    } else {
      text += "keyslots " + ranges(reason.slots) + " are not tried, " +
              (reason.alike ? "each" : "keyslot " + first) + " because ";
    }
    text += reason.text;
  }
  return text;
}

/// One key on one slot. @return the volume key; nothing when it does not fit
std::optional<Secret> try_key(CryptContext& context, int slot, const Secret& key,
                              std::string& trouble) {
  Secret buffer(kGreatestKey);
  std::size_t size = buffer.size();
  const std::string_view passphrase = as_text(key.bytes());
  const int code =
      crypt_volume_key_get(context.get(), slot, reinterpret_cast<char*>(buffer.writable().data()),
                           &size, passphrase.empty() ? "" : passphrase.data(), passphrase.size());
  if (code >= 0) {
    (void)context.complaint(0);
    return Secret(buffer.bytes().first(std::min(size, buffer.size())));
  }
  const std::string complaint = context.complaint(code);
  // -EPERM is the one answer that means "wrong key".
  if (code == -ENOMEM || code == -EMFILE || code == -ENFILE) {
    throw Error(Fault::locked, "a key could not be tried: " + complaint)
        .found("keyslot " + std::to_string(slot))
        .advice(code == -ENOMEM ? "this host has too little free memory for its key derivation, "
                                  "which says nothing about the key or the disk"
                                : "this is a failure of the host, not of the key or the disk");
  }
  if (code != -EPERM) trouble = "keyslot " + std::to_string(slot) + " failed: " + complaint;
  return std::nullopt;
}

}  // namespace

void check_digest_cost(const Segment& segment, const Limits& limits) {
  if (segment.digest_iterations <= limits.kdf_iterations) return;
  throw Error(Fault::unsupported, "checking a key of this LUKS header demands too many iterations")
      .found(std::to_string(segment.digest_iterations) + " PBKDF2 iterations")
      .expected("at most " + std::to_string(limits.kdf_iterations))
      .advice("raise it with --kdf-iterations");
}

std::vector<Keyslot> survey_keyslots(CryptContext& context, const Segment& segment,
                                     const Limits& limits, const BlockDevice& header,
                                     HeaderImage& image) {
  std::vector<Keyslot> slots;
  for (const auto& [number, type] : segment.slots) {
    const crypt_keyslot_info status = crypt_keyslot_status(context.get(), number);
    if (status != CRYPT_SLOT_ACTIVE && status != CRYPT_SLOT_ACTIVE_LAST) continue;
    // Checked before a person is asked for a key that would be of no use.
    const int stored = crypt_keyslot_get_key_size(context.get(), number);
    if (stored > 0) (void)parse_cipher_spec(segment.cipher, static_cast<std::size_t>(stored));
    slots.push_back(survey_slot(context, number, type, header, image));
  }
  std::stable_sort(slots.begin(), slots.end(),
                   [](const Keyslot& a, const Keyslot& b) { return a.preferred && !b.preferred; });
  std::uint64_t before = 0;
  for (Keyslot& slot : slots) {
    if (!slot.refusal.empty()) continue;
    slot.refusal = cost_refusal(slot.kdf, before, limits);
    slot.over_limit = !slot.refusal.empty();
    if (slot.refusal.empty()) before += work_of(slot.kdf);  // at most kSlotsAtTheLimit limits
  }
  if (slots.empty()) {
    throw Error(Fault::locked, "no keyslot of this LUKS header is in use: its key cannot be had")
        .advice(
            "if there is a backup of the header, give it with --header NAME=PATH; the volume key "
            "itself, with --volume-key");
  }
  if (std::all_of(slots.begin(), slots.end(),
                  [](const Keyslot& slot) { return !slot.refusal.empty(); })) {
    const bool limit = std::any_of(slots.begin(), slots.end(),
                                   [](const Keyslot& slot) { return slot.over_limit; });
    throw Error(limit ? Fault::locked : Fault::unsupported, refusals(slots));
  }
  return slots;
}

Secret try_keys(CryptContext& context, const std::vector<Keyslot>& slots, const LuksKeys& keys,
                const Attempts& attempts) {
  constexpr const char* kAdvice =
      "try --key NAME=file:PATH, --key-file PATH, or peelfs unlock MOUNTPOINT NAME";
  const std::string not_tried = refusals(slots);
  const std::string suffix = not_tried.empty() ? "" : " (" + not_tried + ")";
  const std::size_t count = keys.passphrases.size() + keys.volume_keys.size();
  if (count == 0) throw Error(Fault::locked, "no key given" + suffix).advice(kAdvice);
  const char* const uuid = crypt_get_uuid(context.get());
  std::string trouble;
  for (const std::shared_ptr<const Secret>& key : keys.passphrases) {
    for (const Keyslot& slot : slots) {
      if (!slot.refusal.empty()) continue;
      const PaidAttempt attempt(attempts, uuid == nullptr ? "?" : uuid);
      if (std::optional<Secret> found = try_key(context, slot.number, *key, trouble)) {
        if (attempts.ring != nullptr) attempts.ring->report(keys.names, *key, true);
        return std::move(*found);
      }
    }
    if (attempts.ring != nullptr) attempts.ring->report(keys.names, *key, false);
  }
  const std::string text = count == 1
                               ? "the key given does not open it"
                               : "none of the " + std::to_string(count) + " keys given opens it";
  throw Error(Fault::locked, text + (trouble.empty() ? "" : "; " + trouble) + suffix)
      .advice(kAdvice);
}

}  // namespace peelfs::luks
