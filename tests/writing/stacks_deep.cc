// Overlays, and qcow2 above and below other layers.
#include "peelfs/host_file.h"
#include "qcow2/overlay.h"
#include "support/fixtures.h"
#include "support/paths.h"
#include "writing/qcow2_stack.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1U << 20U;
constexpr std::uint64_t odd = 5 * mib + 1536;

/// The bytes of an image, read by us, for as long as the device is held.
DevicePtr read_by_us(const Disk& disk) {
  auto open = std::make_shared<OpenDisk>(disk, false);
  const BlockDevice* const device = &open->device();
  return {std::move(open), device};
}

/// An overlay as the overlay manager makes one, over what `backing` reads.
Disk overlay_over(const std::string& folder, const std::string& base, const std::string& format,
                  const std::function<DevicePtr()>& backing) {
  const std::string path = folder + "/overlay.qcow2";
  const Qcow2Options like{.size = backing()->size()};
  {
    const DevicePtr file = make_storage_device(HostFile::create(path));
    const DevicePtr growable = file->growable();
    qcow2::create_image(*growable, {.size = like.size,
                                    .cluster_bits = 16,
                                    .backing_file = base,
                                    .backing_format = format,
                                    .extensions = {}});
    growable->flush();
  }
  return {.folder = folder,
          .sources = {path},
          .device = "overlay",
          .outside = {.options = "driver=qcow2,file.driver=file,file.filename=" + path,
                      .checked = true},
          .bounds = {{path, longest_image(like)}},
          .untouched = {folder + "/" + base},
          .open = [path, backing] {
            return qcow2::open_overlay(
                make_storage_device(HostFile::open(path, HostFile::Access::read_write)), backing(),
                "overlay");
          }};
}

Disk overlay_on_raw(const std::string& folder) {
  const std::string base = folder + "/base.raw";
  write_file(base, pattern(odd, 5));
  must_run("fallocate -p -o 1M -l 900K " + shell_word(base));
  return overlay_over(folder, "base.raw", "raw", [base] { return file_device(base); });
}

Disk overlay_on_qcow2(const std::string& folder) {
  const Disk disk = make_qcow2(folder, {.cluster = 4096, .size = odd, .compressed = true});
  return overlay_over(folder, "disk.qcow2", "qcow2", [disk] { return read_by_us(disk); });
}

/// An image that cannot grow beyond its partition.
Disk qcow2_on_partition(const std::string& folder) {
  const std::string path = folder + "/whole.raw";
  const Qcow2Options options{.size = odd};
  constexpr std::uint64_t start = 2056;
  constexpr std::uint64_t sectors = 48 * mib / 512;
  make_qcow2(folder, options);
  must_run("cd " + shell_word(folder) + " && truncate -s 56M whole.raw && printf 'label: gpt\\n" +
           "start=" + std::to_string(start) + ",size=" + std::to_string(sectors) +
           "\\n' | PATH=$PATH:/usr/sbin:/sbin sfdisk -q whole.raw && dd status=none conv=notrunc "
           "if=disk.qcow2 of=whole.raw bs=512 seek=" +
           std::to_string(start) + " && rm disk.qcow2");
  return {.folder = folder,
          .sources = {path},
          .device = "wholep1_qcow2",
          .outside = {.options = "driver=qcow2,file.driver=raw,file.offset=" +
                                 std::to_string(start * 512) +
                                 ",file.size=" + std::to_string(sectors * 512) +
                                 ",file.file.driver=file,file.file.filename=" + path,
                      .checked = true},
          .bounds = {{path, 56 * mib}}};
}

/// qcow2 > VG > LV > LUKS1 > MBR > partition, of a fixture.
Disk luks_on_lv_in_qcow2(const std::string& folder) {
  const std::string unpacked = fixture_image("variant1");
  if (unpacked.empty()) return {};
  const std::string in_folder = "cd " + shell_word(folder) + " && PATH=$PATH:/usr/sbin:/sbin";
  must_run(in_folder + " && qemu-img convert -O qcow2 " + shell_word(unpacked) + " disk.qcow2");
  const std::string view =
      "python3 " + shell_word(source_folder() + "/tests/writing/plain_view.py") + " ";
  return {.folder = folder,
          .sources = {folder + "/disk.qcow2"},
          .device = "lvhd0_cryptp2",
          .passphrase = "fixture-pass-1",
          .outside = {.prepare = in_folder +
                                 " && qemu-img check -q disk.qcow2 && qemu-img convert -O raw "
                                 "disk.qcow2 flat && " +
                                 view + "dm lv '0 122880 linear 8:16 2048;' flat && " + view +
                                 "luks plain lv fixture-pass-1 && dd status=none if=plain of=copy "
                                 "bs=512 skip=$(partx -rg -o START -n 2 plain) "
                                 "count=$(partx -rg -o SECTORS -n 2 plain)",
                      .options = "driver=raw,file.filename=" + folder + "/copy",
                      .writable = false},
          .bounds = {{folder + "/disk.qcow2", longest_image({.size = 64 * mib})}}};
}

}  // namespace

void add_deep_stacks(std::vector<Stack>& list) {
  list.push_back({"overlay_on_raw", overlay_on_raw});
  list.push_back({"overlay_on_qcow2", overlay_on_qcow2});
  list.push_back({"qcow2_on_partition", qcow2_on_partition});
  // Decrypting it as a whole takes seconds.
  if (nightly()) list.push_back({"luks_on_lv_in_qcow2", luks_on_lv_in_qcow2});
}

}  // namespace peelfs::test
