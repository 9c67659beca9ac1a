// Every fixture through a real mount, made by the real program: what the kernel hands to a reader
// must be what the kernel of the fixture read. Buffered, O_DIRECT and mapped reads take different
// ways through the page cache, so each is used on every device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "peelfs/error.h"
#include "support/fixture_trees.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

const std::string program = PEELFS_BINARY_DIR "/fusefs/peelfs";

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// The file's bytes by read(2) with these flags; empty when a read fails.
Buffer read_with(const std::string& path, int flags, std::uint64_t size) {
  const Descriptor file(path, O_RDONLY | flags);
  if (file.get() < 0) return {};
  // O_DIRECT wants aligned memory; odd sizes for the others, so that requests straddle pages.
  const std::size_t step = (flags & O_DIRECT) != 0 ? 1U << 20U : 99'991;
  const std::size_t room = round_up(size + step, 4096);
  std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(4096, room)), &std::free);
  std::uint64_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), memory.get() + done, step);
    if (got <= 0) return {};
    done += static_cast<std::uint64_t>(got);
  }
  return {memory.get(), memory.get() + size};
}

Buffer read_mapped(const std::string& path, std::uint64_t size) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) return {};
  void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return {};
  const auto* bytes = static_cast<const std::byte*>(memory);
  Buffer copy(bytes, bytes + size);
  munmap(memory, size);
  return copy;
}

class MountedFixture : public ::testing::TestWithParam<FixtureTree> {
 protected:
  void TearDown() override {
    if (!mounted_) return;
    const CommandResult end = run(program + " umount '" + mountpoint_ + "'");
    EXPECT_EQ(end.exit_code, 0) << end.output;
  }

  /// @return false when the fixture is not in this checkout
  bool mount() {
    const FixtureTree& tree = GetParam();
    const auto paths = unpacked_sources(tree);
    if (paths.empty()) return false;
    mountpoint_ = directory_ / "mnt";
    std::filesystem::create_directory(mountpoint_);
    std::string command = program + " mount";
    if (const std::string passphrase = passphrase_of(tree.fixture); !passphrase.empty()) {
      write_file(directory_ / "key", as_bytes(passphrase));
      command += " --key-file '" + (directory_ / "key") + "'";
    }
    if (tree.fixture == "luks2-keyfile") {
      command += " --key-file '" + fixtures_folder() + "/keys/keyfile.bin'";
    }
    if (tree.fixture == "luks2-detached") {
      command += " --header luks2-det-data='" + fixture_image("luks2-det-header") + "'";
    }
    for (const std::string& path : paths) command += " '" + path + "'";
    const CommandResult result = run(command + " '" + mountpoint_ + "'");
    mounted_ = result.exit_code == 0;
    EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.output;
    return true;
  }

  TemporaryDirectory directory_;
  std::string mountpoint_;
  bool mounted_ = false;
};

TEST_P(MountedFixture, TheKernelReadsEveryDeviceExact) {
  if (access("/dev/fuse", F_OK) != 0) GTEST_SKIP() << "no /dev/fuse on this machine";
  const FixtureTree& tree = GetParam();
  if (!mount()) GTEST_SKIP() << "fixture " << tree.fixture << " is not in this checkout";
  ASSERT_TRUE(mounted_);
  for (const ExpectedDevice& expected : tree.devices) {
    const std::string path = mountpoint_ + "/" + expected.name;
    struct stat status {};
    ASSERT_EQ(stat(path.c_str(), &status), 0) << path;
    EXPECT_TRUE(S_ISREG(status.st_mode));
    EXPECT_EQ(status.st_mode & 07777U, 0400U) << path;
    EXPECT_EQ(status.st_uid, geteuid());
    if (expected.oracle.empty()) continue;
    const Truth truth = truth_of(tree.fixture, expected.oracle);
    ASSERT_EQ(static_cast<std::uint64_t>(status.st_size), truth.size) << path;
    if (expected.state == "unsupported") {
      EXPECT_TRUE(read_with(path, 0, truth.size).empty()) << path << " must not be readable";
      continue;
    }
    EXPECT_EQ(sha256(read_with(path, O_DIRECT, truth.size)), truth.sha256) << path << " O_DIRECT";
    EXPECT_EQ(sha256(read_mapped(path, truth.size)), truth.sha256) << path << " mmap";
    EXPECT_EQ(sha256(read_with(path, 0, truth.size)), truth.sha256) << path << " read";
  }
}

INSTANTIATE_TEST_SUITE_P(All, MountedFixture, ::testing::ValuesIn(fixture_trees()),
                         [](const auto& tree) { return test_name(tree.param); });

}  // namespace
}  // namespace peelfs::test
