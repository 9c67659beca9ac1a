// Digests of many devices in one pass: always those of the bytes, whatever lies on what; each byte
// read once where devices are linear in one another; none for what cannot be read.
#include "peel/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/storage.h"
#include "support/support.h"
#include "support/test_storage.h"

namespace peelfs {
namespace {

constexpr std::uint64_t kMib = 1U << 20U;
using test::TestStorage;

HashOptions options_of(unsigned threads = 2, const std::string& names = "sha256") {
  HashOptions options;
  options.threads = threads;
  std::size_t begin = 0;
  while (begin <= names.size()) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    options.algorithms.push_back(find_digest(names.substr(begin, end - begin)));
    begin = end + 1;
  }
  return options;
}

HashSubject whole(const DevicePtr& device) {
  return {device, pieces_of(*device, 0)};
}

Error gap() {
  return Error(Fault::missing, "not there");
}

/// The bytes of another device, each changed: what a cipher is to what lies below.
class Flipped : public BlockDevice {
 public:
  explicit Flipped(DevicePtr lower) : BlockDevice(lower->size()), lower_(std::move(lower)) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    read(*lower_, offset, out);
    for (std::byte& byte : out) byte = ~byte;
    computed += out.size();
  }
  std::uint32_t granule() const noexcept override { return 512; }
  Extent computed_from(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*lower_, offset, length);
  }
  std::string describe() const override { return "flipped"; }
  mutable std::atomic<std::uint64_t> computed{0};

 private:
  const DevicePtr lower_;
};

/// Holes and data in turns of 1 MiB.
class Sparse : public BlockDevice {
 public:
  explicit Sparse(DevicePtr lower) : BlockDevice(lower->size() * 2), lower_(std::move(lower)) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const std::uint64_t turn = offset / kMib;
    const std::uint64_t rest = std::min(length, (turn + 1) * kMib - offset);
    if (turn % 2 == 0) return Extent::zeroes(rest);
    return Extent::in_device(*lower_, turn / 2 * kMib + offset % kMib, rest);
  }
  std::string describe() const override { return "sparse"; }

 private:
  const DevicePtr lower_;
};

void expect_digests(const std::vector<DevicePtr>& devices, const HashResult& result) {
  ASSERT_EQ(result.pieces.size(), devices.size());
  for (std::size_t i = 0; i < devices.size(); ++i) {
    ASSERT_EQ(result.pieces[i].size(), 1U);
    ASSERT_EQ(result.pieces[i][0].failure, nullptr) << result.pieces[i][0].failure->reason;
    EXPECT_EQ(result.pieces[i][0].digests[0], test::sha256(*devices[i]))
        << i << " " << devices[i]->describe();
  }
}

HashResult hash_whole(const std::vector<DevicePtr>& devices, const HashOptions& options) {
  std::vector<HashSubject> subjects;
  for (const DevicePtr& device : devices) subjects.push_back(whole(device));
  return hash_devices(subjects, options);
}

TEST(Hash, ReadsOnceWhatManyDevicesAreMadeOf) {
  for (const unsigned threads : {1U, 2U, 7U}) {
    const auto storage = std::make_shared<TestStorage>(test::pattern(40 * kMib + 777, 3));
    const DevicePtr disk = make_storage_device(storage);
    const DevicePtr one = make_slice(disk, 512, 10 * kMib, "one");
    const DevicePtr two = make_slice(disk, 12 * kMib + 512, 28 * kMib, "two");
    const DevicePtr inner = make_slice(two, 3 * kMib + 1024, 20 * kMib + 3, "inner");
    const DevicePtr last = make_slice(disk, 40 * kMib, 777, "last");
    const std::vector<DevicePtr> devices{last, inner, disk, two, one};
    const HashResult result = hash_whole(devices, options_of(threads));
    expect_digests(devices, result);
    EXPECT_EQ(result.read, disk->size()) << threads;
    // Without the disk itself: what is in none of them is not read.
    EXPECT_EQ(hash_whole({inner, two, one}, options_of(threads)).read, 38 * kMib) << threads;
  }
}

TEST(Hash, ComputesOnceWhatIsComputed) {
  const DevicePtr disk =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(24 * kMib, 4)));
  const auto plain = std::make_shared<Flipped>(make_slice(disk, kMib, 23 * kMib, "crypt"));
  const DevicePtr one = make_slice(plain, 4096, 12 * kMib, "one");
  const DevicePtr two = make_slice(plain, 12 * kMib + 4096, 10 * kMib, "two");
  const std::vector<DevicePtr> devices{disk, plain, one, two};
  const HashResult result = hash_whole(devices, options_of());
  EXPECT_EQ(plain->computed, plain->size());
  EXPECT_EQ(result.read, disk->size() + plain->size());
  expect_digests(devices, result);
}

TEST(Hash, ReadsStripesAndLegsOnce) {
  const DevicePtr a =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(16 * kMib, 5), "mem://a"));
  const DevicePtr b =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(16 * kMib, 6), "mem://b"));
  std::vector<Piece> pieces;
  constexpr std::uint64_t kStripe = 64U << 10U;
  for (std::uint64_t at = kMib; at < 15 * kMib; at += kStripe) {
    pieces.push_back({a, at, kStripe});
    pieces.push_back({b, at, kStripe});
  }
  const DevicePtr striped = make_concat(pieces, gap(), "striped");
  const std::vector<DevicePtr> devices{striped, a, b};
  const HashResult result = hash_whole(devices, options_of(1));
  expect_digests(devices, result);
  EXPECT_EQ(result.read, 32 * kMib);
}

TEST(Hash, IsRightForPiecesInAnyOrder) {
  std::mt19937_64 dice(11);
  for (int round = 0; round < 12; ++round) {
    const auto storage =
        std::make_shared<TestStorage>(test::pattern(6 * kMib + dice() % 5000, round + 1));
    const DevicePtr disk = make_storage_device(storage);
    std::vector<DevicePtr> devices{disk};
    for (int i = 0; i < 12; ++i) {
      const DevicePtr& lower = devices[dice() % devices.size()];
      std::vector<Piece> pieces;
      const std::size_t count = 1 + dice() % 40;
      for (std::size_t p = 0; p < count && lower->size() != 0; ++p) {
        const std::uint64_t from = dice() % lower->size();
        pieces.push_back(
            {lower, from, 1 + dice() % std::min<std::uint64_t>(lower->size() - from, 700'000)});
      }
      if (dice() % 3 == 0) std::ranges::sort(pieces, {}, &Piece::offset);
      if (dice() % 5 == 0) {
        devices.push_back(std::make_shared<Flipped>(lower));
      } else if (dice() % 5 == 0 && lower->size() % kMib == 0) {
        devices.push_back(std::make_shared<Sparse>(lower));
      } else {
        devices.push_back(make_concat(pieces, gap(), "mixed"));
      }
    }
    std::ranges::shuffle(devices, dice);
    expect_digests(devices, hash_whole(devices, options_of(1 + dice() % 4)));
    if (HasFailure()) return;
  }
}

TEST(Hash, DoesNotReadHoles) {
  const auto storage = std::make_shared<TestStorage>(test::pattern(8 * kMib, 7));
  const DevicePtr sparse = std::make_shared<Sparse>(make_storage_device(storage));
  const DevicePtr part = make_slice(sparse, 512, 9 * kMib, "part");
  storage->take_requests();
  const HashResult result = hash_whole({sparse, part}, options_of());
  EXPECT_EQ(result.read, 8 * kMib);
  expect_digests({sparse, part}, result);
}

TEST(Hash, ComputesSeveralAlgorithms) {
  const DevicePtr device =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(5 * kMib + 1, 8)));
  const std::vector<HashSubject> subjects{whole(device)};
  const HashResult result = hash_devices(subjects, options_of(3, "md5,sha256,blake2b"));
  const Buffer bytes = read_bytes(*device, 0, device->size());
  const auto expected = [&](const char* name) {
    Digest digest(*find_digest(name));
    digest.update(bytes);
    return digest.finish();
  };
  EXPECT_EQ(result.pieces[0][0].digests,
            (std::vector{expected("md5"), expected("sha256"), expected("blake2b")}));
  EXPECT_EQ(result.read, device->size());
}

TEST(Hash, OfNoBytesIsThatOfNoBytes) {
  const DevicePtr empty = make_storage_device(std::make_shared<TestStorage>(Buffer()));
  EXPECT_EQ(hash_whole({empty}, options_of()).pieces[0][0].digests[0],
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(hash_whole({}, options_of()).pieces.empty());
}

TEST(Hash, HasPiecesOfAnySize) {
  const DevicePtr disk =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(3 * kMib + 100, 9)));
  const DevicePtr part = make_slice(disk, 777, 2 * kMib, "part");
  for (const std::uint64_t size : {std::uint64_t{1000}, std::uint64_t{65'536}, kMib, 5 * kMib}) {
    const std::vector<HashSubject> subjects{{disk, pieces_of(*disk, size)},
                                            {part, pieces_of(*part, size)}};
    const HashResult result = hash_devices(subjects, options_of());
    EXPECT_EQ(result.read, disk->size()) << size;
    for (std::size_t i = 0; i < 2; ++i) {
      for (std::size_t p = 0; p < subjects[i].pieces.size(); ++p) {
        const ByteRange& range = subjects[i].pieces[p];
        const Buffer bytes = read_bytes(*subjects[i].device, range.offset, range.length);
        ASSERT_EQ(result.pieces[i][p].digests[0], test::sha256(bytes)) << size << " " << p;
      }
    }
  }
  EXPECT_THROW(
      pieces_of(*std::make_shared<Sparse>(make_concat(
                    std::vector<Piece>{{nullptr, 0, std::uint64_t{1} << 40U}}, gap(), "x")),
                512),
      Error);
}

TEST(Hash, TakesPiecesWithGapsBetween) {
  const DevicePtr disk =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(4 * kMib, 10)));
  const DevicePtr part = make_slice(disk, kMib / 2, kMib, "part");
  const std::vector<HashSubject> subjects{{disk, {{10, 100}, {2 * kMib, kMib}}}, whole(part)};
  const HashResult result = hash_devices(subjects, options_of());
  EXPECT_EQ(result.pieces[0][0].digests[0], test::sha256(read_bytes(*disk, 10, 100)));
  EXPECT_EQ(result.pieces[0][1].digests[0], test::sha256(read_bytes(*disk, 2 * kMib, kMib)));
  EXPECT_EQ(result.pieces[1][0].digests[0], test::sha256(*part));
}

TEST(Hash, GivesNoDigestToWhatCannotBeRead) {
  const auto storage = std::make_shared<TestStorage>(test::pattern(20 * kMib, 12));
  const DevicePtr disk = make_storage_device(storage);
  const DevicePtr before = make_slice(disk, kMib, 8 * kMib, "before");
  const DevicePtr around = make_slice(disk, 9 * kMib, 3 * kMib, "around");
  const DevicePtr behind = make_slice(disk, 12 * kMib, 8 * kMib, "behind");
  const std::string right[] = {test::sha256(*before), test::sha256(*behind)};
  storage->fail_at(11 * kMib - 5, EIO);
  for (const unsigned threads : {1U, 4U}) {
    const HashResult result = hash_whole({disk, before, around, behind}, options_of(threads));
    for (const std::size_t bad : {0U, 2U}) {
      ASSERT_NE(result.pieces[bad][0].failure, nullptr) << bad;
      EXPECT_TRUE(result.pieces[bad][0].digests.empty()) << bad;
      EXPECT_EQ(result.pieces[bad][0].failure->state, Trouble::io);
    }
    EXPECT_EQ(result.pieces[1][0].digests.at(0), right[0]);
    EXPECT_EQ(result.pieces[3][0].digests.at(0), right[1]);
  }
}

TEST(Hash, GivesDigestsToThePiecesThatCanBeRead) {
  const auto storage = std::make_shared<TestStorage>(test::pattern(4 * kMib, 13));
  const DevicePtr disk = make_storage_device(storage);
  const DevicePtr part = make_slice(disk, 100'000, 3 * kMib, "part");
  const std::vector<HashSubject> subjects{{disk, pieces_of(*disk, 65'536)},
                                          {part, pieces_of(*part, 65'536)}};
  const HashResult right = hash_devices(subjects, options_of());
  const std::uint64_t bad = 2 * kMib + 70'000;
  storage->fail_at(bad, EIO);
  const HashResult result = hash_devices(subjects, options_of());
  for (std::size_t i = 0; i < 2; ++i) {
    const std::uint64_t place = i == 0 ? bad : bad - 100'000;
    for (std::size_t p = 0; p < subjects[i].pieces.size(); ++p) {
      if (p == place / 65'536) {
        ASSERT_NE(result.pieces[i][p].failure, nullptr) << i;
        EXPECT_TRUE(result.pieces[i][p].digests.empty());
      } else {
        ASSERT_EQ(result.pieces[i][p].failure, nullptr) << i << " " << p;
        EXPECT_EQ(result.pieces[i][p].digests, right.pieces[i][p].digests) << i << " " << p;
      }
    }
  }
}

TEST(Hash, EndsAtOnceWhereAllIsMissing) {
  constexpr std::uint64_t kTib = std::uint64_t{1} << 40U;
  const DevicePtr some =
      make_storage_device(std::make_shared<TestStorage>(test::pattern(kMib, 14)));
  const DevicePtr device =
      make_concat(std::vector<Piece>{{some, 0, kMib}, {nullptr, 0, 3 * kTib}}, gap(), "cut");
  const std::vector<HashSubject> subjects{{device, pieces_of(*device, kMib)}, whole(device)};
  const HashResult result = hash_devices(subjects, options_of());
  ASSERT_EQ(result.pieces[0].size(), 3 * (1U << 20U) + 1);
  EXPECT_EQ(result.pieces[0][0].digests.at(0), test::sha256(*some));
  EXPECT_NE(result.pieces[0].back().failure, nullptr);
  EXPECT_EQ(result.pieces[0].back().failure, result.pieces[0][1].failure);
  EXPECT_NE(result.pieces[1][0].failure, nullptr);
}

/// A storage that says that it was changed.
class Changing : public Storage {
 public:
  explicit Changing(std::shared_ptr<const TestStorage> lower) : lower_(std::move(lower)) {}
  const std::string& name() const noexcept override { return lower_->name(); }
  StorageId identity() const override { return lower_->identity(); }
  std::uint64_t size() const noexcept override { return lower_->size(); }
  void read(std::uint64_t offset, std::span<const iovec> buffers) const override {
    lower_->read(offset, buffers);
  }
  bool changed() const override { return true; }

 private:
  const std::shared_ptr<const TestStorage> lower_;
};

TEST(Hash, GivesNoDigestToWhatWasChangedMeanwhile) {
  const auto bytes = std::make_shared<TestStorage>(test::pattern(2 * kMib, 15));
  const DevicePtr changing = make_storage_device(std::make_shared<Changing>(bytes));
  const DevicePtr steady = make_storage_device(bytes);
  const DevicePtr plain = std::make_shared<Flipped>(make_slice(changing, 512, kMib, "slice"));
  const HashResult result = hash_whole({changing, steady, plain}, options_of());
  for (const std::size_t bad : {0U, 2U}) {
    ASSERT_NE(result.pieces[bad][0].failure, nullptr) << bad;
    EXPECT_NE(result.pieces[bad][0].failure->reason.find("mem://disk was changed"),
              std::string::npos);
    EXPECT_TRUE(result.pieces[bad][0].digests.empty());
  }
  EXPECT_EQ(result.pieces[1][0].digests.at(0), test::sha256(*steady));
}

TEST(Hash, HasGroupsThatShareNothing) {
  std::vector<HashSubject> subjects;
  std::vector<DevicePtr> devices;
  for (std::size_t i = 0; i < 30; ++i) {
    const DevicePtr disk =
        make_storage_device(std::make_shared<TestStorage>(test::pattern(kMib + i * 1000, i + 20)));
    for (const DevicePtr& device : {disk, make_slice(disk, i, 500'000, "part")}) {
      devices.push_back(device);
      subjects.push_back(whole(device));
      subjects.back().group = i * 2;  // there may be gaps
    }
  }
  expect_digests(devices, hash_devices(subjects, options_of(3)));
}

TEST(Hash, CanBeCancelled) {
  const auto storage = std::make_shared<TestStorage>(test::pattern(64 * kMib, 16));
  storage->set_delay(std::chrono::milliseconds(20));
  const DevicePtr disk = make_storage_device(storage);
  Cancel cancel;
  HashOptions options = options_of();
  options.cancel = &cancel;
  std::uint64_t last = 0;
  options.progress = [&](std::uint64_t done) {
    EXPECT_GE(done, last);
    last = done;
    cancel.request();
  };
  const std::vector<HashSubject> subjects{whole(disk)};
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(hash_devices(subjects, options), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  options.cancel = nullptr;
  options.progress = [](std::uint64_t) { throw std::runtime_error("enough"); };
  EXPECT_THROW(hash_devices(subjects, options), std::runtime_error);
}

}  // namespace
}  // namespace peelfs
