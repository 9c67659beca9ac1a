// Every fixture through a real mount, made by the real program: what the kernel hands to a reader
// must be what the kernel of the fixture read. Buffered, O_DIRECT and mapped reads take different
// ways through the page cache, so each is used on every device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "peelfs/error.h"
#include "support/fixture_trees.h"
#include "support/paths.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

const std::string program = build_folder() + "/fusefs/peelfs";

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

/// A fixture, mounted as a person would do it.
class MountedTree {
 public:
  ~MountedTree() {
    if (!mounted_) return;
    const CommandResult end = run(program + " umount '" + mountpoint_ + "'");
    EXPECT_EQ(end.exit_code, 0) << end.output;
  }

  /// @return false when the fixture is not in this checkout
  bool mount(const FixtureTree& tree) {
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
      command += " --key-file '" + fixture_key("keys/keyfile.bin") + "'";
    }
    if (tree.fixture == "luks2-detached") {
      command += " --header luks2-det-data='" + fixture_image("luks2-det-header") + "'";
    }
    for (const std::string& path : paths) command += " '" + path + "'";
    const CommandResult result = run(command + " '" + mountpoint_ + "'");
    // A key that could not be tried is a thing asked for that was not done: mount(8)'s 64.
    const bool has_untried_key =
        command.find("--key-file") != std::string::npos &&
        std::any_of(tree.devices.begin(), tree.devices.end(),
                    [](const ExpectedDevice& device) { return device.state == "unsupported"; });
    const int expected = has_untried_key ? 64 : 0;
    mounted_ = result.exit_code == expected;
    EXPECT_EQ(result.exit_code, expected) << command << "\n" << result.output;
    return true;
  }

  bool mounted() const { return mounted_; }
  const std::string& mountpoint() const { return mountpoint_; }

 private:
  TemporaryDirectory directory_;
  std::string mountpoint_;
  bool mounted_ = false;
};

class MountedFixture : public ::testing::TestWithParam<FixtureTree> {};

TEST_P(MountedFixture, TheKernelReadsEveryDeviceExact) {
  if (access("/dev/fuse", F_OK) != 0) GTEST_SKIP() << "no /dev/fuse on this machine";
  const FixtureTree& tree = GetParam();
  MountedTree mount;
  if (!mount.mount(tree)) GTEST_SKIP() << "fixture " << tree.fixture << " is not in this checkout";
  ASSERT_TRUE(mount.mounted());
  for (const ExpectedDevice& expected : tree.devices) {
    const std::string path = mount.mountpoint() + "/" + expected.name;
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

struct Tool {
  std::string name, fixture, device, command;
  int exit_code;
  std::string says;
};
void PrintTo(const Tool& tool, std::ostream* out) {
  *out << tool.name;
}

class FilesystemTool : public ::testing::TestWithParam<Tool> {};

TEST_P(FilesystemTool, WorksUnmodified) {
  if (access("/dev/fuse", F_OK) != 0) GTEST_SKIP() << "no /dev/fuse on this machine";
  const Tool& tool = GetParam();
  const std::string program_name = tool.command.substr(0, tool.command.find(' '));
  if (!have_program(program_name)) GTEST_SKIP() << program_name << " is not installed";
  const auto& trees = fixture_trees();
  const auto tree = std::find_if(trees.begin(), trees.end(), [&](const FixtureTree& candidate) {
    return candidate.fixture == tool.fixture;
  });
  ASSERT_NE(tree, trees.end());
  MountedTree mount;
  if (!mount.mount(*tree)) GTEST_SKIP() << "fixture " << tool.fixture << " is not in this checkout";
  const CommandResult result = run("PATH=$PATH:/usr/sbin:/sbin " + tool.command + " " +
                                   mount.mountpoint() + "/" + tool.device);
  EXPECT_EQ(result.exit_code, tool.exit_code) << result.output;
  EXPECT_NE(result.output.find(tool.says), std::string::npos) << result.output;
}

// Exit codes and words are those that the tools give for the same bytes in a plain file.
INSTANTIATE_TEST_SUITE_P(
    All, FilesystemTool,
    ::testing::Values(
        Tool{"e2fsck", "variant2", "lvg1-lvroot", "e2fsck -fn", 0, "guestroot: 91/13328 files"},
        Tool{"fsck_ext4", "variant2", "lvg1-lvhome", "fsck.ext4 -fn", 0, "guesthome"},
        Tool{"tune2fs", "variant2", "lvg1-lvroot", "tune2fs -l", 0,
             "e18809ae-7e5f-4baf-9a37-198f4f497bd2"},
        Tool{"dumpe2fs", "variant1", "lvhd0_cryptp2", "dumpe2fs -h", 0, "v1root"},
        Tool{"e2fsck_damaged", "damagedext4", "lv_crypt", "e2fsck -fn", 4, "damaged"},
        Tool{"xfs_repair", "xfslv", "vgxfs-xfs", "xfs_repair -n", 0, "Phase 7"},
        Tool{"ntfsfix", "fslvs", "vgfs-ntfs", "ntfsfix -n", 0, "processed successfully"},
        Tool{"fsck_vfat", "fslvs", "vgfs-vfat", "fsck.vfat -n", 0, "59 files"},
        Tool{"fsck_exfat", "fslvs", "vgfs-exfat", "fsck.exfat -n", 0, "clean"},
        Tool{"btrfs_check", "damagedbtrfs", "lv_crypt", "btrfs check", 1, "checksum verify failed"},
        Tool{"swaplabel", "variant2", "volssd10-kvmswap", "swaplabel", 0,
             "7432653e-b2f5-4146-b8bd-772ac4c0530b"}),
    [](const auto& tool) { return tool.param.name; });

}  // namespace
}  // namespace peelfs::test
