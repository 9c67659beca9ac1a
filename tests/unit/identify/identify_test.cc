// identify() against `blkid -p` on the same file, and against what the kernel's tools said of the
// fixtures.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <map>
#include <sstream>
#include <thread>

#include "identify/identify.h"
#include "peelfs/devices.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

/// What blkid(8) prints about a file, by tag.
std::map<std::string, std::string> blkid(const std::string& path) {
  const CommandResult result = run("blkid -p -o export '" + path + "'");
  std::map<std::string, std::string> tags;
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    std::string value;
    for (std::size_t i = equals + 1; i < line.size(); ++i) {
      if (line[i] == '\\' && i + 1 < line.size()) ++i;
      value += line[i];
    }
    tags[line.substr(0, equals)] = value;
  }
  if (tags.contains("LABEL")) {  // the export format shows bytes above 127 in caret notation
    tags["LABEL"] = run("blkid -p -o value -s LABEL '" + path + "'").output;
    tags["LABEL"].pop_back();
  }
  return tags;
}

void expect_as_blkid(const std::string& path) {
  const auto tags = blkid(path);
  const auto tag = [&](const std::string& name) {
    const auto found = tags.find(name);
    return found == tags.end() ? std::string() : found->second;
  };
  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.type, tag("TYPE")) << path;
  EXPECT_EQ(identity.usage, tag("USAGE")) << path;
  EXPECT_EQ(identity.label, tag("LABEL")) << path;
  EXPECT_EQ(identity.uuid, tag("UUID")) << path;
  EXPECT_EQ(identity.pttype, tag("PTTYPE")) << path;
  EXPECT_EQ(identity.ptuuid, tag("PTUUID")) << path;
}

struct Recipe {
  const char* name;
  const char* program;
  const char* size;
  const char* command;  ///< with $F for the file
  const char* type;
};

class MadeBy : public testing::TestWithParam<Recipe> {};

TEST_P(MadeBy, IsWhatBlkidSays) {
  const Recipe& recipe = GetParam();
  if (!have_program(recipe.program)) GTEST_SKIP() << recipe.program << " is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run(std::string("truncate -s ") + recipe.size + " '" + path + "'");
  must_run("F='" + path + "'; " + recipe.command);
  expect_as_blkid(path);
  // So that agreement on knowing nothing does not pass.
  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.type.empty() ? identity.pttype : identity.type, recipe.type);
}

INSTANTIATE_TEST_SUITE_P(
    Tools, MadeBy,
    testing::Values(
        Recipe{"ext2", "mke2fs", "8M", "mke2fs -q -t ext2 -L 'two words' $F", "ext2"},
        Recipe{"ext3", "mke2fs", "64M", "mke2fs -q -t ext3 -L e3 $F", "ext3"},
        Recipe{"ext4", "mke2fs", "64M", "mke2fs -q -t ext4 -L rööt $F", "ext4"},
        Recipe{"ext4_large", "mke2fs", "700G",
               "mke2fs -q -t ext4 -b 4096 -E lazy_itable_init=1,nodiscard -N 65536 -J size=4 -L "
               "far $F",
               "ext4"},
        Recipe{"xfs", "mkfs.xfs", "320M", "mkfs.xfs -q -L x $F", "xfs"},
        Recipe{"btrfs", "mkfs.btrfs", "128M", "mkfs.btrfs -q -L b $F", "btrfs"},
        Recipe{"fat12", "mkfs.vfat", "1440K", "mkfs.vfat -F 12 -n FLOPPY $F", "vfat"},
        Recipe{"fat16", "mkfs.vfat", "32M", "mkfs.vfat -F 16 -n 'A B' $F", "vfat"},
        Recipe{"fat32", "mkfs.vfat", "128M", "mkfs.vfat -F 32 -n LABEL32 $F", "vfat"},
        Recipe{"fat32_4k", "mkfs.vfat", "1G", "mkfs.vfat -F 32 -S 4096 -n LABEL4K $F", "vfat"},
        Recipe{"fat32_large", "mkfs.vfat", "300G", "mkfs.vfat -F 32 -n FARFAT $F", "vfat"},
        Recipe{"fat32_unlabelled", "mkfs.vfat", "128M", "mkfs.vfat -F 32 $F", "vfat"},
        Recipe{"exfat", "mkfs.exfat", "64M", "mkfs.exfat -n Größe $F", "exfat"},
        Recipe{"exfat_large", "mkfs.exfat", "1T", "mkfs.exfat -n far $F", "exfat"},
        Recipe{"ntfs", "mkntfs", "64M", "mkntfs -Q -F -L 'Größe n' $F", "ntfs"},
        Recipe{"ntfs_large", "mkntfs", "3T", "mkntfs -Q -F -s 512 -L large $F", "ntfs"},
        Recipe{"minix", "mkfs.minix", "4M", "mkfs.minix -3 $F", "minix"},
        Recipe{"minix1", "mkfs.minix", "4M", "mkfs.minix -1 $F", "minix"},
        Recipe{"hfsplus", "mkfs.hfsplus", "64M", "mkfs.hfsplus -v 'Mac ü' $F", "hfsplus"},
        Recipe{"hfsplus_large", "mkfs.hfsplus", "200G", "mkfs.hfsplus -J -v Mac $F", "hfsplus"},
        Recipe{"udf512", "mkudffs", "64M", "mkudffs -b 512 -l Dïsk $F", "udf"},
        Recipe{"udf2048", "mkudffs", "64M", "mkudffs -b 2048 -l Disk $F", "udf"},
        Recipe{"udf4096", "mkudffs", "2G", "mkudffs -b 4096 -l Disk $F", "udf"},
        Recipe{"f2fs", "mkfs.f2fs", "128M", "mkfs.f2fs -q -l flash $F", "f2fs"},
        Recipe{"jfs", "mkfs.jfs", "64M", "mkfs.jfs -q -L jay $F", "jfs"},
        Recipe{"reiserfs", "mkreiserfs", "64M", "mkreiserfs -q -ff -l rei $F", "reiserfs"},
        Recipe{"nilfs2", "mkfs.nilfs2", "256M", "mkfs.nilfs2 -q -L nil $F", "nilfs2"},
        Recipe{"iso9660", "genisoimage", "0",
               "d=$(mktemp -d); genisoimage -quiet -J -V CDROM -o $F $d; rm -r $d", "iso9660"},
        Recipe{"squashfs", "mksquashfs", "0",
               "d=$(mktemp -d); mksquashfs $d $F -noappend -quiet; rm -r $d", "squashfs"},
        Recipe{"swap", "mkswap", "8M", "mkswap -L swp $F", "swap"},
        Recipe{"swap64k", "mkswap", "8M", "mkswap -p 65536 -L big $F", "swap"},
        Recipe{"cramfs", "mkfs.cramfs", "0",
               "d=$(mktemp -d); echo x > $d/x; "
               "mkfs.cramfs -n crm $d $F; rm -r $d",
               "cramfs"},
        Recipe{"bfs", "mkfs.bfs", "1M", "mkfs.bfs -V vol $F", "bfs"},
        Recipe{"luks2", "cryptsetup", "32M",
               "echo x | cryptsetup -q luksFormat --pbkdf pbkdf2 "
               "--pbkdf-force-iterations 1000 --label lk $F -",
               "crypto_LUKS"},
        Recipe{"luks1", "cryptsetup", "8M",
               "echo x | cryptsetup -q luksFormat --type luks1 "
               "--pbkdf-force-iterations 1000 $F -",
               "crypto_LUKS"},
        Recipe{"luks2_secondary", "cryptsetup", "32M",
               "echo x | cryptsetup -q luksFormat "
               "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --luks2-metadata-size 4m $F - && "
               "dd if=/dev/zero of=$F bs=4096 count=1 conv=notrunc status=none",
               "crypto_LUKS"},
        Recipe{"dos", "sfdisk", "16M",
               "echo 'label: dos\nlabel-id: 0x1234abcd\n,4M\n,,E\n,2M' | "
               "sfdisk -q $F",
               "dos"},
        Recipe{"gpt", "sfdisk", "16M", "printf 'label: gpt\n,4M\n' | sfdisk -q $F", "gpt"},
        Recipe{"gpt_many_entries", "sgdisk", "64M", "sgdisk -S 4096 -n 1:0:+1M $F >&2", "gpt"},
        Recipe{"sun", "sfdisk", "64M", "printf 'label: sun\n' | sfdisk -q $F", "sun"},
        Recipe{"sgi", "sfdisk", "64M", "printf 'label: sgi\n' | sfdisk -q $F", "sgi"},
        Recipe{"mac", "parted", "64M", "parted -s $F mklabel mac", "mac"}),
    [](const auto& made) { return std::string(made.param.name); });

TEST(Identify, GptOf4096ByteBlocksInAFile) {
  if (!have_program("fdisk")) GTEST_SKIP() << "fdisk is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 64M '" + path +
           "' && printf 'g\\nn\\n1\\n\\n+8M\\nw\\n' | fdisk -b 4096 '" + path + "'");
  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.pttype, "gpt");
  EXPECT_EQ(identity.type, "");
  std::string shown =
      must_run("fdisk -b 4096 -l '" + path + "' | sed -n 's/^Disk identifier: //p'");
  std::transform(shown.begin(), shown.end(), shown.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  EXPECT_EQ(identity.ptuuid + "\n", shown);
  EXPECT_EQ(identity.ptuuid.size(), 36U);
}

TEST(Identify, BackupOnlyGpt) {
  if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 3G '" + path + "' && printf 'label: gpt\\n,8M\\n' | sfdisk -q '" + path +
           "'");
  const std::string before = identify(*file_device(path)).ptuuid;
  must_run("dd if=/dev/zero of='" + path + "' bs=4096 count=8 conv=notrunc status=none");
  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.pttype, "gpt");
  EXPECT_EQ(identity.ptuuid, before);
}

// A filesystem that was made over a GPT leaves the backup at the end: the filesystem counts.
TEST(Identify, FilesystemOverAnOldGpt) {
  if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 64M '" + path + "' && printf 'label: gpt\\n,8M\\n' | sfdisk -q '" + path +
           "' && mke2fs -q -F -t ext4 '" + path + "'");
  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.type, "ext4");
  EXPECT_EQ(identity.pttype, "");
}

// Two filesystems on one device: blkid answers nothing, we answer one of them, always the same.
TEST(Identify, AmbivalentIsDeterministic) {
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 64M '" + path + "' && mkfs.minix -3 '" + path + "' && mke2fs -q -F '" +
           path + "' && printf 'XFSB' | dd of='" + path + "' conv=notrunc status=none");
  const Identity first = identify(*file_device(path));
  EXPECT_FALSE(first.type.empty());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(identify(*file_device(path)).type, first.type);
}

class Unreadable : public BlockDevice {
 public:
  explicit Unreadable(std::uint64_t size) : BlockDevice(size) {}
  Extent map(std::uint64_t, std::uint64_t) const override {
    ++reads;
    throw Error(Fault::io, "bad disk");
  }
  std::string describe() const override { return "unreadable"; }
  mutable int reads = 0;
};

TEST(Identify, UnreadableDeviceIsNothingQuickly) {
  const Unreadable device(64ULL << 40U);
  const Identity identity = identify(device);
  EXPECT_EQ(identity.type, "");
  EXPECT_LE(device.reads, 8);
}

TEST(Identify, BadBlocksCountAsZeroes) {
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 64M '" + path + "' && mke2fs -q -t ext4 -L half '" + path + "'");
  const DevicePtr file = file_device(path);
  // The superblock is in the first page; the pages behind it cannot be read.
  const DevicePtr device =
      make_concat({{file, 0, 4096}, {nullptr, 0, 8192}, {file, 12288, file->size() - 12288}},
                  Error(Fault::io, "bad block"), "half a disk");
  const Identity identity = identify(*device);
  EXPECT_EQ(identity.type, "ext4");
  EXPECT_EQ(identity.label, "half");
}

TEST(Identify, ConcurrentCallersAgree) {
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 64M '" + path + "' && mke2fs -q -t ext4 -L many '" + path + "'");
  const DevicePtr device = file_device(path);
  const std::string uuid = identify(*device).uuid;
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 10; ++round) {
          const Identity identity = identify(*device);
          if (identity.label == "many" && identity.uuid == uuid) ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, 80);
}

TEST(Identify, TinyAndEmptyDevices) {
  for (const std::size_t size : {0U, 1U, 511U, 512U, 513U, 4095U, 70000U}) {
    const MemoryDevice device{Buffer(size)};
    EXPECT_EQ(identify(device).type, "") << size;
  }
}

TEST(Identify, HugeSparseDeviceCostsNothing) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 8T '" + path + "'");
  const DevicePtr file = file_device(path);
  const DevicePtr huge = make_concat({{file, 0, file->size()}, {nullptr, 0, 1ULL << 60U}},
                                     Error(Fault::io, "not there"), "huge");
  EXPECT_EQ(identify(*huge).type, "");
}

// The metadata of a BitLocker volume lies anywhere; libblkid wants to see it.
TEST(Identify, BitLockerWithFarMetadata) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  const std::uint64_t metadata = (3ULL << 30U) + 0x10000;
  Buffer head(512);
  const auto put = [&](std::size_t at, std::string_view text) {
    std::copy_n(as_bytes(text).begin(), text.size(), head.begin() + static_cast<long>(at));
  };
  put(0, "\xEB\x58\x90-FVE-FS-");
  for (unsigned i = 0; i < 8; ++i) head[176 + i] = static_cast<std::byte>(metadata >> (8 * i));
  put(510, "\x55\xAA");
  write_file(path, head);
  must_run("truncate -s 4G '" + path + "' && printf -- '-FVE-FS-' | dd of='" + path +
           "' conv=notrunc oflag=seek_bytes status=none seek=" + std::to_string(metadata));
  expect_as_blkid(path);
  EXPECT_EQ(identify(*file_device(path)).type, "BitLocker");
}

// On FAT the offset of the metadata has another place, behind that of the GUID.
TEST(Identify, BitLockerToGoWithFarMetadata) {
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  const std::uint64_t metadata = (3ULL << 30U) + 0x10000;
  Buffer head(512);
  const auto put = [&](std::size_t at, std::string_view text) {
    std::copy_n(as_bytes(text).begin(), text.size(), head.begin() + static_cast<long>(at));
  };
  put(0, "\xEB\x58\x90MSWIN4.1");
  put(424, "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01");
  for (unsigned i = 0; i < 8; ++i) head[440 + i] = static_cast<std::byte>(metadata >> (8 * i));
  put(510, "\x55\xAA");
  write_file(path, head);
  must_run("truncate -s 4G '" + path + "' && printf -- '-FVE-FS-' | dd of='" + path +
           "' conv=notrunc oflag=seek_bytes status=none seek=" + std::to_string(metadata));
  expect_as_blkid(path);
  EXPECT_EQ(identify(*file_device(path)).type, "BitLocker");
}

// What wipefs shows: all that stands there.
TEST(Identify, EverySignature) {
  for (const char* program : {"cryptsetup", "mkfs.xfs", "wipefs"}) {
    if (!have_program(program)) GTEST_SKIP() << program << " is not installed";
  }
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 400M '" + path + "' && printf k | cryptsetup luksFormat -q --type luks2 " +
           "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 '" + path + "' - && cp '" + path + "' '" +
           path + ".luks' && mkfs.xfs -q -f '" + path + "' && dd if='" + path + ".luks' of='" +
           path + "' bs=16384 skip=1 seek=1 count=1 conv=notrunc status=none");
  const Identity identity = identify(*file_device(path));
  EXPECT_EQ(identity.type, "xfs");  // where blkid says crypto_LUKS
  std::map<std::string, std::string> found;
  for (const Identity::Signature& signature : identity.signatures) {
    found[signature.type] = hex(signature.offset);
  }
  std::map<std::string, std::string> wanted;
  std::istringstream lines(must_run("wipefs -n -p '" + path + "' | grep -v '^#'"));
  for (std::string line; std::getline(lines, line);) {
    wanted[line.substr(line.rfind(',') + 1)] = line.substr(0, line.find(','));
  }
  EXPECT_EQ(found, wanted);
  EXPECT_EQ(found, (std::map<std::string, std::string>{{"xfs", "0x0"}, {"crypto_LUKS", "0x4000"}}));

  // Nothing else is left of it: then it is that.
  must_run("dd if=/dev/zero of='" + path + ".luks' bs=4096 count=1 conv=notrunc status=none");
  EXPECT_EQ(identify(*file_device(path + ".luks")).type, "crypto_LUKS");
}

// Growing a file beyond this limit is a signal that ends the program.
TEST(Identify, KeepsTheLimitOfFileSizes) {
  if (!have_program("mke2fs")) GTEST_SKIP() << "mke2fs is not installed";
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  must_run("truncate -s 1G '" + path + "' && mke2fs -q -t ext4 -L lim '" + path + "'");
  const DevicePtr device = file_device(path);
  EXPECT_EXIT(
      {
        rlimit limit{};
        limit.rlim_cur = limit.rlim_max = 16U << 20U;
        setrlimit(RLIMIT_FSIZE, &limit);
        std::exit(identify(*device).label == "lim" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// Numbers that would make libblkid allocate gigabytes.
TEST(Identify, AbsurdNumbersAreNotBelieved) {
  Buffer bytes(4U << 20U);
  const auto put = [&](std::size_t at, std::string_view text) {
    std::copy_n(as_bytes(text).begin(), text.size(), bytes.begin() + static_cast<long>(at));
  };
  put(3, "NTFS    ");
  put(11, std::string_view("\0\2\1", 3));  // 512-byte sectors, one a cluster
  bytes[64] = std::byte{0xE1};             // records of 2^31 bytes
  put(510, "\x55\xAA");
  const TemporaryDirectory directory;
  const std::string path = directory / "image";
  write_file(path, bytes);
  must_run("truncate -s 8T '" + path + "'");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(identify(*file_device(path)).type, "");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
}

TEST(Identify, WithoutDescriptorsTheHostIsToBlame) {
  const DevicePtr device = std::make_shared<MemoryDevice>(pattern(1U << 20U, 1));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(lowest, 0);
  ::close(lowest);
  rlimit limit = before;
  limit.rlim_cur = static_cast<rlim_t>(lowest);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  std::string text = "nothing was said";
  try {
    (void)identify(*device);
  } catch (const Error& error) {
    text = std::string(fault_name(error.fault())) + ": " + error.what();
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(text.starts_with("denied: ")) << text;
  EXPECT_NE(text.find("says nothing about the disk"), std::string::npos) << text;
}

}  // namespace
}  // namespace peelfs::test
