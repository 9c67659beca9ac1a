// Many threads on one image: writers of overlapping clusters, discards, readers, flushes.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "peelfs/host_file.h"
#include "qcow2/overlay.h"
#include "support/support.h"

namespace peelfs {
namespace {

using test::must_run;
using test::TemporaryDirectory;

constexpr std::uint64_t disk_size = 16U << 20U;
constexpr std::uint64_t slot = 3 * 512;           ///< neighbours share clusters and subclusters
constexpr std::uint64_t slots_size = 12U << 20U;  ///< the rest is discarded again and again
constexpr unsigned writers = 4;

/// Every slot of 1536 bytes belongs to one writer, which fills it with one number at a time; zero
/// and the numbers it has written are all that a reader may ever see there, never two in one slot
/// once the writer has gone.
class Slots {
 public:
  explicit Slots(const DevicePtr& disk) : disk_(disk), last_(slots_size / slot) {}

  void work(unsigned me) {
    std::mt19937_64 random(me);
    for (unsigned i = 0; i < 600; ++i) {
      const std::uint64_t index = (random() % (last_.size() / writers)) * writers + me;
      const std::uint64_t at = index * slot;
      if (random() % 5 == 0) {
        zero(*disk_, at, slot, random() % 2 == 0 ? WriteKind::discard : WriteKind::zeroes);
        last_[index] = 0;
      } else {
        const auto number = static_cast<std::uint8_t>(1 + random() % 255);
        write(*disk_, at, Buffer(slot, std::byte{number}));
        last_[index] = number;
      }
      check(index);
      if (random() % 50 == 0) disk_->flush();
    }
  }
  void read_everything(const std::atomic<bool>& done) {
    while (!done) {
      const Buffer all = read_bytes(*disk_, 0, disk_size);
      EXPECT_EQ(all.size(), disk_size);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  /// Whole clusters that no writer has.
  void discard_tail(const std::atomic<bool>& done) {
    while (!done) {
      write(*disk_, slots_size + 4096, Buffer(1U << 20U, std::byte{0xee}));
      zero(*disk_, slots_size, disk_size - slots_size, WriteKind::discard);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  void check(std::uint64_t index) const {
    const Buffer got = read_bytes(*disk_, index * slot, slot);
    for (const std::byte byte : got) ASSERT_EQ(byte, std::byte{last_[index]}) << index;
  }
  std::size_t count() const { return last_.size(); }

 private:
  const DevicePtr disk_;
  std::vector<std::uint8_t> last_;
};

class ManyThreads : public ::testing::TestWithParam<std::string> {};

TEST_P(ManyThreads, LoseNoByte) {
  const TemporaryDirectory folder;
  const std::string path = folder / "image.qcow2";
  must_run("qemu-img create -q -f qcow2 " + GetParam() + " " + path + " 16M");
  const DevicePtr file = make_storage_device(HostFile::open(path, HostFile::Access::read_write));
  const DevicePtr disk = qcow2::open_overlay(file, nullptr, "image");
  Slots slots(disk);
  std::atomic<bool> done = false;
  std::vector<std::thread> others;
  others.emplace_back([&] { slots.read_everything(done); });
  others.emplace_back([&] { slots.discard_tail(done); });
  std::vector<std::thread> threads;
  for (unsigned me = 0; me < writers; ++me) threads.emplace_back([&slots, me] { slots.work(me); });
  for (std::thread& thread : threads) thread.join();
  done = true;
  for (std::thread& thread : others) thread.join();
  disk->flush();
  for (std::uint64_t index = 0; index < slots.count(); ++index) slots.check(index);
  const auto check = test::run("qemu-img check " + path);
  EXPECT_EQ(check.exit_code, 0) << check.output;
}

INSTANTIATE_TEST_SUITE_P(All, ManyThreads,
                         ::testing::Values("-o cluster_size=4k", "-o cluster_size=64k",
                                           "-o extended_l2=on", "-o cluster_size=512"),
                         [](const auto& kind) {
                           std::string name = kind.param.substr(3);
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace peelfs
