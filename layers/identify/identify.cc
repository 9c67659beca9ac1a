#include "identify/identify.h"

#include <blkid/blkid.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "identify/regions.h"
#include "identify/sparse_copy.h"
#include "peelfs/budget.h"

namespace peelfs {

namespace {

using ProbePtr = std::unique_ptr<blkid_struct_probe, decltype(&blkid_free_probe)>;

// The metadata of firmware RAIDs: libblkid looks for it on whole disks only, and cannot tell that
// from a regular file, which the copy is.
constexpr std::array<const char*, 10> kFirmwareRaids = {
    "adaptec_raid_member",        "hpt37x_raid_member",
    "hpt45x_raid_member",         "isw_raid_member",
    "jmicron_raid_member",        "lsi_mega_raid_member",
    "nvidia_raid_member",         "promise_fasttrack_raid_member",
    "silicon_medley_raid_member", "via_raid_member"};

ProbePtr make_probe(int fd, std::uint32_t sector_size) {
  // Initialises debugging from the environment, which is not thread-safe the first time.
  static std::once_flag once;
  std::call_once(once, [] { blkid_init_debug(0); });
  errno = 0;
  ProbePtr probe(blkid_new_probe(), &blkid_free_probe);
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) {
    throw Error::system(errno == 0 ? ENOMEM : errno, "libblkid cannot be started");
  }
  blkid_probe_set_sectorsize(probe.get(), sector_size);
  return probe;
}

std::string value(blkid_probe probe, const char* name) {
  const char* data = nullptr;
  size_t length = 0;
  if (blkid_probe_lookup_value(probe, name, &data, &length) != 0 || data == nullptr) return {};
  const std::string_view text(data, length);  // the length counts the NUL at the end
  return std::string(text.substr(0, text.find('\0')));
}

// Runs the chains that are switched on. Of several superblocks on one device (an old one was not
// wiped) libblkid's order decides, always in the same way, where `blkid -p` would answer nothing.
bool run(blkid_probe probe) {
  if (const int result = blkid_do_safeprobe(probe); result >= 0) return result == 0;
  blkid_reset_probe(probe);
  return blkid_do_fullprobe(probe) == 0;
}

void probe_superblocks(blkid_probe probe, Identity& identity) {
  identity.type = value(probe, "TYPE");
  identity.usage = value(probe, "USAGE");
  identity.label = value(probe, "LABEL");
  identity.uuid = value(probe, "UUID");
}

using Types = std::vector<const char*>;

Types firmware_raids() {
  return {kFirmwareRaids.begin(), kFirmwareRaids.end()};
}

/// What blkid(8) says. @param unwanted types of superblocks that are passed over
Identity probe_all(int fd, std::uint32_t sector_size, const Types& unwanted) {
  Identity identity;
  const ProbePtr probe = make_probe(fd, sector_size);
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(
      probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID);
  if (!unwanted.empty()) {
    std::vector<char*> names;  // the interface of C does not write there
    for (const char* name : unwanted) names.push_back(const_cast<char*>(name));
    names.push_back(nullptr);
    blkid_probe_filter_superblocks_type(probe.get(), BLKID_FLTR_NOTIN, names.data());
  }
  blkid_probe_enable_partitions(probe.get(), 1);
  if (!run(probe.get())) return identity;
  probe_superblocks(probe.get(), identity);
  identity.pttype = value(probe.get(), "PTTYPE");
  identity.ptuuid = value(probe.get(), "PTUUID");
  return identity;
}

/// What wipefs(8) shows: all superblocks, not only the first in libblkid's order.
std::vector<Identity::Signature> all_signatures(int fd, std::uint32_t sector_size) {
  std::vector<Identity::Signature> all;
  const ProbePtr probe = make_probe(fd, sector_size);
  if (!probe) return all;
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(),
                                    BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_MAGIC);
  while (blkid_do_probe(probe.get()) == 0) {
    Identity::Signature found;
    found.type = value(probe.get(), "TYPE");
    found.usage = value(probe.get(), "USAGE");
    const std::string offset = value(probe.get(), "SBMAGIC_OFFSET");
    std::from_chars(offset.data(), offset.data() + offset.size(), found.offset);
    if (!found.type.empty()) all.push_back(std::move(found));
  }
  return all;
}

unsigned count_partitions(int fd, std::uint32_t sector_size) {
  const ProbePtr probe = make_probe(fd, sector_size);
  if (!probe) return 0;
  blkid_probe_enable_superblocks(probe.get(), 0);
  const blkid_partlist list = blkid_probe_get_partitions(probe.get());
  const int count = list != nullptr ? blkid_partlist_numof_partitions(list) : 0;
  return count > 0 ? static_cast<unsigned>(count) : 0;
}

// Only for a GPT: with the block size given, and without asking for a protective MBR if `force`.
bool probe_gpt(int fd, std::uint32_t sector_size, bool force, Identity& identity) {
  const ProbePtr probe = make_probe(fd, sector_size);
  std::array<char, 4> gpt = {'g', 'p', 't', '\0'};
  std::array<char*, 2> names = {gpt.data(), nullptr};
  blkid_probe_enable_superblocks(probe.get(), 0);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_filter_partitions_type(probe.get(), BLKID_FLTR_ONLYIN, names.data());
  if (force) blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_FORCE_GPT);
  if (!run(probe.get())) return false;
  identity.pttype = value(probe.get(), "PTTYPE");
  identity.ptuuid = value(probe.get(), "PTUUID");
  return true;
}

bool gpt_signature_at(SparseCopy& copy, std::uint64_t block) {
  const std::uint64_t size = copy.device().size();
  if (size < 2 * block) return false;
  for (const std::uint64_t lba : {std::uint64_t{1}, size / block - 1}) {
    const Buffer bytes = copy.look(lba * block, 8);
    if (as_text(bytes) == "EFI PART") return true;
  }
  return false;
}

// An image file does not know the block size of the disk that it was: a GPT shows it by where it
// stands.
void find_gpt_of_any_block_size(SparseCopy& copy, int fd, std::uint32_t known, Identity& identity) {
  if (!identity.pttype.empty() && identity.pttype != "PMBR") return;
  for (const bool force : {false, true}) {
    // Without a protective MBR only where nothing else claims the device.
    if (force && !(identity.type.empty() && identity.pttype.empty())) return;
    for (const std::uint32_t block : {512U, 4096U, 1024U, 2048U}) {
      if (block == known && !force) continue;
      if (gpt_signature_at(copy, block) && probe_gpt(fd, block, force, identity)) return;
    }
  }
}

bool is_firmware_raid(std::string_view type) {
  return std::any_of(kFirmwareRaids.begin(), kFirmwareRaids.end(),
                     [&](const char* name) { return type == name; });
}

/// Whether of LUKS nothing is left but the second header of LUKS2, behind something that was
/// written over the first one, and is newer.
bool is_former_luks(const Identity& identity) {
  if (identity.type != "crypto_LUKS") return false;
  bool first_header = false;
  bool other = !identity.pttype.empty();
  for (const Identity::Signature& signature : identity.signatures) {
    if (signature.type != "crypto_LUKS") other = true;
    if (signature.type == "crypto_LUKS" && signature.offset == 0) first_header = true;
  }
  return other && !first_header;
}

void pay(Budget* budget, const SparseCopy& copy) {
  copy.check_host();
  if (budget != nullptr) budget->take(Budget::Kind::identify_bytes, copy.bytes_read());
}

}  // namespace

Identity identify(const BlockDevice& device, Budget* budget, bool partition) {
  SparseCopy copy(device);
  copy.check_host();
  fill_fixed_regions(copy);
  if (!copy.usable()) return pay(budget, copy), Identity{};
  for (const auto fill : {&fill_ntfs, &fill_fat, &fill_exfat, &fill_bitlocker, &fill_hfsplus,
                          &fill_udf, &fill_ddf, &fill_befs, &fill_zfs, &fill_gpt, &fill_mbr}) {
    fill(copy);
  }
  const int fd = copy.seal();
  pay(budget, copy);
  if (fd < 0) return {};

  const std::uint32_t sector_size = device.sector_size();
  Identity identity = probe_all(fd, sector_size, {});
  identity.signatures = all_signatures(fd, sector_size);
  const auto look_again_without = [&](const Types& unwanted, bool table_counts) {
    Identity without = probe_all(fd, sector_size, unwanted);
    if (without.type.empty() && !table_counts) return;
    without.signatures = std::move(identity.signatures);
    identity = std::move(without);
  };
  // Metadata at the end of a disk lies in its last partition, too, where a filesystem counts for
  // more. On a disk it does not: that is how an array's first disk looks.
  if (partition && is_firmware_raid(identity.type)) look_again_without(firmware_raids(), false);
  if (is_former_luks(identity)) look_again_without({"crypto_LUKS"}, true);
  find_gpt_of_any_block_size(copy, fd, sector_size, identity);
  if (!identity.pttype.empty()) identity.partitions = count_partitions(fd, sector_size);
  return identity;
}

}  // namespace peelfs
