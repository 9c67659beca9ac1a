#include "writing/qcow2_stack.h"

#include <set>

#include "writing/dice.h"

namespace peelfs::test {
namespace {

/// Data here and there, so that a test does not begin with nothing.
void fill(const Outside& outside, const Qcow2Options& options) {
  Dice dice(seed_for("fill") + options.seed);
  std::vector<std::string> commands;
  std::set<std::uint64_t> compressed;
  for (unsigned i = 0; options.compressed && i < 24; ++i) {
    const std::uint64_t cluster = dice.below(div_round_up(options.size, options.cluster));
    if (!compressed.insert(cluster).second) continue;
    // A cluster that the disk's end cuts off must be compressed as far as the disk goes.
    const std::uint64_t length =
        std::min(options.cluster, options.size - cluster * options.cluster);
    // qemu-io does not compress into what it has allocated.
    commands.push_back("discard " + std::to_string(cluster * options.cluster) + " " +
                       std::to_string(length));
    commands.push_back("write -c -P " + std::to_string(1 + i) + " " +
                       std::to_string(cluster * options.cluster) + " " + std::to_string(length));
  }
  for (unsigned i = 0; i < options.writes; ++i) {
    const Range at = dice.aligned(options.size, options.cluster, 512, options.longest_write);
    commands.push_back((i % 4 == 3 ? "write -z " : "write -P " + std::to_string(64 + i) + " ") +
                       std::to_string(at.offset) + " " + std::to_string(at.length));
  }
  if (!commands.empty()) outside.io(commands);
}

void make_backing(const std::string& folder, const Qcow2Options& options) {
  const std::string path = shell_word(folder + "/base." + options.backing_format);
  const std::uint64_t whole = round_up(options.backing_size, 512);
  const std::string size = std::to_string(whole);
  std::string writes;
  Dice dice(seed_for("backing") + options.seed);
  for (unsigned i = 0; i < options.writes + 8; ++i) {
    const Range at = dice.aligned(whole, 65536, 512, options.longest_write + 45056);
    writes += " -c 'write -P " + std::to_string(100 + i) + " " + std::to_string(at.offset) + " " +
              std::to_string(at.length) + "'";
  }
  must_run("qemu-img create -q -f " + options.backing_format + " " + path + " " + size +
           " && qemu-io -f " + options.backing_format + writes + " " + path);
  // A raw file may end within a sector.
  if (whole != options.backing_size) {
    must_run("truncate -s " + std::to_string(options.backing_size) + " " + path);
  }
}

}  // namespace

std::uint64_t longest_image(const Qcow2Options& options, unsigned disks) {
  const std::uint64_t clusters = div_round_up(options.size, options.cluster) * disks;
  const std::uint64_t entry = options.create.find("extended_l2=on") == std::string::npos ? 8 : 16;
  const std::uint64_t tables = div_round_up(clusters, options.cluster / entry) + disks;
  // Refcounts count themselves, too; twice is more than enough.
  const std::uint64_t counts =
      2 * div_round_up((clusters + tables) * options.refcount_bits, 8 * options.cluster) + 4;
  const std::uint64_t ideal = (clusters + tables + counts) * options.cluster;
  return ideal + ideal / 4 + 8 * options.cluster + (4U << 20U);
}

Disk qcow2_disk(const std::string& folder, const Qcow2Options& options) {
  const std::string path = folder + "/disk.qcow2";
  Disk disk{.folder = folder,
            .sources = {path},
            .device = "disk",
            .outside = {.options = "driver=qcow2,file.driver=file,file.filename=" + path,
                        .checked = true,
                        .discards = options.qemu_discards},
            .unit = options.cluster};
  if (options.encrypted) {
    disk.outside.options += ",encrypt.format=luks,encrypt.key-secret=s0";
    disk.outside.secret = stack_passphrase;
  }
  if (!options.backing_format.empty()) {
    disk.untouched.push_back(folder + "/base." + options.backing_format);
  }
  if (!options.data_file.empty()) {
    disk.bounds[folder + "/" + options.data_file] = round_up(options.size, options.cluster);
  }
  if (options.snapshots) disk.snapshots = path;
  disk.bounds[path] = longest_image(options, options.snapshots ? 4 : 1);
  return disk;
}

Disk make_qcow2(const std::string& folder, const Qcow2Options& options) {
  Disk disk = qcow2_disk(folder, options);
  std::string create = "cluster_size=" + std::to_string(options.cluster) +
                       ",refcount_bits=" + std::to_string(options.refcount_bits);
  if (!options.create.empty()) create += "," + options.create;
  // By its whole path: qemu looks for it from where it runs when the image is given by options.
  if (!options.data_file.empty()) create += ",data_file=" + folder + "/" + options.data_file;
  std::string object;
  if (options.encrypted) {
    object = "--object " + shell_word(std::string("secret,id=s0,data=") + stack_passphrase) + " ";
    create += ",encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10";
  }
  if (!options.backing_format.empty()) {
    make_backing(folder, options);
    create +=
        ",backing_file=base." + options.backing_format + ",backing_fmt=" + options.backing_format;
  }
  const std::string command = "qemu-img create -q " + object + "-f qcow2 -o " + shell_word(create) +
                              " disk.qcow2 " + std::to_string(options.size);
  must_run("cd " + shell_word(folder) + " && " + command);
  fill(disk.outside, options);
  return disk;
}

}  // namespace peelfs::test
