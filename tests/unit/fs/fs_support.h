// A disk with a filesystem that is not ext, and what the rows see in it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "fs/open.h"
#include "peelfs/formats.h"
#include "peelfs/storage.h"
#include "support/support.h"
#include "support/test_filesystem.h"
#include "support/test_storage.h"

namespace peelfs::test {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * KiB;

/// Bytes on a storage that tells what was read of it.
struct Disk {
  explicit Disk(std::size_t size = 4 * MiB)
      : storage(std::make_shared<TestStorage>(pattern(size, 1))),
        device(make_storage_device(storage)) {}
  explicit Disk(Buffer bytes)
      : storage(std::make_shared<TestStorage>(std::move(bytes))),
        device(make_storage_device(storage)) {}

  const std::shared_ptr<TestStorage> storage;
  const DevicePtr device;
};

/// What open_filesystem() makes of it.
inline Opened open(const TestFilesystem& filesystem, const DevicePtr& device,
                   const Limits& limits = {}, Budget* budget = nullptr,
                   LayerMemory* memory = nullptr, unsigned image_depth = 0) {
  const Member member{device, nullptr, "disk", "disk", false, nullptr};
  const KeyRing keys;
  const OpenInput input{{&member, 1}, keys,   limits, nullptr,
                        image_depth,  budget, memory, &standard_formats()};
  const fs::Mount mount = [&](DevicePtr on) {
    return std::make_shared<const TestFilesystem>(filesystem, std::move(on));
  };
  return fs::open_filesystem(mount, "uuid", input);
}

inline std::string trouble_of(const Opened& opened) {
  return opened.trouble ? text_of(*opened.trouble) : "";
}

inline std::string paths_of(const Opened& opened) {
  std::string text;
  for (const Inner& inner : opened.devices) {
    for (const std::string& component : inner.path) text += "/" + component;
    text += " ";
  }
  return text;
}

}  // namespace peelfs::test
