#include "peelfs/keys.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
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

}  // namespace

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

void KeyRing::add_for_all(Secret key) {
  add_for({}, std::move(key));
}

void KeyRing::add_for(std::string name_or_uuid, Secret key) {
  const MutexLock lock(mutex_);
  Entry entry{std::make_shared<const Secret>(std::move(key))};
  entry.use.whose = std::move(name_or_uuid);
  entries_.push_back(std::move(entry));
}

void KeyRing::keep_for(std::string name_or_uuid, Secret key) {
  add_for(std::move(name_or_uuid), std::move(key));
  const MutexLock lock(mutex_);
  entries_.back().by_hand = true;
}

std::vector<std::shared_ptr<const Secret>> KeyRing::candidates(
    const std::vector<std::string>& names) const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<const Secret>> keys;
  for (const Entry& entry : entries_) {
    const std::string& whose = entry.use.whose;
    const bool ours =
        !whose.empty() && std::any_of(names.begin(), names.end(), [&](const std::string& name) {
          return !name.empty() && belongs(whose, name);
        });
    if (!ours) continue;
    entry.use.wanted = true;
    keys.push_back(entry.key);
  }
  for (const Entry& entry : entries_) {
    if (!entry.use.whose.empty()) continue;
    entry.use.wanted = true;
    keys.push_back(entry.key);
  }
  // One passphrase may have come in several ways; deriving from it twice would only cost time.
  std::vector<std::shared_ptr<const Secret>> distinct;
  for (std::shared_ptr<const Secret>& key : keys) {
    const bool known = std::any_of(distinct.begin(), distinct.end(), [&](const auto& other) {
      const Bytes a = other->bytes(), b = key->bytes();
      return std::equal(a.begin(), a.end(), b.begin(), b.end());
    });
    if (!known) distinct.push_back(std::move(key));
  }
  return distinct;
}

void KeyRing::report(const Secret& key, bool opened) const {
  const MutexLock lock(mutex_);
  const Bytes reported = key.bytes();
  for (const Entry& entry : entries_) {
    // The same bytes given in two ways were tried once, for both.
    const Bytes own = entry.key->bytes();
    if (!std::equal(own.begin(), own.end(), reported.begin(), reported.end())) continue;
    if (!entry.use.wanted) continue;
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

std::vector<std::shared_ptr<const Secret>> KeyRing::named(const std::string& name_or_uuid) const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<const Secret>> keys;
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
