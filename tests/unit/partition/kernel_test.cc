// Strange tables: we show what Linux shows, or say why not.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <ostream>
#include <sstream>

#include "peelfs/devices.h"
#include "unit/partition/kernel_cases.h"

namespace peelfs::test {

std::ostream& operator<<(std::ostream& out, const KernelPart& part) {
  return out << "p" << part.number << " start " << part.start << " size " << part.size;
}
std::ostream& operator<<(std::ostream& out, const KernelCase& c) {
  return out << c.name;
}

namespace {

class Kernel : public testing::TestWithParam<KernelCase> {};

std::vector<KernelPart> ours(const SparseDisk& disk, const std::string& path) {
  // A loop device knows its block size; a file does not.
  const DevicePtr file = file_device(path);
  const DevicePtr device =
      make_concat({{file, 0, file->size()}}, Error(Fault::io, "none"), "disk", disk.block);
  std::vector<KernelPart> parts;
  for (const Listed& listed : peel(device).list()) {
    parts.push_back({listed.number, listed.start / 512, listed.size / 512});
  }
  return parts;
}

// PEELFS_DUMP_CASES=DIR writes the cases as text, to be run under other kernels.
TEST_P(Kernel, ShowsTheSame) {
  const KernelCase& c = GetParam();
  SparseDisk disk(c.size, c.block);
  c.build(disk);
  if (const char* folder = std::getenv("PEELFS_DUMP_CASES")) {
    write_file(std::string(folder) + "/" + c.name, as_bytes(disk.text()));
  }
  const TemporaryDirectory directory;
  const std::string path = directory / "disk";
  disk.write(path);
  const KernelAnswer& answer = kernel_answer(c.name);
  EXPECT_EQ(ours(disk, path), answer.why_we_differ.empty() ? answer.linux_shows : answer.we_show)
      << answer.why_we_differ;
}

INSTANTIATE_TEST_SUITE_P(Tables, Kernel, testing::ValuesIn(kernel_cases()),
                         [](const auto& named) { return std::string(named.param.name); });

bool kernel_reads_tables() {
  const std::string config =
      run("zcat /proc/config.gz 2>/dev/null || cat /boot/config-$(uname -r)").output;
  return config.find("CONFIG_MSDOS_PARTITION=y") != std::string::npos &&
         config.find("CONFIG_EFI_PARTITION=y") != std::string::npos;
}

// The recorded answers, against the kernel that runs this test.
TEST(KernelHere, GivesTheRecordedAnswers) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, for losetup";
  if (!have_program("losetup")) GTEST_SKIP() << "losetup is not installed";
  if (!kernel_reads_tables()) GTEST_SKIP() << "this kernel reads no partition tables";
  for (const KernelCase& c : kernel_cases()) {
    const TemporaryDirectory directory;
    const std::string path = directory / "disk";
    SparseDisk disk(c.size, c.block);
    c.build(disk);
    disk.write(path);
    const CommandResult attached =
        run("losetup -f --show -r -P -b " + std::to_string(c.block) + " '" + path + "'");
    if (attached.exit_code != 0) GTEST_SKIP() << "losetup does not work here: " << attached.output;
    const std::string device = attached.output.substr(0, attached.output.find('\n'));
    const std::string name = device.substr(device.rfind('/') + 1);
    std::istringstream lines(
        run("cd /sys/block/" + name + " && for p in " + name +
            "p*; do [ -d $p ] && echo ${p##*p} $(cat $p/start $p/size); done | sort -n")
            .output);
    must_run("losetup -d " + device);
    std::vector<KernelPart> parts;
    for (KernelPart part{}; lines >> part.number >> part.start >> part.size;) parts.push_back(part);
    EXPECT_EQ(parts, kernel_answer(c.name).linux_shows) << c.name;
  }
}

}  // namespace
}  // namespace peelfs::test
