// A client of the engine that the power-cut harness records:
//   write_driver SOURCE DEVICE UNIT SEED OPERATIONS
//   write_driver snapshots IMAGE
// writes to DEVICE in SOURCE, which it opens as the program does, and notes in the recorder's log
// what it is about to write and what it was promised.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "peelfs/error.h"
#include "peelfs/host_file.h"
#include "peelfs/io.h"
#include "qcow2/overlay.h"
#include "writing/cut/promises.h"
#include "writing/stack.h"

namespace peelfs::test {
namespace {

void zero_or_write(const BlockDevice& device, const Range& at, WriteKind kind) {
  try {
    zero(device, at.offset, at.length, kind);
  } catch (const Error& error) {
    if (error.error_number() != EOPNOTSUPP) throw;
    write(device, at.offset, Buffer(at.length));
  }
}

void work(const BlockDevice& device, std::uint64_t unit, std::uint64_t seed,
          std::uint64_t operations) {
  const char* const log = std::getenv(record_log);
  Promiser promiser(log != nullptr ? log : "");
  Dice dice(seed);
  for (std::uint64_t i = 0; i < operations; ++i) {
    const std::uint64_t what = dice.below(100);
    if (what < 60) {
      const Range at = dice.range(device.size(), unit, 4 * unit + 20000);
      const Buffer data = pattern(at.length, seed + i);
      promiser.intend(at.offset, data);
      write(device, at.offset, data);
    } else if (what < 85) {
      const Range at = dice.chance(50) ? dice.range(device.size(), unit, 8 * unit)
                                       : dice.aligned(device.size(), unit, unit, 16 * unit);
      promiser.intend_zero(at.offset, at.length);
      zero_or_write(device, at, what < 70 ? WriteKind::zeroes : WriteKind::discard);
    } else {
      const std::uint64_t before = promiser.before_sync();
      device.flush();
      promiser.synced(before);
    }
  }
}

/// Takes an internal snapshot, goes back to the one that is there, and removes the new one.
void snapshots(const std::string& path) {
  // Opened anew each time: a device is as large as its file was when it was opened.
  const auto file = [&path] {
    return make_storage_device(HostFile::open(path, HostFile::Access::read_write));
  };
  qcow2::create_snapshot(file(), "two");
  qcow2::revert_to_snapshot(file(), "one");
  qcow2::delete_snapshot(file(), "two");
}

int main_of(int count, char** arguments) {
  if (count == 3 && std::string(arguments[1]) == "snapshots") {
    snapshots(arguments[2]);
    return 0;
  }
  if (count != 6) return 2;
  const Disk disk{.folder = ".", .sources = {arguments[1]}, .device = arguments[2]};
  const OpenDisk open(disk);
  if (!open.ready()) return 1;
  work(open.device(), std::stoull(arguments[3]), std::stoull(arguments[4]),
       std::stoull(arguments[5]));
  return 0;
}

}  // namespace
}  // namespace peelfs::test

int main(int count, char** arguments) {
  try {
    return peelfs::test::main_of(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_driver: %s\n", error.what());
    return 1;
  }
}
