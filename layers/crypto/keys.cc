#include "peelfs/keys.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "peelfs/mutex.h"

namespace peelfs {
namespace {

// Locks of memory do not nest: were two secrets in one page, the first to go would unlock the
// other. So each has pages of its own.
std::size_t mapped_bytes(std::size_t size) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (size / page + 1) * page;
}

bool same_text_in_either_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

bool looks_like_uuid(std::string_view text) {
  return text.size() >= 9 && text.find('-') != std::string_view::npos &&
         text.find_first_not_of("0123456789abcdefABCDEF-") == std::string_view::npos;
}

/// Names are told apart by case, as file names are; UUIDs are not.
bool belongs(std::string_view whose, std::string_view name) {
  return whose == name || (looks_like_uuid(whose) && same_text_in_either_case(whose, name));
}

/// @param whose empty: every device's
bool is_for(std::string_view whose, const std::vector<std::string>& names) {
  return whose.empty() || std::ranges::any_of(names, [&](const std::string& name) {
           return !name.empty() && belongs(whose, name);
         });
}

constexpr std::array<std::pair<KeyKind, std::string_view>, 5> kKindNames{{
    {KeyKind::passphrase, "a passphrase"},
    {KeyKind::key_file, "a key file"},
    {KeyKind::recovery_key, "a recovery key"},
    {KeyKind::startup_key, "a startup key"},
    {KeyKind::volume_key, "a volume key"},
}};

// The smallest key of a cipher that disks are encrypted with, and more than the largest.
constexpr std::size_t kLeastVolumeKey = 16;
constexpr std::size_t kMostVolumeKey = 512;

bool same_bytes(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

/// @return -1: it is no hexadecimal digit
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

std::string text_of(KeyKind kind) {
  return text_of(KeyKinds{kind});
}

std::string text_of(KeyKinds kinds) {
  std::vector<std::string_view> names;
  for (const auto& [kind, name] : kKindNames) {
    if (kinds.contains(kind)) names.push_back(name);
  }
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

std::optional<Secret> volume_key_in(Bytes bytes) {
  const std::string_view text = as_text(bytes);
  const bool is_hex = std::all_of(text.begin(), text.end(),
                                  [](char c) { return hex_value(c) >= 0 || is_blank(c); });
  std::size_t size = bytes.size();
  if (is_hex) {
    const auto digits = static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return hex_value(c) >= 0; }));
    if (digits % 2 != 0) return std::nullopt;
    size = digits / 2;
  }
  if (size < kLeastVolumeKey || size > kMostVolumeKey) return std::nullopt;
  if (!is_hex) return Secret(bytes);
  Secret key(size);
  std::size_t at = 0;
  for (const char c : text) {
    if (is_blank(c)) continue;
    std::byte& byte = key.writable()[at / 2];
    byte = byte << 4U | static_cast<std::byte>(hex_value(c));
    ++at;
  }
  return key;
}

Secret::Secret(std::size_t size) : size_(size) {
  if (size == 0) return;
  if (size > SIZE_MAX / 2) throw std::bad_alloc();
  void* memory =
      mmap(nullptr, mapped_bytes(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(memory);
  // Both are best effort: beyond RLIMIT_MEMLOCK a secret still works, and is still wiped.
  (void)mlock(memory, mapped_bytes(size));
  (void)madvise(memory, mapped_bytes(size), MADV_DONTDUMP);
}

Secret::Secret(Bytes copy_of) : Secret(copy_of.size()) {
  std::copy(copy_of.begin(), copy_of.end(), data_);
}

Secret::Secret(Secret&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Secret::~Secret() {
  release();
}

void Secret::release() noexcept {
  if (data_ == nullptr) return;
  explicit_bzero(data_, size_);
  munmap(data_, mapped_bytes(size_));
  data_ = nullptr;
  size_ = 0;
}

void KeyRing::add_for_all(Credential key) {
  add_for({}, std::move(key));
}

void KeyRing::add_for(std::string name_or_uuid, Credential key) {
  const MutexLock lock(mutex_);
  Entry entry{std::move(key)};
  entry.use.whose = std::move(name_or_uuid);
  entry.use.kind = entry.key.kind;
  entries_.push_back(std::move(entry));
}

void KeyRing::keep_for(std::string name_or_uuid, Credential key) {
  add_for(std::move(name_or_uuid), std::move(key));
  const MutexLock lock(mutex_);
  entries_.back().by_hand = true;
}

std::vector<std::shared_ptr<const Secret>> KeyRing::candidates(
    const std::vector<std::string>& names, KeyKinds kinds) const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<const Secret>> keys;
  const auto offer = [&](const Entry& entry) {
    if (!kinds.contains(entry.key.kind)) {
      entry.use.others.add(kinds);
      return;
    }
    entry.use.wanted = true;
    // One passphrase may have come in several ways; deriving from it twice would only cost time.
    const bool known = std::any_of(keys.begin(), keys.end(), [&](const auto& other) {
      return same_bytes(other->bytes(), entry.key.secret->bytes());
    });
    if (!known) keys.push_back(entry.key.secret);
  };
  for (const Entry& entry : entries_) {
    if (!entry.use.whose.empty() && is_for(entry.use.whose, names)) offer(entry);
  }
  for (const Entry& entry : entries_) {
    if (entry.use.whose.empty()) offer(entry);
  }
  return keys;
}

void KeyRing::report(const std::vector<std::string>& names, const Secret& key, bool opened,
                     KeyKinds kinds) const {
  const MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    // The same bytes given in two ways were tried once, for both.
    if (!is_for(entry.use.whose, names) || !kinds.contains(entry.key.kind) ||
        !same_bytes(entry.key.secret->bytes(), key.bytes())) {
      continue;
    }
    (opened ? entry.use.opened : entry.use.failed) = true;
  }
}

std::vector<KeyRing::Use> KeyRing::uses() const {
  const MutexLock lock(mutex_);
  std::vector<Use> result;
  for (const Entry& entry : entries_) {
    if (!entry.by_hand) result.push_back(entry.use);
  }
  return result;
}

std::vector<Credential> KeyRing::named(const std::string& name_or_uuid) const {
  const MutexLock lock(mutex_);
  std::vector<Credential> keys;
  for (const Entry& entry : entries_) {
    if (!entry.use.whose.empty() && entry.use.whose == name_or_uuid) keys.push_back(entry.key);
  }
  return keys;
}

bool KeyRing::empty() const {
  const MutexLock lock(mutex_);
  return entries_.empty();
}

}  // namespace peelfs
