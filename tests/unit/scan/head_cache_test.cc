// A device is read once for identification and all probes.
#include "scan/head_cache.h"

#include <gtest/gtest.h>

#include "identify/identify.h"
#include "peelfs/devices.h"
#include "support/support.h"
#include "support/test_storage.h"

namespace peelfs::test {
namespace {

constexpr std::size_t mib = 1U << 20U;

std::shared_ptr<TestStorage> storage_of(std::size_t size, std::uint32_t best = 128U << 10U) {
  auto storage = std::make_shared<TestStorage>(pattern(size, 1));
  storage->set_best_read(best);
  return storage;
}

TEST(HeadCache, KeepsTheContract) {
  const DevicePtr device = make_storage_device(storage_of(3 * mib + 700));
  const HeadCache cache(device);
  EXPECT_EQ(read_bytes(cache, 0, device->size()), read_bytes(*device, 0, device->size()));
  check_contract(cache);
}

TEST(HeadCache, WhatWasReadIsNotReadAgain) {
  const auto storage = storage_of(4 * mib);
  const HeadCache cache(make_storage_device(storage));
  read_bytes(cache, 0, 512);
  EXPECT_EQ(storage->take_requests().size(), 1U);
  read_bytes(cache, 0, 512);
  read_bytes(cache, 4096, 60000);
  EXPECT_TRUE(storage->take_requests().empty());
  read_bytes(cache, 0, 2 * mib);
  EXPECT_EQ(storage->take_requests().size(), 1U) << "all that is missing by one request";
}

TEST(HeadCache, AStorageThatWantsLargeRequestsGetsThem) {
  const auto storage = storage_of(16 * mib, 2 * mib);
  const HeadCache cache(make_storage_device(storage));
  for (std::uint64_t at = 0; at < 2 * mib; at += 4096) read_bytes(cache, at, 512);
  const std::vector<TestStorage::Request> expected{{0, 2 * mib}};
  EXPECT_EQ(storage->take_requests(), expected);
}

TEST(HeadCache, ABadSectorHidesOnlyItself) {
  const auto storage = storage_of(mib);
  storage->fail_at(10'000, EIO);
  const HeadCache cache(make_storage_device(storage));
  const Buffer bytes = storage->bytes();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(read_bytes(cache, 0, 4096), Buffer(bytes.begin(), bytes.begin() + 4096));
    EXPECT_THROW(read_bytes(cache, 9728, 512), Error);
    EXPECT_EQ(read_bytes(cache, 300'000, 4096),
              Buffer(bytes.begin() + 300'000, bytes.begin() + 304'096));
  }
}

TEST(HeadCache, HolesAreNotReadAndItsMemoryIsBounded) {
  const TemporaryDirectory folder;
  must_run("truncate -s 1G " + (folder / "sparse"));
  const HeadCache holes(file_device(folder / "sparse"));
  EXPECT_FALSE(block_status(holes, 0, 1U << 30U).data);
  const auto storage = storage_of(40 * mib);
  const HeadCache cache(make_storage_device(storage));
  EXPECT_EQ(read_bytes(cache, 0, 40 * mib), storage->bytes());
  storage->take_requests();
  read_bytes(cache, 39 * mib, 512);
  EXPECT_EQ(storage->take_requests().size(), 1U) << "what is behind the bound is read each time";
}

TEST(HeadCache, IdentificationAndProbesAskAStorageAFewTimes) {
  const auto storage = storage_of(64 * mib, 2 * mib);
  const HeadCache cache(make_storage_device(storage));
  identify(cache);
  const std::size_t once = storage->take_requests().size();
  EXPECT_LE(once, 6U) << "the head, the tail, and places that are looked at in between";
  identify(cache);
  EXPECT_TRUE(storage->take_requests().empty());
}

}  // namespace
}  // namespace peelfs::test
