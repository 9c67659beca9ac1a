// What is read ahead must be what would have been read.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "engine/ahead.h"
#include "engine/crew.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

constexpr std::size_t kib = 1024, mib = 1024 * kib;

/// Computes, and counts how much; may fail in a range, be slow, or hang.
class Computing : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    if (mapping) mapping(offset);
    return MemoryDevice::map(offset, length);
  }
  std::uint32_t compute_unit() const noexcept override { return unit; }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    ++running;
    if (before) before(offset);
    const bool bad = offset < bad_end && offset + out.size() > bad_begin;
    if (!bad) MemoryDevice::compute(offset, out);
    if (after) after(offset);
    computed += out.size();
    --running;
    if (bad) throw Error(Fault::io, "a bad place");
  }
  std::function<void(std::uint64_t)> before, after, mapping;

  std::uint32_t unit = 1;
  std::uint64_t bad_begin = 0, bad_end = 0;
  mutable std::atomic<std::uint64_t> computed{0};
  mutable std::atomic<int> running{0};
};

Buffer lend_from(Ahead& ahead, std::uint64_t offset, std::size_t length) {
  Buffer scratch(length);
  Buffer taken;
  unsigned calls = 0;
  EXPECT_TRUE(ahead.lend(offset, scratch, [&](std::span<const iovec> pieces) {
    ++calls;
    for (const iovec& piece : pieces) {
      const auto* const begin = static_cast<const std::byte*>(piece.iov_base);
      taken.insert(taken.end(), begin, begin + piece.iov_len);
    }
  }));
  EXPECT_EQ(calls, 1U);
  return taken;
}

class ReadingAhead : public testing::Test {
 protected:
  /// @return whether the request got the right bytes
  bool right(Ahead& ahead, std::uint64_t offset, std::size_t length) {
    const auto begin = content_.begin() + static_cast<std::ptrdiff_t>(offset);
    return lend_from(ahead, offset, length) ==
           Buffer(begin, begin + static_cast<std::ptrdiff_t>(length));
  }
  /// Reads from `offset` on in pieces of that length. @return how many pieces there were
  std::uint64_t read_through(Ahead& ahead, std::uint64_t offset, std::size_t length,
                             std::uint64_t until) {
    std::uint64_t count = 0;
    for (; offset < until; offset += length, ++count) {
      length = std::min<std::uint64_t>(length, until - offset);
      EXPECT_TRUE(right(ahead, offset, length)) << offset;
    }
    return count;
  }

  /// Waits until so much has been computed, and no thread computes any more.
  void settle(std::uint64_t computed) const {
    for (int i = 0; i < 4000 && (device_->computed < computed || device_->running != 0); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  const std::size_t size_ = 9 * mib + 1536;
  const Buffer content_ = pattern(size_, 7);
  std::shared_ptr<Computing> device_ = std::make_shared<Computing>(content_);
};

TEST_F(ReadingAhead, WhoReadsThroughGetsEveryByteOnce) {
  for (const std::size_t length :
       {64 * kib, 100 * kib, 128 * kib, 200 * kib + 512, 1024 * kib, 2048 * kib + 512}) {
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{77'824}}) {
      Ahead ahead(device_);
      device_->computed = 0;
      const std::uint64_t requests = read_through(ahead, offset, length, size_);
      // Two until it is clear, one more if it does not begin at 0, and a short one at the end.
      EXPECT_GE(ahead.hits() + 4, length > mib ? 0 : requests) << length;
      EXPECT_LE(device_->computed, size_ - offset + 64 * kib + Ahead::kLeastRequest) << length;
    }
  }
}

TEST_F(ReadingAhead, WhoJumpsAboutPaysNothing) {
  Ahead ahead(device_);
  std::mt19937_64 random(1);
  std::uint64_t wanted = 0;
  for (int i = 0; i < 300; ++i) {
    const std::size_t length = 512 * (1 + random() % 600);
    const std::uint64_t offset = random() % ((size_ - length) / 512) * 512;
    EXPECT_TRUE(right(ahead, offset, length));
    wanted += length;
  }
  EXPECT_LE(device_->computed, wanted + mib) << "two neighbours by chance";
}

TEST_F(ReadingAhead, SmallRequestsAreLeftAlone) {
  Ahead ahead(device_);
  read_through(ahead, 0, 32 * kib, 4 * mib);
  EXPECT_EQ(ahead.hits(), 0U);
  EXPECT_EQ(device_->computed, 4 * mib);
}

TEST_F(ReadingAhead, RequestsMayOvertakeEachOther) {
  Ahead ahead(device_);
  constexpr std::size_t length = 256 * kib;
  for (std::uint64_t pair = 0; pair + 2 * length <= size_; pair += 2 * length) {
    const bool swapped = pair > 2 * mib;
    EXPECT_TRUE(right(ahead, pair + (swapped ? length : 0), length));
    EXPECT_TRUE(right(ahead, pair + (swapped ? 0 : length), length));
  }
  EXPECT_GE(ahead.hits(), 30U);
}

TEST_F(ReadingAhead, ManyAskAtOnceForEverything) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    Ahead ahead(device_);
    std::vector<std::jthread> threads;
    std::atomic<std::uint64_t> front{0};
    for (unsigned number = 0; number < 6; ++number) {
      threads.emplace_back([&, number] {
        std::mt19937_64 random(seed * 100 + number);
        for (int i = 0; i < 200; ++i) {
          const std::size_t length = 64 * kib + random() % (3 * 64) * kib;
          std::uint64_t offset = random() % (size_ - length);
          if (random() % 8 != 0) offset = front.fetch_add(length) % (size_ - length);
          EXPECT_TRUE(right(ahead, offset, length)) << offset;
        }
      });
    }
  }
}

TEST_F(ReadingAhead, AFailureIsThatOfWhoReadsThere) {
  device_->bad_begin = mib + 300 * kib;
  device_->bad_end = device_->bad_begin + 512;
  Ahead ahead(device_);
  for (std::uint64_t offset = 0; offset < 8 * mib; offset += 256 * kib) {
    const bool bad = offset < device_->bad_end && offset + 256 * kib > device_->bad_begin;
    if (bad) {
      EXPECT_THROW(lend_from(ahead, offset, 256 * kib), Error);
    } else {
      EXPECT_TRUE(right(ahead, offset, 256 * kib)) << offset;
    }
  }
  EXPECT_GE(ahead.hits(), 8U) << "it takes a while until it is tried again";
}

TEST_F(ReadingAhead, OldBytesAreReadAgain) {
  Ahead ahead(device_, std::chrono::milliseconds(500));
  read_through(ahead, 0, 512 * kib, 2 * mib);
  const std::uint64_t before = ahead.hits();
  EXPECT_GE(before, 1U);
  settle(3 * mib);
  std::this_thread::sleep_for(std::chrono::milliseconds(510));
  // The guest that owns the image has written meanwhile.
  std::fill(device_->bytes().begin(), device_->bytes().end(), std::byte{0x11});
  EXPECT_TRUE(lend_from(ahead, 2 * mib, 512 * kib) == Buffer(512 * kib, std::byte{0x11}));
  EXPECT_EQ(ahead.hits(), before);
}

TEST_F(ReadingAhead, TheAgeOfBytesCountsFromBeforeTheyWereRead) {
  constexpr std::size_t length = 128 * kib, slow = 3 * length;
  std::atomic<unsigned> slow_ones{0};
  device_->after = [&](std::uint64_t offset) {
    if (offset != slow || ++slow_ones != 1) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    std::fill_n(device_->bytes().begin() + slow, length, std::byte{0x11});
  };
  Ahead ahead(device_, std::chrono::milliseconds(500));
  read_through(ahead, 0, length, slow);
  settle(slow + length);
  EXPECT_TRUE(lend_from(ahead, slow, length) == Buffer(length, std::byte{0x11}));
  EXPECT_EQ(slow_ones, 2U);
}

TEST_F(ReadingAhead, WhoComesTooLateIsLeftAlone) {
  Ahead ahead(device_, std::chrono::milliseconds(0));
  read_through(ahead, 0, 128 * kib, size_);
  EXPECT_EQ(ahead.hits(), 0U);
  EXPECT_LE(device_->computed, size_ + 4 * mib);
}

TEST_F(ReadingAhead, ShortRunsCostLittle) {
  Ahead ahead(device_);
  std::uint64_t wanted = 0;
  for (unsigned run = 0; run < 40; ++run) {
    const std::uint64_t begin = (run * 7 % 40) * 200 * kib + 512;
    wanted += 64 * kib * read_through(ahead, begin, 64 * kib, begin + 3 * 64 * kib);
    settle(0);
  }
  EXPECT_LE(device_->computed, 3 * wanted);
}

/// A place at which all threads wait until open() is called.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  bool somebody_waits() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return waiting_ > 0; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool is_open() {
    const std::lock_guard lock(mutex_);
    return open_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  unsigned waiting_ = 0;
};

TEST_F(ReadingAhead, APlaceThatHangsHangsNobodyWhoDoesNotReadThere) {
  const auto gate = std::make_shared<Gate>();
  const auto hang = [gate](std::uint64_t offset) {
    if (offset >= mib) gate->pass();
  };
  device_->before = hang;
  device_->mapping = hang;
  {
    Ahead ahead(device_);
    std::jthread asking([&] { read_through(ahead, 0, 128 * kib, mib); });
    EXPECT_TRUE(gate->somebody_waits());
    asking.join();
    // Closing it does not wait, either; the read that hangs keeps the objects that it needs.
  }
  EXPECT_FALSE(gate->is_open());
  const std::weak_ptr<Computing> device = device_;
  device_.reset();
  EXPECT_FALSE(device.expired());
  gate->open();
  for (int i = 0; i < 2000 && !device.expired(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(device.expired());
}

TEST_F(ReadingAhead, WhatHangsIsNotGivenToAnother) {
  const auto first = std::make_shared<Gate>();
  const auto second = std::make_shared<Gate>();
  constexpr std::uint64_t elsewhere = 4 * mib + 768 * kib;
  device_->before = [first, second](std::uint64_t offset) {
    if (offset == mib) first->pass();
    if (offset == elsewhere) second->pass();
  };
  Ahead ahead(device_);
  read_through(ahead, 0, 128 * kib, mib);
  EXPECT_TRUE(first->somebody_waits());
  read_through(ahead, 4 * mib, 128 * kib, elsewhere);
  // If its memory had been reused by now, these bytes would appear there.
  first->open();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  for (std::uint64_t offset = elsewhere + 128 * kib; offset < 6 * mib; offset += 128 * kib) {
    EXPECT_TRUE(right(ahead, offset, 128 * kib)) << offset;
  }
  second->open();
  read_through(ahead, 6 * mib, 128 * kib, 9 * mib);
}

TEST_F(ReadingAhead, WithoutHelpersReadersReadTheirOwn) {
  /// Occupies the threads.
  struct Stuck : Background {
    void run() noexcept override {
      gate->pass();
      ended = true;
    }
    std::shared_ptr<Gate> gate;
    std::atomic<bool> ended{false};
  };
  const auto gate = std::make_shared<Gate>();
  std::array<Stuck, 8> stuck;
  for (Stuck& work : stuck) {
    work.gate = gate;
    begin_in_background(work);
  }
  EXPECT_TRUE(gate->somebody_waits());
  {
    Ahead ahead(device_);
    const std::uint64_t requests = read_through(ahead, 0, 512 * kib, size_);
    EXPECT_GE(ahead.hits() + 3, requests);
    EXPECT_EQ(device_->computed, size_);
    std::atomic<int> done{0};
    share_out(4, [&](std::size_t) { ++done; });
    EXPECT_EQ(done, 4);
  }
  gate->open();
  for (Stuck& work : stuck) {
    while (!work.ended && !take_back(work)) std::this_thread::yield();
  }
}

TEST_F(ReadingAhead, UnitsLongerThanAPieceAreNotTakenApart) {
  device_->unit = 256 * kib;
  Ahead ahead(device_);
  read_through(ahead, 0, 1024 * kib, size_);
  EXPECT_EQ(ahead.hits(), 0U);
  EXPECT_EQ(device_->computed, size_);
}

TEST_F(ReadingAhead, PiecesBeginWhereUnitsDo) {
  device_->unit = 64 * kib;
  std::atomic<unsigned> apart{0};
  device_->before = [&](std::uint64_t offset) {
    if (offset % (64 * kib) != 0) ++apart;
  };
  Ahead ahead(device_);
  const std::uint64_t requests = read_through(ahead, 512, 100 * kib, size_);
  EXPECT_GE(ahead.hits() + 5, requests);
  EXPECT_LE(apart, 6U) << "the reader's own requests, until it is clear what it does";
}

TEST_F(ReadingAhead, WhatLiesInAFileIsLentAndNotReadAhead) {
  const TemporaryDirectory folder;
  write_file(folder / "file", content_);
  const DevicePtr file = make_storage_device(HostFile::open(folder / "file"));
  Ahead ahead(file);
  read_through(ahead, 0, 512 * kib, size_);
  EXPECT_EQ(ahead.hits(), 0U);
}

TEST_F(ReadingAhead, PartsThatNeedNoComputingAreInBetween) {
  const TemporaryDirectory folder;
  write_file(folder / "hole", {});
  ASSERT_EQ(::truncate((folder / "hole").c_str(), 2 * mib + 512), 0);
  const DevicePtr hole = make_storage_device(HostFile::open(folder / "hole"));
  const DevicePtr memory = device_;
  const DevicePtr mixed = make_concat({{memory, 0, 3 * mib},
                                       {hole, 0, 2 * mib + 512},
                                       {memory, 5 * mib + 512, size_ - 5 * mib - 512}},
                                      Error(Fault::missing, "?"), "mixed");
  const Buffer content = read_bytes(*mixed, 0, mixed->size());
  device_->computed = 0;
  Ahead ahead(mixed);
  for (std::uint64_t offset = 0; offset + 512 * kib <= mixed->size(); offset += 512 * kib) {
    const auto begin = content.begin() + static_cast<std::ptrdiff_t>(offset);
    EXPECT_TRUE(lend_from(ahead, offset, 512 * kib) == Buffer(begin, begin + 512 * kib)) << offset;
  }
  EXPECT_GE(ahead.hits(), 6U);
  EXPECT_LE(device_->computed, 3 * mib + size_ - 5 * mib + mib)
      << "what was read without it is not read ahead any more";
}

TEST_F(ReadingAhead, WhoGoesBackIsFollowed) {
  // Threads still read the old chunks when the reader leaves them.
  device_->before = [](std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  Ahead ahead(device_);
  read_through(ahead, 4 * mib, 512 * kib, 6 * mib);
  const std::uint64_t before = ahead.hits();
  EXPECT_GE(before, 1U);
  read_through(ahead, 0, 512 * kib, 4 * mib);
  EXPECT_GE(ahead.hits(), before + 4);
}

TEST_F(ReadingAhead, EndsWithItsReader) {
  device_->before = [](std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  for (int round = 0; round < 20; ++round) {
    std::uint64_t before = 0;
    {
      Ahead ahead(device_);
      read_through(ahead, 0, 256 * kib, mib);
      before = device_->computed;
    }
    settle(0);
    // The thread that has read last may need a moment until it has let go of the device.
    for (int i = 0; i < 5000 && device_.use_count() != 1; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(device_.use_count(), 1);
    // Chunks that were being read, and none that were only queued.
    EXPECT_LE(device_->computed, before + 2 * 8 * Ahead::kChunkSize);
    EXPECT_LE(device_->computed - before, std::thread::hardware_concurrency() * Ahead::kChunkSize);
  }
}

TEST_F(ReadingAhead, MemoryIsForSoManyReaders) {
  constexpr std::uint64_t begin = 1536;  // from there on they are whole requests
  std::vector<std::unique_ptr<Ahead>> readers;
  for (int i = 0; i < 20; ++i) {
    readers.push_back(std::make_unique<Ahead>(device_));
    read_through(*readers.back(), begin, 512 * kib, begin + 3 * mib);
    EXPECT_EQ(readers.back()->hits() > 0, i < 16) << i;
  }
  const auto gets_a_place = [&](Ahead& reader) {
    read_through(reader, begin, 512 * kib, begin + 3 * mib);
    return reader.hits() > 0;
  };
  EXPECT_FALSE(gets_a_place(*readers[18]));
  read_through(*readers[1], begin + 3 * mib, 512 * kib, size_);
  EXPECT_TRUE(gets_a_place(*readers[18])) << "one has come to the end";
  EXPECT_FALSE(gets_a_place(*readers[19]));
  bool left = false;
  for (unsigned jump = 0; jump < 50 && !left; ++jump) {
    // The place is not given up while a chunk is being read for the reader, so one jump may not be
    // enough.
    EXPECT_TRUE(right(*readers[0], jump % 2 * 6 * mib, mib));
    left = gets_a_place(*readers[19]);
  }
  EXPECT_TRUE(left) << "one has gone elsewhere";
}

}  // namespace
}  // namespace peelfs::test
