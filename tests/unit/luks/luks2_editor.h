// Changes a LUKS2 header in memory and makes its checksums right again, without the code under
// test.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "support/support.h"

namespace peelfs::test {

class Luks2Editor {
 public:
  /// @param disk begins with a sound LUKS2 header of 16 KiB
  explicit Luks2Editor(Buffer disk) : disk_(std::move(disk)) {}

  static constexpr std::size_t hdr_size = 16384, json_offset = 4096;

  Buffer& bytes() { return disk_; }

  enum Copies { primary = 1, secondary = 2, both = 3 };

  nlohmann::json json() const {
    return nlohmann::json::parse(std::string(as_text(Bytes(disk_).subspan(json_offset)).data()));
  }

  /// Puts text into the JSON area of the copies.
  void set_json(const std::string& text, Copies copies = both) {
    each(copies, [&](std::size_t at) {
      const auto area = disk_.begin() + static_cast<std::ptrdiff_t>(at + json_offset);
      std::fill(area, area + (hdr_size - json_offset), std::byte{0});
      std::copy(as_bytes(text).begin(), as_bytes(text).end(), area);
    });
    seal(copies);
  }

  void edit(const std::function<void(nlohmann::json&)>& change, Copies copies = both) {
    nlohmann::json root = json();
    change(root);
    set_json(root.dump(), copies);
  }

  /// Writes a big-endian number into the binary header of the copies.
  void set_be(std::size_t field, std::uint64_t number, std::size_t size, Copies copies) {
    each(copies, [&](std::size_t at) {
      for (std::size_t i = 0; i < size; ++i) {
        disk_[at + field + i] = static_cast<std::byte>((number >> (8 * (size - 1 - i))) & 0xff);
      }
    });
    seal(copies);
  }

  /// Flips a bit and leaves the checksum as it was.
  void damage(std::size_t field, Copies copies) {
    each(copies, [&](std::size_t at) { disk_[at + field] ^= std::byte{1}; });
  }

  void erase(Copies copies) {
    each(copies, [&](std::size_t at) {
      std::fill_n(disk_.begin() + static_cast<std::ptrdiff_t>(at), hdr_size, std::byte{0});
    });
  }

  DevicePtr device() const { return std::make_shared<MemoryDevice>(disk_); }

 private:
  static void each(Copies copies, const std::function<void(std::size_t)>& act) {
    if ((copies & primary) != 0) act(0);
    if ((copies & secondary) != 0) act(hdr_size);
  }

  void seal(Copies copies) {
    each(copies, [&](std::size_t at) {
      const MutableBytes header = MutableBytes(disk_).subspan(at, hdr_size);
      std::fill_n(header.begin() + 448, 64, std::byte{0});
      const std::string digits = sha256(Bytes(header));
      for (std::size_t i = 0; i < 32; ++i) {
        header[448 + i] = static_cast<std::byte>(std::stoi(digits.substr(2 * i, 2), nullptr, 16));
      }
    });
  }

  Buffer disk_;
};

}  // namespace peelfs::test
