#include "writing/cut/promises.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace peelfs::test {

namespace {
constexpr std::uint64_t sector = 512;
}

Promiser::Promiser(const std::string& log)
    : fd_(log.empty() ? -1 : ::open(log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)) {}

Promiser::~Promiser() {
  if (fd_ >= 0) ::close(fd_);
}

void Promiser::append(RecordHeader header, Bytes data) const {
  if (fd_ < 0) return;
  header.data_length = data.size();
  const iovec parts[] = {{&header, sizeof(header)},
                         {const_cast<std::byte*>(data.data()), data.size()}};
  if (::writev(fd_, parts, 2) != static_cast<ssize_t>(sizeof(header) + data.size())) {
    throw std::runtime_error("the log cannot be written");
  }
}

void Promiser::intend(std::uint64_t offset, Bytes data) {
  append({.kind = Record::intent, .offset = offset, .length = data.size()}, data);
}

void Promiser::intend_zero(std::uint64_t offset, std::uint64_t length) {
  append({.kind = Record::intent_zero, .offset = offset, .length = length}, {});
}

std::uint64_t Promiser::before_sync() const {
  return fd_ < 0 ? 0 : static_cast<std::uint64_t>(::lseek(fd_, 0, SEEK_END));
}

void Promiser::synced(std::uint64_t before) {
  append({.kind = Record::promise, .offset = before}, {});
}

void Promises::apply(Buffer& bytes, const Entry& entry) {
  const auto to = bytes.begin() + static_cast<std::ptrdiff_t>(entry.header.offset);
  if (entry.header.kind == Record::intent) {
    std::copy(entry.data.begin(), entry.data.end(), to);
  } else {
    std::fill_n(to, entry.header.length, std::byte{0});
  }
}

void Promises::take(const Entry& entry) {
  if (entry.header.kind == Record::intent || entry.header.kind == Record::intent_zero) {
    intents_.push_back(&entry);
  } else if (entry.header.kind == Record::promise) {
    promised_ = true;
    const auto later = std::find_if(intents_.begin(), intents_.end(), [&](const Entry* one) {
      return one->at >= entry.header.offset;
    });
    for (auto one = intents_.begin(); one != later; ++one) apply(sure_, **one);
    intents_.erase(intents_.begin(), later);
  }
}

std::string Promises::broken(Bytes found) const {
  if (found.size() != sure_.size()) {
    return "the disk has " + std::to_string(found.size()) + " bytes, and had " +
           std::to_string(sure_.size());
  }
  // Sector by sector: right as soon as it is what one of the moments left.
  std::vector<bool> right(div_round_up(sure_.size(), sector));
  const auto look = [&](const Buffer& moment, std::uint64_t offset, std::uint64_t length) {
    for (std::uint64_t at = round_down(offset, sector); at < offset + length; at += sector) {
      const std::size_t part = std::min<std::uint64_t>(sector, moment.size() - at);
      if (std::memcmp(moment.data() + at, found.data() + at, part) == 0) right[at / sector] = true;
    }
  };
  Buffer moment = sure_;
  look(moment, 0, moment.size());
  for (const Entry* const intent : intents_) {
    if (intent->header.length == 0) continue;
    apply(moment, *intent);
    look(moment, intent->header.offset, intent->header.length);
  }
  const auto wrong = std::find(right.begin(), right.end(), false);
  if (wrong == right.end()) return "";
  const auto at = static_cast<std::uint64_t>(wrong - right.begin()) * sector;
  const bool since = std::any_of(intents_.begin(), intents_.end(), [at](const Entry* intent) {
    return intent->header.offset < at + sector &&
           at < intent->header.offset + intent->header.length;
  });
  return "sector at byte " + std::to_string(at) + " (of " +
         std::to_string(std::count(right.begin(), right.end(), false)) + " wrong ones) is " +
         (since ? "neither what was promised nor anything written there since"
                : "not what was promised") +
         "; its first byte is " + std::to_string(std::to_integer<unsigned>(found[at])) +
         ", promised was " + std::to_string(std::to_integer<unsigned>(sure_[at]));
}

}  // namespace peelfs::test
