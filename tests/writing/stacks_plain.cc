// Stacks without an image format: files, partitions, logical volumes, encryption.
#include <nlohmann/json.hpp>

#include "peelfs/host_file.h"
#include "support/fixture_trees.h"
#include "support/paths.h"
#include "writing/stack.h"

namespace peelfs::test {
namespace {

std::string view(const std::string& arguments) {
  return "python3 " + shell_word(source_folder() + "/tests/writing/plain_view.py") + " " +
         arguments;
}

/// A raw file that is opened without the scanner: it stays a raw disk, also when the test writes a
/// signature to its start.
Disk raw_file(const std::string& folder) {
  const std::string path = folder + "/disk.raw";
  must_run("truncate -s " + std::to_string((6U << 20U) + 1536) + " " + shell_word(path));
  return {.folder = folder,
          .sources = {path},
          .device = "disk",
          .outside = {.options = "driver=raw,file.filename=" + path},
          .unit = 4096,
          .bounds = {{path, (6U << 20U) + 1536}},
          .open = [path] {
            return make_storage_device(HostFile::open(path, HostFile::Access::read_write));
          }};
}

Disk partition(const std::string& folder) {
  const std::string path = folder + "/disk.raw";
  constexpr std::uint64_t start = 2051;  // no multiple of 4096 bytes
  constexpr std::uint64_t sectors = 12001;
  must_run("truncate -s 12M " + shell_word(path) + " && printf 'label: gpt\\nstart=" +
           std::to_string(start) + ",size=" + std::to_string(sectors) +
           "\\nsize=1M\\n' | PATH=$PATH:/usr/sbin:/sbin sfdisk -q " + shell_word(path));
  return {.folder = folder,
          .sources = {path},
          .device = "diskp1",
          .outside = {.options = "driver=raw,offset=" + std::to_string(start * 512) +
                                 ",size=" + std::to_string(sectors * 512) +
                                 ",file.driver=file,file.filename=" + path},
          .unit = 4096,
          .bounds = {{path, 12U << 20U}}};
}

/// A logical volume of a fixture; its table is what the kernel said.
Disk logical_volume(const std::string& folder, const std::string& fixture,
                    const std::vector<std::string>& images, const std::string& name,
                    const std::string& table, std::uint64_t unit) {
  Disk disk{.folder = folder, .device = name, .unit = unit};
  std::string members;
  for (const std::string& image : images) {
    const std::string path = folder + "/" + image + ".raw";
    const std::string unpacked = fixture_image(image);
    if (unpacked.empty()) return {};
    must_run("cp --sparse=always " + shell_word(unpacked) + " " + shell_word(path) +
             " && chmod u+w " + shell_word(path));
    disk.sources.push_back(path);
    members += " " + shell_word(path);
  }
  const std::string copy = folder + "/copied-out";
  disk.outside.prepare = view("dm " + shell_word(copy) + " " + shell_word(table) + members);
  disk.outside.options = "driver=raw,file.filename=" + copy;
  disk.outside.writable = false;
  disk.passphrase = passphrase_of(fixture);
  return disk;
}

struct LuksOptions {
  std::string format;  ///< options of cryptsetup luksFormat
  bool qemu = false;   ///< qemu knows LUKS1
  std::uint64_t unit = 512;
};

Disk luks(const std::string& folder, const LuksOptions& options) {
  const std::string path = folder + "/disk.raw";
  must_run("truncate -s 20M " + shell_word(path) + " && printf %s " + shell_word(stack_passphrase) +
           " | PATH=$PATH:/usr/sbin:/sbin cryptsetup luksFormat -q --key-file - --pbkdf pbkdf2 "
           "--pbkdf-force-iterations 1000 --cipher aes-xts-plain64 " +
           options.format + " " + shell_word(path));
  // A header of LUKS2 leaves 4 MiB for data; LUKS1 leaves 18.
  Disk disk{.folder = folder,
            .sources = {path},
            .device = "disk_crypt",
            .unit = options.unit,
            .bounds = {{path, 20U << 20U}}};
  if (options.qemu) {
    disk.outside.options = "driver=luks,key-secret=s0,file.driver=file,file.filename=" + path;
    disk.outside.secret = stack_passphrase;
    disk.outside.discards = false;
    return disk;
  }
  const std::string copy = folder + "/copied-out";
  disk.outside.prepare =
      "PATH=$PATH:/usr/sbin:/sbin " + view("luks " + shell_word(copy) + " " + shell_word(path) +
                                           " " + shell_word(stack_passphrase));
  disk.outside.options = "driver=raw,file.filename=" + copy;
  disk.outside.writable = false;
  return disk;
}

}  // namespace

void add_plain_stacks(std::vector<Stack>& list) {
  list.push_back({"raw", raw_file});
  list.push_back({"partition", partition});
  list.push_back({"lv_striped", [](const std::string& folder) {
                    return logical_volume(
                        folder, "lvmstripe", {"str-a", "str-b", "str-c"}, "vgstr-s2",
                        "0 49152 striped 2 128 8:80 2048 8:96 2048;49152 16384 striped 2 256 "
                        "8:96 38912 8:112 14336;65536 6144 linear 8:112 22528;",
                        65536);
                  }});
  list.push_back({"lv_linear", [](const std::string& folder) {
                    return logical_volume(
                        folder, "lvmsegs", {"segs-a", "segs-b"}, "vgsegs-x",
                        "0 8192 linear 8:64 22528;8192 8192 linear 8:48 51200;16384 12288 "
                        "linear 8:48 22528;28672 6144 linear 8:64 6144;34816 14336 linear 8:48 "
                        "63488;",
                        4U << 20U);
                  }});
  list.push_back({"luks1", [](const std::string& folder) {
                    return luks(folder, {.format = "--type luks1", .qemu = true});
                  }});
  list.push_back({"luks2_512", [](const std::string& folder) {
                    return luks(folder, {.format = "--type luks2 --sector-size 512"});
                  }});
  list.push_back({"luks2_4096", [](const std::string& folder) {
                    return luks(folder,
                                {.format = "--type luks2 --sector-size 4096", .unit = 4096});
                  }});
}

}  // namespace peelfs::test
