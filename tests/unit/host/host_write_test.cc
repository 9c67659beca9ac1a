// Host files that are written to.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

class HostWrite : public testing::Test {
 protected:
  std::string make(std::uint64_t size) {
    write_file(folder_ / "file", pattern(size, 1));
    return folder_ / "file";
  }
  static int error_number(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.error_number();
    }
    return 0;
  }
  TemporaryDirectory folder_;
};

TEST_F(HostWrite, KeepsTheContract) {
  const std::string path = make(200'000);
  const Buffer whole = check_write_contract(*writable_file_device(path));
  EXPECT_EQ(read_file(path), whole);
}

TEST_F(HostWrite, WhatWasOpenedReadOnlyIsRefused) {
  const std::string path = make(5000);
  const auto file = HostFile::open(path);
  std::byte byte{1};
  const iovec buffer{&byte, 1};
  EXPECT_EQ(error_number([&] { file->write(0, {&buffer, 1}); }), EROFS);
  EXPECT_EQ(error_number([&] { file->zero(0, 4096, true); }), EROFS);
  EXPECT_EQ(error_number([&] { write(*file_device(path), 0, {&byte, 1}); }), EROFS);
  file->flush();
  EXPECT_EQ(read_file(path), pattern(5000, 1));
}

TEST_F(HostWrite, AGrowableFileGrows) {
  const DevicePtr device = writable_file_device(make(1000));
  const DevicePtr growable = device->growable();
  ASSERT_TRUE(growable);
  EXPECT_EQ(read_bytes(*growable, 500, 4096), [] {
    Buffer bytes = pattern(1000, 1);
    bytes.erase(bytes.begin(), bytes.begin() + 500);
    bytes.resize(4096);
    return bytes;
  }());
  zero(*growable, 1U << 30U, 65536, WriteKind::discard);
  write(*growable, 100'000, pattern(5, 2));
  growable->flush();
  EXPECT_EQ(read_file(folder_ / "file").size(), 100'005U);
  EXPECT_EQ(read_bytes(*growable, 100'000, 5), pattern(5, 2));
  EXPECT_EQ(read_bytes(*growable, 1000, 99'000), Buffer(99'000));
  EXPECT_EQ(device->size(), 1000U);
}

TEST_F(HostWrite, ZeroesThatTheHostCannotWriteAreToldFromFailures) {
  // tmpfs can punch holes and cannot write zeroes.
  if (access("/dev/shm", W_OK) != 0) GTEST_SKIP() << "no /dev/shm";
  const std::string path = "/dev/shm/peelfs-zero-" + std::to_string(getpid());
  write_file(path, pattern(100'000, 1));
  const DevicePtr device = writable_file_device(path);
  const int code = error_number([&] { zero(*device, 10, 50'000, WriteKind::zeroes); });
  EXPECT_TRUE(code == EOPNOTSUPP || code == 0) << code;
  zero(*device, 10, 50'000, WriteKind::discard);
  EXPECT_EQ(read_bytes(*device, 10, 50'000), Buffer(50'000));
  EXPECT_EQ(read_file(path)[9], pattern(100'000, 1)[9]);
  EXPECT_EQ(read_file(path)[50'010], pattern(100'000, 1)[50'010]);
  unlink(path.c_str());
}

TEST_F(HostWrite, ALimitOnTheSizeIsAnError) {
  const std::string path = make(1000);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    int code = error_number(
        [&] { write(*writable_file_device(path)->growable(), 3000, Buffer(5000, std::byte{7})); });
    _exit(code == EFBIG ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path).size(), 4096U);
}

TEST_F(HostWrite, AFullFilesystemIsNoSpace) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small tmpfs needs root";
  const std::string mount = folder_ / "mount";
  if (run("mkdir " + mount + " && mount -t tmpfs -o size=64k tmpfs " + mount).exit_code != 0) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  write_file(mount + "/file", pattern(1000, 1));
  const DevicePtr device = writable_file_device(mount + "/file");
  EXPECT_EQ(error_number([&] { write(*device->growable(), 0, Buffer(200'000)); }), ENOSPC);
  // It is still of use.
  write(*device, 0, pattern(1000, 2));
  EXPECT_EQ(error_number([&] { device->flush(); }), 0);
  EXPECT_EQ(read_bytes(*device, 0, 1000), pattern(1000, 2));
  must_run("umount -l " + mount);
}

}  // namespace
}  // namespace peelfs::test
