// qcow2 images of any kind, by dice.
#include <algorithm>
#include <array>

#include "writing/qcow2_stack.h"

namespace peelfs::test {
namespace {

template <typename T, std::size_t count>
T one_of(Dice& dice, const std::array<T, count>& all) {
  return all.at(dice.below(count));
}

/// A few clusters, and often a part of one.
std::uint64_t random_size(Dice& dice, std::uint64_t cluster) {
  const std::uint64_t clusters = 1 + dice.below(cluster >= 1U << 19U ? 3 : 24);
  const std::uint64_t whole = clusters * cluster;
  switch (dice.below(4)) {
    case 0:
      return whole;
    case 1:
      return whole + 512;
    case 2:
      return std::max<std::uint64_t>(whole - 512, 512);
    default:
      return whole - cluster + 512 * (1 + dice.below(cluster / 512));
  }
}

void choose_backing(Dice& dice, Qcow2Options& options) {
  options.backing_format = dice.chance(50) ? "raw" : "qcow2";
  const std::uint64_t sectors = options.size / 512;
  switch (dice.below(4)) {
    case 0:
      options.backing_size = options.size;
      break;
    case 1:
      options.backing_size = options.size + 512 * (1 + dice.below(2 * sectors));
      break;
    default:  // shorter, down to one sector
      options.backing_size = 512 * (1 + dice.below(sectors));
      break;
  }
  if (options.backing_format == "raw" && dice.chance(40)) options.backing_size -= dice.below(512);
}

/// What only one file for everything can have.
void choose_contents(Dice& dice, Qcow2Options& options, bool version3) {
  options.compressed = dice.chance(25);
  options.encrypted = !options.compressed && dice.chance(8);
  // qemu-img takes no snapshot of an image that it has no key for.
  options.snapshots = version3 && !options.encrypted && dice.chance(80);
  if (options.compressed && version3 && dice.chance(50)) options.create += ",compression_type=zstd";
  if (!version3) return;
  // Narrow counts have no room for snapshots, or for what many compressed clusters share.
  constexpr std::array<unsigned, 7> widths{8, 16, 16, 32, 64, 4, 1};
  options.refcount_bits = widths.at(dice.below(options.compressed ? 5 : options.snapshots ? 6 : 7));
}

}  // namespace

Qcow2Options random_qcow2(Dice& dice) {
  Qcow2Options options;
  options.seed = dice.below(1U << 30U);
  options.writes = static_cast<unsigned>(dice.below(6));
  const bool version3 = !dice.chance(12);
  const bool extended = version3 && dice.chance(60);
  // Extended entries need 16 KiB, for 32 subclusters of a sector.
  constexpr std::array<unsigned, 9> bits{16, 14, 15, 18, 21, 9, 10, 12, 13};
  options.cluster = 1ULL << bits.at(dice.below(extended ? 5 : bits.size()));
  options.size = random_size(dice, options.cluster);
  options.longest_write = std::max<std::uint64_t>(options.cluster / 4, 4096);
  options.create = version3 ? "compat=1.1" : "compat=0.10";
  if (extended) options.create += ",extended_l2=on";
  if (version3 && dice.chance(15)) options.create += ",lazy_refcounts=on";
  const bool data_file = version3 && dice.chance(15);
  if (data_file) {
    options.data_file = "data.raw";
    if (dice.chance(40)) options.create += ",data_file_raw=on";
  } else {
    choose_contents(dice, options, version3);
  }
  const bool raw_data = options.create.find("data_file_raw") != std::string::npos;
  if (!raw_data && dice.chance(45)) choose_backing(dice, options);
  options.qemu_discards = version3 || options.backing_format.empty();
  // Without extended entries qemu has no way to let a backing file shine through what is
  // allocated.
  if (!raw_data && !options.compressed && dice.chance(15) &&
      (options.backing_format.empty() || extended)) {
    constexpr std::array<const char*, 3> kinds{"metadata", "falloc", "full"};
    options.create += std::string(",preallocation=") + one_of(dice, kinds);
  }
  return options;
}

std::string to_string(const Qcow2Options& options) {
  std::string text = options.create + ",cluster_size=" + std::to_string(options.cluster) +
                     ",refcount_bits=" + std::to_string(options.refcount_bits) + ", " +
                     std::to_string(options.size) + " bytes";
  if (!options.data_file.empty()) text += ", data file";
  if (!options.backing_format.empty()) {
    text += ", on " + options.backing_format + " of " + std::to_string(options.backing_size);
  }
  if (options.compressed) text += ", compressed";
  if (options.encrypted) text += ", encrypted";
  if (options.snapshots) text += ", snapshots";
  return text;
}

}  // namespace peelfs::test
