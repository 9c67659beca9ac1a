// Range locks and epochs.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "engine/epoch.h"
#include "peelfs/io.h"
#include "peelfs/range_locks.h"
#include "support/support.h"

namespace peelfs {

/// An instance of its own, whose steps a test takes one by one.
struct EpochsTest {
  Epochs epochs;
  std::atomic<std::int64_t>& enter(std::uint64_t epoch) { return epochs.enter(epoch); }
  bool drained(std::uint64_t parity) const { return epochs.drained(parity); }
  void advance() { ++epochs.epoch_; }
};

namespace test {
namespace {

using Mode = RangeLocks::Mode;

/// Takes a range in a thread of its own and lets go of it at once.
std::future<void> take(RangeLocks& locks, std::uint64_t begin, std::uint64_t end, Mode mode) {
  return std::async(std::launch::async, [&locks, begin, end, mode] {
    const RangeLocks::Held held(locks, begin, end, mode);
  });
}

bool waits(const std::future<void>& taking) {
  return taking.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout;
}

TEST(RangeLocks, ReadersShareAndWritersDoNot) {
  RangeLocks locks;
  auto reader = std::make_unique<RangeLocks::Held>(locks, 100, 200, Mode::shared);
  take(locks, 100, 200, Mode::shared).get();
  take(locks, 0, 100, Mode::exclusive).get();
  take(locks, 200, 300, Mode::exclusive).get();
  const std::future<void> store = take(locks, 199, 201, Mode::exclusive);
  EXPECT_TRUE(waits(store));
  // A store that waits comes before readers that ask later, or they would keep it out for ever.
  const std::future<void> late_reader = take(locks, 150, 200, Mode::shared);
  EXPECT_TRUE(waits(late_reader));
  take(locks, 150, 160, Mode::shared).get();
  reader.reset();
  store.wait();
  late_reader.wait();
}

TEST(RangeLocks, AStoreIsNotKeptOutByReadersThatOverlap) {
  RangeLocks locks;
  std::atomic<bool> stop = false;
  std::atomic<unsigned> rounds = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      // Two threads that overlap in time: there is no moment without a reader.
      while (!stop) {
        const RangeLocks::Held held(locks, 0, 10, Mode::shared);
        ++rounds;
        std::this_thread::yield();
      }
    });
  }
  while (rounds < 100) std::this_thread::yield();
  for (int i = 0; i < 200; ++i) const RangeLocks::Held held(locks, 5, 6, Mode::exclusive);
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

TEST(Epochs, ARequestUnderWayHoldsBackWhatItMayHaveSeen) {
  Epochs& epochs = Epochs::process();
  std::uint64_t epoch = 0;
  {
    const Epochs::Request request;
    { const Epochs::Request nested; }
    epoch = epochs.now();
    EXPECT_FALSE(epochs.passed(epoch));
    EXPECT_FALSE(epochs.passed(epoch));
    // Requests that begin later do not matter, however long they take.
  }
  EXPECT_TRUE(epochs.wait(epoch, std::chrono::seconds(10)));
}

TEST(Epochs, LaterRequestsHoldNothingBackForEver) {
  EpochsTest own;
  const std::uint64_t epoch = own.epochs.now();
  auto& first = own.enter(own.epochs.now());
  EXPECT_FALSE(own.epochs.passed(epoch));
  auto& second = own.enter(own.epochs.now());
  --first;
  auto& third = own.enter(own.epochs.now());
  --second;
  EXPECT_FALSE(own.epochs.passed(epoch));
  --third;
  EXPECT_TRUE(own.epochs.passed(epoch));
}

// A reader takes down the epoch and is held up; it enters the counters of an epoch that has gone.
TEST(Epochs, ALateReaderIsWaitedFor) {
  for (const std::uint64_t late : {0U, 1U}) {
    EpochsTest own;
    const std::uint64_t read_down = own.epochs.now() - late;
    auto& reader = own.enter(read_down);
    EXPECT_FALSE(own.epochs.passed(own.epochs.now()));
    EXPECT_FALSE(own.epochs.passed(own.epochs.now()));
    --reader;
    EXPECT_TRUE(own.epochs.passed(own.epochs.now()));
  }
}

// The other half of an advance: another thread has found the counters empty, but not yet advanced,
// when a late reader enters them and a place is given up.
TEST(Epochs, AnAdvanceThatWasUnderWayProvesNothing) {
  EpochsTest own;
  const std::uint64_t now = own.epochs.now();
  ASSERT_TRUE(own.drained(now + 1));
  auto& late_reader = own.enter(now - 1);  // and it is told of the place
  const std::uint64_t given_up = own.epochs.now();
  own.advance();
  EXPECT_FALSE(own.epochs.passed(given_up));
  --late_reader;
  EXPECT_TRUE(own.epochs.passed(given_up));
}

}  // namespace
}  // namespace test
}  // namespace peelfs
