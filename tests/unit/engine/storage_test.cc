// Nothing above a storage knows that it is no host file.
#include "peelfs/storage.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "peelfs/devices.h"
#include "peelfs/host_file.h"
#include "support/support.h"
#include "support/test_storage.h"

namespace peelfs::test {
namespace {

constexpr std::size_t mib = 1U << 20U;

Buffer part_of(const Buffer& bytes, std::size_t offset, std::size_t length) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(offset),
          bytes.begin() + static_cast<std::ptrdiff_t>(offset + length)};
}

TEST(Storage, AStorageThatIsNoFileKeepsTheContract) {
  const auto storage = std::make_shared<TestStorage>(pattern(mib, 1));
  const DevicePtr device = make_storage_device(storage);
  EXPECT_EQ(device->size(), mib);
  EXPECT_EQ(device->describe(), "mem://disk");
  EXPECT_FALSE(device->writable());
  EXPECT_EQ(device->growable(), nullptr);
  EXPECT_EQ(storage->host_file(), nullptr);
  check_contract(*device);
}

TEST(Storage, NeighboursAreOneRequestThroughAllLayers) {
  const Buffer bytes = pattern(4 * mib, 2);
  const auto storage = std::make_shared<TestStorage>(bytes);
  const DevicePtr device = make_storage_device(storage);
  // Two pieces that lie side by side, seen through two layers.
  const DevicePtr front = make_slice(device, mib, mib, "front");
  const DevicePtr back = make_slice(device, 2 * mib, mib, "back");
  const DevicePtr whole = make_concat({{front, 0, mib}, {back, 0, mib}},
                                      Error(Fault::missing, "a piece"), "whole", 512);
  storage->take_requests();
  EXPECT_EQ(read_bytes(*whole, mib / 2, mib), part_of(bytes, mib + mib / 2, mib));
  const std::vector<TestStorage::Request> expected{{mib + mib / 2, mib}};
  EXPECT_EQ(storage->take_requests(), expected);
}

TEST(Storage, NothingIsLentThatIsNotMapped) {
  const Buffer bytes = pattern(mib, 3);
  const auto storage = std::make_shared<TestStorage>(bytes);
  const DevicePtr device = make_storage_device(storage);
  Buffer scratch(mib);
  Buffer seen;
  const Lending lending = lend(*device, 0, scratch, [&](std::span<const iovec> pieces) {
    for (const iovec& piece : pieces) {
      const auto* const from = static_cast<const std::byte*>(piece.iov_base);
      seen.insert(seen.end(), from, from + piece.iov_len);
    }
  });
  EXPECT_TRUE(lending.trusted);
  EXPECT_EQ(seen, bytes);
}

TEST(Storage, AFailureNamesTheStorageAndTheLayers) {
  const auto storage = std::make_shared<TestStorage>(pattern(mib, 4));
  const DevicePtr device = make_slice(make_storage_device(storage), 4096, 8192, "partition 1");
  storage->fail_at(5000, ETIMEDOUT);
  try {
    read_bytes(*device, 0, 4096);
    FAIL() << "read in spite of the fault";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), ETIMEDOUT);
    EXPECT_NE(std::string(error.what()).find("mem://disk"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("partition 1"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(read_bytes(*device, 4096, 4096));
  storage->heal();
  EXPECT_NO_THROW(read_bytes(*device, 0, 4096));
}

TEST(Storage, OneThatIsSlowIsReadByManyAtOnce) {
  const Buffer bytes = pattern(mib, 5);
  const auto storage = std::make_shared<TestStorage>(bytes);
  storage->set_delay(std::chrono::milliseconds(1));
  const DevicePtr device = make_storage_device(storage);
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < 8; ++i) {
    readers.emplace_back([&, i] {
      for (std::size_t at = i * 4096; at + 4096 <= mib / 4; at += std::size_t{8} * 4096) {
        EXPECT_EQ(read_bytes(*device, at, 4096), part_of(bytes, at, 4096));
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
}

TEST(Storage, WritesAndFlushesArriveOrAreRefused) {
  const auto storage = std::make_shared<TestStorage>(Buffer(mib));
  const DevicePtr device = make_storage_device(storage);
  const Buffer bytes = pattern(8192, 6);
  EXPECT_THROW(write(*device, 0, bytes), Error);
  storage->set_writable();
  const DevicePtr part = make_slice(device, 4096, 65536, "part");
  write(*part, 100, bytes);
  part->flush();
  EXPECT_EQ(storage->flushes(), 1U);
  EXPECT_EQ(part_of(storage->bytes(), 4196, 8192), bytes);
  // It cannot zero, and says so with the errno that mkfs and others know.
  try {
    zero(*part, 0, 4096, WriteKind::discard);
    FAIL() << "zeroed";
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EOPNOTSUPP);
  }
}

TEST(Storage, WhatItPrefersIsSeenThroughLayers) {
  const auto storage = std::make_shared<TestStorage>(pattern(mib, 7));
  storage->set_best_read(4 * mib);
  const DevicePtr device = make_slice(make_storage_device(storage), 4096, 65536, "part");
  EXPECT_EQ(best_read(*device, 0), 4 * mib);
  EXPECT_EQ(best_read(MemoryDevice(Buffer(4096)), 0), 0U);
  EXPECT_TRUE(storage->take_requests().empty()) << "asked without reading";
}

TEST(Storage, IdentityIsThatOfTheBytes) {
  const TestStorage a(Buffer(512), "mem://a");
  const TestStorage b(Buffer(512), "mem://b");
  const TestStorage a_again(Buffer(512), "mem://a");
  EXPECT_EQ(a.identity(), a_again.identity());
  EXPECT_NE(a.identity(), b.identity());
  const TemporaryDirectory folder;
  write_file(folder / "f", Buffer(512));
  must_run("ln " + (folder / "f") + " " + (folder / "g"));
  EXPECT_EQ(HostFile::open(folder / "f")->identity(), HostFile::open(folder / "g")->identity());
}

}  // namespace
}  // namespace peelfs::test
