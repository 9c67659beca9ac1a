#include "luks/container.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "crypto/cipher_spec.h"
#include "luks/attempt.h"
#include "peelfs/error.h"

namespace peelfs::luks {
namespace {

// Larger keys than any cipher has would only make libcryptsetup allocate 4000 times as much.
constexpr std::uint32_t kGreatestLuks1Key = 512;

void check_luks1_key(const HeaderCopy& copy) {
  if (copy.version != 1) return;
  const Phdr header = Phdr::decode(copy.bytes);
  if (header.key_bytes >= 1 && header.key_bytes <= kGreatestLuks1Key) return;
  throw Error(Fault::damaged, "LUKS1 header: key-bytes is out of range")
      .found(std::to_string(header.key_bytes))
      .expected("1 to " + std::to_string(kGreatestLuks1Key));
}

/// libcryptsetup has one code for what is wrong and for what it does not know.
bool is_unsupported(const std::string& complaint) {
  return complaint.ends_with("is not supported") ||
         (complaint.starts_with("Unsupported LUKS") &&
          complaint.find("version") != std::string::npos);
}

std::string join(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : a + "; " + b;
}

}  // namespace

Container::Container(const BlockDevice& header, const Cancel* cancel)
    : lock_(cancel), header_(header) {
  HeaderCopies copies = find_headers(header);
  const HeaderCopy* loaded = nullptr;
  std::string refused, last;
  for (const HeaderCopy& copy : copies.usable) {
    check_luks1_key(copy);
    const std::string why = load(copy);
    if (why.empty()) {
      loaded = &copy;
      break;
    }
    // Mostly both copies say the same; said once.
    if (why != last) {
      if (!refused.empty()) refused += "; ";
      if (!copy.name.empty()) refused += copy.name + " header: ";
      refused += why;
    }
    last = why;
  }
  if (loaded == nullptr && copies.trouble.empty() && is_unsupported(refused)) {
    throw Error(Fault::unsupported, "LUKS header cannot be used: " + refused);
  }
  if (loaded == nullptr) {
    throw Error(Fault::damaged, "LUKS header is not valid: " + join(refused, copies.trouble))
        .advice("if there is a backup of the header, give it with --header NAME=PATH");
  }
  description_.uuid = loaded->uuid;
  description_.label = loaded->label;
  description_.note = join(refused, copies.trouble);
  if (!description_.note.empty()) {
    description_.note +=
        "; the " + loaded->name + " header is used, nothing was repaired on the disk";
  }
  if (loaded->version == 1) {
    description_.segment = segment_of(Phdr::decode(loaded->bytes));
  } else {
    const char* json = nullptr;
    const int code = crypt_dump_json(context_->get(), &json, 0);
    if (code < 0 || json == nullptr) {
      throw Error(Fault::damaged, "LUKS2 metadata cannot be read").found(context_->complaint(code));
    }
    description_.segment = segment_of(json, loaded->bytes.size());
  }
  description_.note = join(description_.note, description_.segment.note);
}

std::string Container::load(const HeaderCopy& copy) {
  context_.reset();
  image_ = std::make_unique<HeaderImage>(make_header_image(copy));
  context_ = std::make_unique<CryptContext>(image_->path());
  const int code = context_->load(copy.version == 1 ? CRYPT_LUKS1 : CRYPT_LUKS2);
  std::string complaint = code < 0 ? context_->complaint(code) : "";
  // The copy is memory of this process: where it cannot be opened, descriptors have run out.
  if (is_host_fault(code) || complaint.starts_with("Cannot open device")) {
    throw Error(Fault::denied,
                "this host does not let libcryptsetup read a LUKS header: " + complaint)
        .found(std::generic_category().message(-code))
        .advice(
            "see that /dev/urandom and /dev/random are there, and that memory and descriptors "
            "are free; this says nothing about the header");
  }
  return complaint;
}

namespace {

/// HMAC fills a key up with zeroes, so that the digest of a key fits one with zeroes behind it,
/// too. With that one another cipher would decrypt. No true key ends in so many zeroes.
bool ends_in_padding(Bytes key) {
  constexpr std::array<std::size_t, 4> sizes{16, 24, 32, 48};
  return std::ranges::any_of(sizes, [&](std::size_t size) {
    return size < key.size() && std::ranges::all_of(key.subspan(size), [](std::byte byte) {
             return byte == std::byte{0};
           });
  });
}

}  // namespace

std::optional<Secret> Container::find_volume_key(const LuksKeys& keys,
                                                 const Attempts& attempts) const {
  for (const std::shared_ptr<const Secret>& key : keys.volume_keys) {
    bool opened = false;
    for (const Digest& digest : description_.segment.digests) {
      if (opened || ends_in_padding(key->bytes())) break;
      const PaidAttempt attempt(attempts, description_.uuid);
      opened = fits(digest, key->bytes());
    }
    if (attempts.ring != nullptr) {
      attempts.ring->report(keys.names, *key, opened, {KeyKind::volume_key});
    }
    if (opened) return key->clone();
  }
  return std::nullopt;
}

Secret Container::unlock(const LuksKeys& keys, const Limits& limits, const Attempts& attempts) {
  check_digest_cost(description_.segment, limits);
  try {
    // It needs no keyslot: they may all be damaged, or erased.
    if (std::optional<Secret> key = find_volume_key(keys, attempts)) {
      (void)parse_cipher_spec(description_.segment.cipher, key->size());
      return *std::move(key);
    }
  } catch (const Error& error) {
    // A digest that cannot be computed is no reason not to try passphrases.
    if (keys.passphrases.empty() || error.fault() == Fault::locked) throw;
  }
  if (!keys.volume_keys.empty() && keys.passphrases.empty()) {
    throw Error(Fault::locked, keys.volume_keys.size() == 1
                                   ? "the volume key given is not the one of this volume"
                                   : "none of the " + std::to_string(keys.volume_keys.size()) +
                                         " volume keys given is the one of this volume")
        .advice("'cryptsetup luksDump --dump-volume-key' shows it, given a passphrase");
  }
  const std::vector<Keyslot> slots =
      survey_keyslots(*context_, description_.segment, limits, header_, *image_);
  image_->seal();
  return try_keys(*context_, slots, keys, attempts);
}

}  // namespace peelfs::luks
