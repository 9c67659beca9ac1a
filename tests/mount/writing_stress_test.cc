// All operations that wait for others, at once: if two of them could wait for each other, the test
// would hang.
#include <dirent.h>
#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <random>
#include <thread>

#include "writable.h"

namespace peelfs::test {
namespace {

class WritingStress : public WritableDisk {
 protected:
  void TearDown() override { end_background(); }
  void end_background() {
    stop_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  template <typename Body>
  void in_background(unsigned count, const Body& body) {
    for (unsigned i = 0; i < count; ++i) {
      threads_.emplace_back([this, body, i] {
        std::mt19937 random(i);
        while (!stop_) body(random);
      });
    }
  }
  /// Reads through a mapping, whose pages may go at any moment.
  void read_mapped(const std::string& name) const {
    const Fd fd(file(name), O_RDONLY);
    void* const memory = ::mmap(nullptr, mib, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED) {
      return;  // with direct I/O there is none
    }
    // Into a pipe: what cannot be read is an error code there, and no signal.
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
      [[maybe_unused]] const ssize_t sent = ::write(ends[1], memory, 65536);
      ::close(ends[0]);
      ::close(ends[1]);
    }
    ::munmap(memory, mib);
  }

  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

TEST_F(WritingStress, ReadersWritersListersAndTablesNeitherHangNorCrash) {
  const auto any_of = [](std::mt19937& random) {
    static const std::vector<std::string> names{"d", "dp1", "dp3", "dp5", "dp6"};
    return names[random() % names.size()];
  };
  in_background(2, [&](std::mt19937& random) {
    Aligned block(65536);
    const Fd fd(file(any_of(random)), O_RDONLY | (random() % 2 == 0 ? O_DIRECT : 0));
    for (int i = 0; i < 20 && fd.get() >= 0; ++i) {
      [[maybe_unused]] const ssize_t got = ::pread(fd.get(), block.bytes().data(), 65536,
                                                   static_cast<off_t>(random() % 100) * 65536);
    }
  });
  in_background(2, [&](std::mt19937& random) { read_mapped(any_of(random)); });
  in_background(1, [&](std::mt19937& random) {
    if (DIR* const directory = ::opendir(mount_->path().c_str())) {
      while (const dirent* const entry = ::readdir(directory)) {
        struct stat status {};
        static_cast<void>(::stat(file(entry->d_name).c_str(), &status));
      }
      ::closedir(directory);
    }
    static_cast<void>(
        ::open(file("new" + std::to_string(random())).c_str(), O_RDWR | O_CREAT, 0600));
  });
  std::atomic<unsigned> failures = 0;
  in_background(3, [&](std::mt19937& random) {
    const Fd fd(file(any_of(random)), O_RDWR);
    for (int i = 0; i < 5 && fd.get() >= 0; ++i) {
      // Inside of every device, and in no table.
      const int failure = fd.write(2 * mib + random() % mib, pattern(5000, random()));
      failures += failure == 0 || failure == ESTALE ? 0 : 1;
    }
    if (fd.get() >= 0 && random() % 3 == 0) static_cast<void>(::fsync(fd.get()));
  });
  unsigned written = 0;
  const auto write_tables = [&] {
    // The others hold something that lies on it most of the time: it takes luck to come between.
    for (unsigned i = 0; i < 150 || (written == 0 && i < 10'000); ++i) {
      Fd disk(file("d"), O_RDWR);
      if (disk.error() != 0) {
        ASSERT_EQ(disk.error(), EBUSY);
        continue;
      }
      ASSERT_EQ(disk.write(0, disk.read(0, 512)), 0);
      ASSERT_EQ(disk.close(), 0);
      ++written;
    }
  };
  write_tables();
  end_background();  // they use what is on this stack
  EXPECT_GT(written, 0U);
  EXPECT_EQ(failures, 0U) << mount_->log();
  EXPECT_TRUE(runs(mount_->server()));
}

TEST_F(WritingStress, ASignalInTheMiddleOfItEndsIt) {
  in_background(3, [&](std::mt19937& random) {
    const Fd fd(file(random() % 2 == 0 ? "dp1" : "d"), O_RDWR);
    static_cast<void>(fd.write(0, pattern(65536, random())));
  });
  in_background(2, [&](std::mt19937&) { read_mapped("d"); });
  in_background(
      1, [&](std::mt19937&) { static_cast<void>(Fd(file("d"), O_RDONLY).read(0, 4 * mib)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::kill(mount_->server(), SIGTERM);
  EXPECT_TRUE(eventually([&] { return !runs(mount_->server()); }, std::chrono::seconds(20)));
  EXPECT_TRUE(eventually([&] { return !mount_->mounted(); }));
}

}  // namespace
}  // namespace peelfs::test
