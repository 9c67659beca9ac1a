// What the mount looks like, and that nothing in it can be changed.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "host/mountinfo.h"
#include "mounted.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;

/// A disk with two partitions; the first holds an ext4 with a label.
void make_disk(const std::string& path) {
  make_sparse(path, 64 * mib, {});
  must_run("printf 'label: gpt\\nsize=20M\\nsize=20M\\n' | PATH=$PATH:/usr/sbin sfdisk -q " +
           sh(path));
  must_run("PATH=$PATH:/usr/sbin mkfs.ext4 -q -L some-label -E offset=1048576 " + sh(path) +
           " 16M");
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Tree : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("sfdisk");
    NEED_PROGRAM("mkfs.ext4");
    make_disk(folder_ / "disk.img");
    mount_.emplace(sh(folder_ / "disk.img"));
  }
  std::string operator()(const std::string& name) const { return *mount_ / name; }

  TemporaryDirectory folder_;
  std::optional<Mount> mount_;
};

TEST_F(Tree, DevicesAreReadableFilesOfTheirOwner) {
  for (const char* const name : {"disk", "diskp1", "diskp2", ".peelfs/status.json"}) {
    struct stat status {};
    ASSERT_EQ(::lstat((*this)(name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode, mode_t{S_IFREG | 0400}) << name;
    EXPECT_EQ(status.st_uid, ::geteuid());
    EXPECT_EQ(status.st_gid, ::getegid());
    EXPECT_EQ(status.st_nlink, 1U);
  }
  struct stat status {};
  ASSERT_EQ(::stat(mount_->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFDIR | 0500});
}

TEST_F(Tree, DirectoriesCountTheirDirectories) {
  for (const auto& entry : fs::recursive_directory_iterator(mount_->path())) {
    if (entry.is_directory()) {
      nlink_t inside = 2;
      for (const auto& child : fs::directory_iterator(entry.path())) {
        inside += child.symlink_status().type() == fs::file_type::directory ? 1 : 0;
      }
      EXPECT_EQ(entry.hard_link_count(), inside) << entry.path();
    }
  }
}

TEST_F(Tree, LinksLeadToDevices) {
  std::size_t links = 0;
  for (const auto& entry : fs::recursive_directory_iterator(mount_->path())) {
    if (entry.is_symlink()) {
      ++links;
      struct stat status {};
      EXPECT_EQ(::stat(entry.path().c_str(), &status), 0) << entry.path();
      EXPECT_TRUE(S_ISREG(status.st_mode)) << entry.path();
    }
  }
  EXPECT_GE(links, 5U);
  EXPECT_EQ(fs::canonical((*this)("by-label/some-label")), fs::canonical((*this)("diskp1")));
}

TEST_F(Tree, ReaddirAndStatAgreeOnInodesAndTypes) {
  DIR* const directory = ::opendir(mount_->path().c_str());
  ASSERT_NE(directory, nullptr);
  std::set<std::string> seen;
  std::set<ino_t> inodes;
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    EXPECT_TRUE(seen.insert(name).second) << name;
    struct stat status {};
    ASSERT_EQ(::lstat((*this)(name).c_str(), &status), 0);
    if (name != "..") {
      EXPECT_EQ(entry->d_ino, status.st_ino) << name;
      EXPECT_TRUE(inodes.insert(entry->d_ino).second) << name;
    }
    EXPECT_EQ(entry->d_type, IFTODT(status.st_mode)) << name;
  }
  ::closedir(directory);
  EXPECT_TRUE(seen.count(".") == 1 && seen.count("..") == 1 && seen.count("diskp2") == 1);
}

TEST_F(Tree, APlaceInADirectoryCanBeReturnedTo) {
  DIR* const directory = ::opendir(mount_->path().c_str());
  std::vector<std::pair<long, std::string>> places;
  for (long at = ::telldir(directory); const dirent* const entry = ::readdir(directory);
       at = ::telldir(directory)) {
    places.emplace_back(at, entry->d_name);
  }
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    ::seekdir(directory, place->first);
    const dirent* const entry = ::readdir(directory);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, place->second);
  }
  ::closedir(directory);
}

TEST_F(Tree, WhatIsNotThereIsNotThere) {
  struct stat status {};
  for (const char* const name : {"nothing", "diskp3", "disk/x", "by-uuid/x", ".peelfs/x"}) {
    EXPECT_EQ(::lstat((*this)(name).c_str(), &status), -1);
    EXPECT_EQ(errno, std::string(name) == "disk/x" ? ENOTDIR : ENOENT) << name;
  }
  EXPECT_EQ(::lstat((*this)(std::string(256, 'x')).c_str(), &status), -1);
  EXPECT_EQ(errno, ENAMETOOLONG);
}

TEST_F(Tree, StatusIsWhatLsSays) {
  const std::string status = text_of((*this)(".peelfs/status.json"));
  EXPECT_EQ(status, must_run(program() + " ls --json " + sh(folder_ / "disk.img")));
  EXPECT_EQ(status.size(), fs::file_size((*this)(".peelfs/status.json")));
}

TEST_F(Tree, TextsCanBeReadFromAnyPlace) {
  const std::string status = text_of((*this)(".peelfs/status.json"));
  const int fd = ::open((*this)(".peelfs/status.json").c_str(), O_RDONLY | O_CLOEXEC);
  std::array<char, 8> some{};
  EXPECT_EQ(::pread(fd, some.data(), some.size(), 5), 8);
  EXPECT_EQ(std::string(some.data(), 8), status.substr(5, 8));
  EXPECT_EQ(::pread(fd, some.data(), some.size(), static_cast<off_t>(status.size())), 0);
  EXPECT_EQ(::pread(fd, some.data(), some.size(), static_cast<off_t>(status.size()) + 99), 0);
  EXPECT_EQ(::lseek(fd, 3, SEEK_HOLE), static_cast<off_t>(status.size()));
  EXPECT_EQ(::lseek(fd, 3, SEEK_DATA), 3);
  ::close(fd);
}

/// Every way of changing something, and that it fails with EROFS.
void expect_refusals(const Mount& mount) {
  const std::string file = mount / "diskp1";
  const auto refused = [](int result, const char* what) {
    EXPECT_EQ(result, -1) << what;
    EXPECT_EQ(errno, EROFS) << what << ": " << std::strerror(errno);
  };
  refused(::open(file.c_str(), O_RDWR), "open read-write");
  refused(::open(file.c_str(), O_WRONLY), "open for writing");
  refused(::open(file.c_str(), O_RDONLY | O_TRUNC), "open and truncate");
  refused(::open((mount / "new").c_str(), O_CREAT | O_WRONLY, 0600), "create");
  refused(::unlink(file.c_str()), "unlink");
  refused(::rename(file.c_str(), (mount / "other").c_str()), "rename");
  refused(::chmod(file.c_str(), 0600), "chmod");
  refused(::chown(file.c_str(), ::geteuid(), ::getegid()), "chown");
  refused(::truncate(file.c_str(), 1), "truncate");
  refused(::mkdir((mount / "new").c_str(), 0700), "mkdir");
  refused(::rmdir((mount / "by-path").c_str()), "rmdir");
  refused(::symlink("x", (mount / "new").c_str()), "symlink");
  refused(::link(file.c_str(), (mount / "new").c_str()), "link");
  refused(::mknod((mount / "new").c_str(), S_IFIFO | 0600, 0), "mknod");
  refused(::utimensat(AT_FDCWD, file.c_str(), nullptr, 0), "utimensat");
  refused(::setxattr(file.c_str(), "user.x", "x", 1, 0), "setxattr");
}

TEST_F(Tree, NothingCanBeChanged) {
  expect_refusals(*mount_);
}

TEST_F(Tree, NothingCanBeChangedAfterARemountEither) {
  NEED_ROOT();
  ASSERT_EQ(
      ::mount(nullptr, mount_->path().c_str(), nullptr, MS_REMOUNT | MS_NOSUID | MS_NODEV, nullptr),
      0)
      << std::strerror(errno);
  expect_refusals(*mount_);
}

TEST_F(Tree, TheKernelKnowsItAsPeelfs) {
  const auto entry = find_mount(mount_->path());
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->type, "fuse.peelfs");
  EXPECT_EQ(entry->source, folder_ / "disk.img");
  EXPECT_EQ(entry->id_option("user_id"), std::optional<unsigned long>(::geteuid()));
  struct stat status {};
  ASSERT_EQ(::stat(mount_->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_dev, entry->device);
}

TEST(TreeNames, FsnameSurvivesCommasBackslashesAndBlanks) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  const std::string odd = folder / "a,b\\c d,ro\\,e.img";
  make_sparse(odd, mib, {});
  const TemporaryDirectory other;
  fs::create_directory(other / "m");
  must_run(program() + " mount " + sh(odd) + " " + sh(other / "m"));
  const auto entry = find_mount(other / "m");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->source, odd);
  EXPECT_EQ(entry->type, "fuse.peelfs");
  must_run(program() + " umount " + sh(other / "m"));
}

TEST(TreeNames, AllowOtherMakesEverythingReadable) {
  NEED_MOUNTS();
  NEED_ROOT();
  NEED_PROGRAM("setpriv");
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(mib, 3));
  const TemporaryDirectory place;
  must_run("chmod 755 " + sh(place.path()) + " && mkdir " + sh(place / "m"));
  must_run(program() + " mount -o allow_other raw:" + sh(folder / "disk.img") + " " +
           sh(place / "m"));
  struct stat status {};
  ASSERT_EQ(::stat((place / "m/disk").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFREG | 0444});
  ASSERT_EQ(::stat((place / "m").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFDIR | 0555});
  must_run("setpriv --reuid=65534 --regid=65534 --clear-groups cmp " + sh(place / "m/disk") + " " +
           sh(place / "m/disk"));
  must_run(program() + " umount " + sh(place / "m"));
}

TEST(TreeNames, OthersMayNotLookIn) {
  NEED_MOUNTS();
  NEED_ROOT();
  NEED_PROGRAM("setpriv");
  const TemporaryDirectory folder;
  make_sparse(folder / "disk.img", mib, {});
  const TemporaryDirectory place;
  must_run("chmod 755 " + sh(place.path()) + " && mkdir " + sh(place / "m"));
  must_run(program() + " mount raw:" + sh(folder / "disk.img") + " " + sh(place / "m"));
  EXPECT_NE(
      run("setpriv --reuid=65534 --regid=65534 --clear-groups ls " + sh(place / "m")).exit_code, 0);
  must_run(program() + " umount " + sh(place / "m"));
}

/// A GPT with that many partitions of 2 KiB (UEFI specification, section 5.3); sfdisk needs minutes
/// for it.
void make_many_partitions(const std::string& path, std::size_t count) {
  constexpr std::uint64_t sectors = 64 * mib / 512;
  constexpr std::uint64_t first = 8192;
  Buffer disk(64 * mib);
  const auto put = [&](std::size_t at, std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) disk[at + i] = static_cast<std::byte>(value >> (8 * i));
  };
  const auto crc = [&](std::size_t at, std::size_t bytes) {
    return ::crc32(0, reinterpret_cast<const Bytef*>(disk.data() + at), static_cast<uInt>(bytes));
  };
  put(446 + 4, 0xee, 1);  // the protective MBR
  put(446 + 8, 1, 4);
  put(446 + 12, sectors - 1, 4);
  put(510, 0xaa55, 2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry = 1024 + i * 128;
    put(entry, 0x477284830fc63daf, 8);  // the type: Linux filesystem data
    put(entry + 8, 0xe47d47d8693d798e, 8);
    put(entry + 16, i + 1, 8);
    put(entry + 32, first + 4 * i, 8);
    put(entry + 40, first + 4 * i + 3, 8);
  }
  put(512, 0x5452415020494645, 8);  // "EFI PART"
  put(512 + 8, 0x10000, 4);
  put(512 + 12, 92, 4);
  put(512 + 24, 1, 8);
  put(512 + 32, sectors - 1, 8);
  put(512 + 40, first, 8);
  put(512 + 48, sectors - 8192, 8);
  put(512 + 56, 1, 8);
  put(512 + 72, 2, 8);
  put(512 + 80, count, 4);
  put(512 + 84, 128, 4);
  put(512 + 88, crc(1024, count * 128), 4);
  put(512 + 16, crc(512, 92), 4);
  write_file(path, disk);
}

TEST(TreeSize, TenThousandDevicesAreListedQuicklyAndOnceEach) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  constexpr std::size_t count = 10'000;
  make_many_partitions(folder / "disk.img", count);
  const Mount mount(sh(folder / "disk.img"));
  const auto begin = std::chrono::steady_clock::now();
  std::set<std::string> seen;
  for (const auto& entry : fs::directory_iterator(mount.path())) {
    if (entry.is_regular_file()) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(seen.insert(name).second) << name;
      EXPECT_EQ(entry.file_size(), name == "disk" ? 64 * mib : 2048U);
    }
  }
  EXPECT_EQ(seen.size(), count + 1);
  EXPECT_EQ(seen.count("diskp9999"), 1U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_EQ(must_run("ls -l " + sh(mount.path()) + " | grep -c ' diskp'"),
            std::to_string(count) + "\n");
  EXPECT_EQ(must_run("ls -U " + sh(mount / "by-partuuid") + " | sort -u | wc -l"),
            std::to_string(count) + "\n");
}

}  // namespace
}  // namespace peelfs::test
