// Bytes that are written through one device are returned at once by every other device that shows
// them, to every process, and also if the page cache held old bytes.
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <random>
#include <thread>

#include "writable.h"

namespace peelfs::test {
namespace {

using Coherence = WritableDisk;

/// Reads in another process. @return whether it read just these bytes
bool other_process_reads(const std::string& path, int flags, std::uint64_t offset, Bytes expected) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(path.c_str(), O_RDONLY | flags);
    void* memory = nullptr;
    const bool ready = fd >= 0 && ::posix_memalign(&memory, 4096, expected.size()) == 0;
    const bool same = ready &&
                      ::pread(fd, memory, expected.size(), static_cast<off_t>(offset)) ==
                          static_cast<ssize_t>(expected.size()) &&
                      std::memcmp(memory, expected.data(), expected.size()) == 0;
    ::_exit(same ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

TEST_F(Coherence, EveryReaderSeesEveryWriteAtOnce) {
  // Open before the first write, with their pages in the cache.
  const Fd disk(file("d"), O_RDONLY);
  ASSERT_EQ(disk.read(0, disk_size).size(), disk_size);
  auto* const mapped = static_cast<const std::byte*>(
      ::mmap(nullptr, disk_size, PROT_READ, MAP_SHARED, disk.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  std::atomic<unsigned> sum = 0;
  for (std::size_t at = 0; at < disk_size; at += 4096) sum += static_cast<unsigned>(mapped[at]);
  const Fd same(file("dp1"), O_RDONLY);
  ASSERT_EQ(same.read(0, p1_size).size(), p1_size);

  const Fd buffered(file("dp1"), O_RDWR);
  const Fd direct(file("dp1"), O_RDWR | O_DIRECT);
  const Fd late(file("d"), O_RDONLY);  // opened while it is being written
  std::mt19937_64 random(5);
  for (unsigned i = 0; i < 150; ++i) {
    const std::size_t at = (random() % (p1_size - mib)) & ~std::size_t{4095};
    const std::size_t length = ((random() % (256 * 1024)) & ~std::size_t{4095}) + 4096;
    Aligned bytes(pattern(length, i));
    ASSERT_EQ((i % 2 == 0 ? buffered : direct).write(at, bytes.bytes()), 0);
    ASSERT_EQ(std::memcmp(mapped + p1_begin + at, bytes.bytes().data(), length), 0) << i;
    ASSERT_TRUE(std::ranges::equal(disk.read(p1_begin + at, length), bytes.bytes())) << i;
    ASSERT_TRUE(std::ranges::equal(late.read(p1_begin + at, length), bytes.bytes())) << i;
    ASSERT_TRUE(std::ranges::equal(same.read(at, length), bytes.bytes())) << i;
    if (i % 10 == 0) {
      ASSERT_TRUE(other_process_reads(file("d"), 0, p1_begin + at, bytes.bytes()));
      ASSERT_TRUE(other_process_reads(file("d"), O_DIRECT, p1_begin + at, bytes.bytes()));
      ASSERT_TRUE(other_process_reads(file("dp1"), 0, at, bytes.bytes()));
      ASSERT_TRUE(other_process_reads(source_, 0, p1_begin + at, bytes.bytes()));
    }
  }
  ::munmap(const_cast<std::byte*>(mapped), disk_size);
}

TEST_F(Coherence, TheOtherWayRoundToo) {
  const Fd part(file("dp3"), O_RDONLY);
  ASSERT_EQ(part.read(0, mib).size(), mib);
  Fd disk(file("d"), O_RDWR);
  for (unsigned i = 0; i < 20; ++i) {
    const Buffer bytes = pattern(65536, i);
    ASSERT_EQ(disk.write(42 * mib + i * 4096, bytes), 0);
    ASSERT_EQ(part.read(i * 4096, 65536), bytes);
  }
}

TEST_F(Coherence, PagesOfClosedFilesAreNotUsedAgain) {
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_EQ(Fd(file("d"), O_RDONLY).read(p1_begin, mib).size(), mib);  // fills the cache
    const Buffer bytes = pattern(mib, i);
    {
      const Fd part(file("dp1"), O_RDWR);
      ASSERT_EQ(part.write(0, bytes), 0);
    }
    ASSERT_EQ(Fd(file("d"), O_RDONLY).read(p1_begin, mib), bytes) << i;
  }
}

TEST_F(Coherence, ReadersAndWritersByTheDozenNeitherHangNorLie) {
  // Each writer has a block of its own and counts up in it; no reader may see it count down.
  constexpr unsigned writers = 4;
  std::atomic<bool> stop = false;
  std::atomic<unsigned> wrong = 0;
  std::array<std::atomic<std::uint64_t>, writers> done{};
  std::vector<std::thread> threads;
  for (unsigned writer = 0; writer < writers; ++writer) {
    threads.emplace_back([&, writer] {
      const Fd fd(file("dp1"), O_RDWR | (writer % 2 == 0 ? O_DIRECT : 0));
      Aligned block(4096);
      for (std::uint64_t count = 1; count <= 150; ++count) {
        std::memcpy(block.bytes().data(), &count, sizeof(count));
        wrong += fd.write(writer * mib, block.bytes()) == 0 ? 0 : 1;
        done[writer] = count;
      }
    });
  }
  for (unsigned reader = 0; reader < 6; ++reader) {
    threads.emplace_back([&, reader] {
      const Fd fd(file("d"), O_RDONLY | (reader % 3 == 2 ? O_DIRECT : 0));
      Aligned block(4096);
      while (!stop) {
        const unsigned writer = reader % writers;
        const std::uint64_t least = done[writer];
        if (::pread(fd.get(), block.bytes().data(), 4096,
                    static_cast<off_t>(p1_begin + writer * mib)) != 4096) {
          ++wrong;
        }
        std::uint64_t count = 0;
        std::memcpy(&count, block.bytes().data(), sizeof(count));
        wrong += count < least ? 1 : 0;
      }
    });
  }
  for (unsigned i = 0; i < writers; ++i) threads[i].join();
  stop = true;
  for (std::size_t i = writers; i < threads.size(); ++i) threads[i].join();
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace peelfs::test
