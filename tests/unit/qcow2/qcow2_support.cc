#include "qcow2_support.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "peelfs/formats.h"
#include "peelfs/host_file.h"
#include "qcow2/qcow2.h"

namespace peelfs::test {

namespace {

class Beneath : public References {
 public:
  explicit Beneath(std::string directory) : directory_(std::move(directory)) {}
  Found open(std::string_view name) const override {
    const std::string path =
        name.starts_with('/') ? std::string(name) : directory_ + "/" + std::string(name);
    return {file_device(path), references_beneath(std::filesystem::path(path).parent_path()),
            std::filesystem::path(path).filename()};
  }

 private:
  const std::string directory_;
};

}  // namespace

std::shared_ptr<const References> references_beneath(const std::string& directory) {
  return std::make_shared<Beneath>(directory);
}

const Inner* OpenedImage::find(const std::string& name) const {
  for (const Inner& inner : opened.devices) {
    if (inner.name == name) return &inner;
  }
  std::string names;
  for (const Inner& inner : opened.devices) names += " " + inner.name;
  ADD_FAILURE() << "no device " << name << " among" << names;
  return nullptr;
}

OpenedImage open_qcow2(DevicePtr file, std::shared_ptr<const References> references,
                       const std::vector<std::string>& keys) {
  OpenedImage image;
  image.file = std::move(file);
  const Identity identity;
  const std::optional<Claim> claim = qcow2_probe({*image.file, identity});
  EXPECT_TRUE(claim.has_value());
  KeyRing ring;
  for (const std::string& key : keys) ring.add_for_all(Secret(as_bytes(key)));
  const Limits limits;
  Member member;
  member.device = image.file;
  member.claim = claim ? &*claim : nullptr;
  member.stem = "os";
  member.tail = "os";
  member.unpacks_to_stem = true;
  member.references = std::move(references);
  OpenInput input{std::span(&member, 1), ring, limits, nullptr, 0};
  input.formats = &standard_formats();
  image.opened = qcow2_open(input);
  return image;
}

OpenedImage open_qcow2(const std::string& path, const std::vector<std::string>& keys) {
  return open_qcow2(file_device(path),
                    references_beneath(std::filesystem::path(path).parent_path()), keys);
}

std::string difference(const BlockDevice& disk, const std::string& raw_path) {
  const Buffer expected = read_file(raw_path);
  if (expected.size() != disk.size()) {
    return "the disk has " + std::to_string(disk.size()) + " bytes, " + raw_path + " has " +
           std::to_string(expected.size());
  }
  const Buffer found = read_bytes(disk, 0, disk.size());
  for (std::size_t at = 0; at < expected.size(); ++at) {
    if (found[at] != expected[at]) {
      return "byte " + std::to_string(at) + " of " + raw_path + " differs: found " +
             hex(std::to_integer<unsigned>(found[at])) + ", expected " +
             hex(std::to_integer<unsigned>(expected[at]));
    }
  }
  return "";
}

void Spoiled::put8(std::size_t at, std::uint8_t value) {
  bytes_.at(at) = std::byte{value};
}
void Spoiled::put16(std::size_t at, std::uint16_t value) {
  put8(at, static_cast<std::uint8_t>(value >> 8U));
  put8(at + 1, static_cast<std::uint8_t>(value));
}
void Spoiled::put32(std::size_t at, std::uint32_t value) {
  put16(at, static_cast<std::uint16_t>(value >> 16U));
  put16(at + 2, static_cast<std::uint16_t>(value));
}
void Spoiled::put64(std::size_t at, std::uint64_t value) {
  put32(at, static_cast<std::uint32_t>(value >> 32U));
  put32(at + 4, static_cast<std::uint32_t>(value));
}
std::uint32_t Spoiled::get32(std::size_t at) const {
  return ByteReader(bytes_, "test image").be32(at);
}
std::uint64_t Spoiled::get64(std::size_t at) const {
  return ByteReader(bytes_, "test image").be64(at);
}

std::string open_error(const DevicePtr& file) {
  try {
    open_qcow2(file, nullptr);
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "the image opens";
  return "";
}

std::string read_error(const BlockDevice& device, std::uint64_t offset, std::size_t length) {
  try {
    read_bytes(device, offset, length);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace peelfs::test
