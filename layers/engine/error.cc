#include "peelfs/error.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "peelfs/layer.h"

namespace peelfs {

namespace {

int default_errno(Fault fault) {
  switch (fault) {
    case Fault::denied:
      return EACCES;
    case Fault::missing:
      return ENOENT;
    case Fault::usage:
      return EINVAL;
    // Failures below a device file are those of a disk: tools know what to do about EIO.
    case Fault::damaged:
    case Fault::unsupported:
    case Fault::locked:
    case Fault::io:
      break;
  }
  return EIO;
}

/// What a host answers when it has no memory, descriptors or threads left.
bool is_exhaustion(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM ||
         error_number == ENOBUFS || error_number == EAGAIN;
}

// The length of the UTF-8 sequence at `at` that is well-formed and no control character; 0
// otherwise.
std::size_t plain_sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(at + 1);
  if (lead == 0xc2 && second < 0xa0) return 0;  // C1 controls: terminals obey them
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  // Bidirectional overrides make a name look like another one.
  if (lead == 0xe2 && second == 0x80 && byte(at + 2) >= 0xaa && byte(at + 2) <= 0xae) return 0;
  if (lead == 0xe2 && second == 0x81 && byte(at + 2) >= 0xa6 && byte(at + 2) <= 0xa9) return 0;
  return length;
}

}  // namespace

std::string_view fault_name(Fault fault) noexcept {
  switch (fault) {
    case Fault::damaged:
      return "damaged";
    case Fault::unsupported:
      return "unsupported";
    case Fault::missing:
      return "missing";
    case Fault::locked:
      return "locked";
    case Fault::denied:
      return "denied";
    case Fault::io:
      return "io";
    case Fault::usage:
      return "usage";
  }
  return "damaged";
}

std::string printable(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  // Nearly all text is plain ASCII, and a copy of a failing disk makes millions of errors.
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain) return std::string(text);
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (const std::size_t length = plain_sequence(text, at); length != 0) {
      result.append(text.substr(at, length));
      at += length;
      continue;
    }
    const auto byte = static_cast<unsigned char>(text[at++]);
    result += {'\\', 'x', kDigits[byte >> 4U], kDigits[byte & 15U]};
  }
  return result;
}

std::string hex(unsigned long long value) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string result;
  do {
    result.insert(result.begin(), kDigits[value & 15U]);
    value >>= 4U;
  } while (value != 0);
  return "0x" + result;
}

Error::Error(Fault fault, std::string what)
    : fault_(fault), errno_(default_errno(fault)), summary_(std::move(what)) {
  compose();
}

Error Error::system(int error_number, std::string what) {
  std::array<char, 256> text{};
  // GNU strerror_r: thread-safe, and may answer with a constant instead of the buffer.
  const char* reason = strerror_r(error_number, text.data(), text.size());
  Fault fault = Fault::io;
  if (error_number == ENOENT || error_number == ENOTDIR || error_number == ENXIO) {
    fault = Fault::missing;
  } else if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    fault = Fault::denied;
  } else if (is_exhaustion(error_number)) {
    return Error(Fault::denied, std::move(what) + ": " + reason)
        .advice("this host has no more of it to give, which says nothing about the disk")
        .with_errno(error_number);
  }
  return Error(fault, std::move(what) + ": " + reason).with_errno(error_number);
}

Error&& Error::found(std::string text) && {
  found_ = std::move(text);
  compose();
  return std::move(*this);
}

Error&& Error::expected(std::string text) && {
  expected_ = std::move(text);
  compose();
  return std::move(*this);
}

Error&& Error::advice(std::string text) && {
  advice_ = std::move(text);
  compose();
  return std::move(*this);
}

Error&& Error::with_errno(int error_number) && {
  errno_ = error_number;
  return std::move(*this);
}

void Error::add_context(std::string_view layer) {
  // A device that reads through itself (a snapshot through its image) would otherwise be named
  // twice.
  if (layer.empty() || where_ == layer || where_.starts_with(std::string(layer) + ": ")) return;
  // A file of the host names itself: "writing disk.img at offset 512".
  const std::string itself = " " + std::string(layer) + " at offset ";
  if (where_.empty() && summary_.find(itself) != std::string::npos) return;
  where_ = where_.empty() ? std::string(layer) : std::string(layer) + ": " + where_;
  compose();
}

void Error::compose() {
  std::string text = where_.empty() ? summary_ : where_ + ": " + summary_;
  if (!found_.empty() || !expected_.empty()) {
    text += " (";
    if (!found_.empty()) text += "found " + found_;
    if (!found_.empty() && !expected_.empty()) text += ", ";
    if (!expected_.empty()) text += "expected " + expected_;
    text += ")";
  }
  if (!advice_.empty()) text += "; " + advice_;
  message_ = printable(text);
}

}  // namespace peelfs
