#include "writing/nested_stack.h"

#include <filesystem>

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1U << 20U;

const std::string tools = "PATH=$PATH:/usr/sbin:/sbin; ";

/// The filesystem as a plain file.
std::string plain(const NestedOptions& options) {
  return options.overlay ? "flat" : "whole.raw";
}

Stack nested(std::string name, const NestedOptions& options) {
  return {std::move(name), [options](const std::string& folder) {
            make_nested(folder, options);
            Disk disk = nested_disk(folder, options);
            if (options.overlay) const OpenDisk made(disk);
            disk.outside.prepare = "cd " + shell_word(folder) + " && { " + flatten_nested(options) +
                                   " && " + copy_nested(options) + "; }";
            return disk;
          }};
}

}  // namespace

void make_nested(const std::string& folder, const NestedOptions& options) {
  const std::string tree = folder + "/tree";
  std::filesystem::create_directory(tree);
  make_qcow2(tree, options.inner);
  write_file(folder + "/other", pattern(300'000, 8));
  must_run(tools + "cd " + shell_word(folder) +
           " && mv tree/disk.qcow2 tree/inner.qcow2 && cp other tree/other && truncate -s " +
           options.size + " whole.raw && mke2fs -q -F " + options.filesystem +
           " -d tree whole.raw && rm -r tree && e2fsck -fn whole.raw");
}

Disk nested_disk(const std::string& folder, const NestedOptions& options) {
  Disk disk{
      .folder = folder,
      .sources = {folder + "/whole.raw"},
      .device = "inner",
      .outside = {.options = "driver=qcow2,file.driver=file,file.filename=" + folder + "/dumped",
                  .checked = true,
                  .writable = false},
      .unit = options.inner.cluster};
  disk.bounds[folder + "/dumped"] = longest_image(options.inner);
  if (options.overlay) {
    disk.overlay = folder + "/overlays";
    disk.untouched.push_back(folder + "/whole.raw");
  }
  return disk;
}

std::string flatten_nested(const NestedOptions& options) {
  if (!options.overlay) return "true";
  const std::string image =
      " --image-opts driver=qcow2,file.driver=file,file.filename=overlays/whole.qcow2,"
      "backing.driver=raw,backing.file.driver=file,backing.file.filename=whole.raw ";
  return "{ qemu-img check" + image + "|| [ $? = 3 ]; } && qemu-img convert -O raw" + image +
         "flat";
}

std::string repair_nested(const NestedOptions& options) {
  return tools + "e2fsck -fy " + plain(options) +
         "; code=$?; [ $code -le 1 ] || { echo e2fsck exits $code; false; }";
}

std::string copy_nested(const NestedOptions& options) {
  const auto dump = [&](const std::string& name, const std::string& to) {
    return "debugfs -R 'dump /" + name + " " + to + "' " + plain(options) + " && ";
  };
  return tools + "e2fsck -fn " + plain(options) + " && " + dump("inner.qcow2", "dumped") +
         dump("other", "dumped-other") +
         // The image ends with a sector, or a power cut could tear that.
         "[ $(($(stat -c %s dumped) % 512)) = 0 ] && cmp other dumped-other && [ \"$(debugfs -R " +
         "'ls -p /lost+found' " + plain(options) + " 2>/dev/null | grep -c ^/[1-9])\" = 2 ]";
}

Disk covered(Disk disk, const std::string& format) {
  const std::filesystem::path source = disk.sources.front();
  disk.overlay = disk.folder + "/overlays";
  disk.untouched.push_back(source);
  disk.outside = {.options = "driver=qcow2,file.driver=file,file.filename=" + disk.overlay + "/" +
                             source.stem().string() + ".qcow2,backing.driver=" + format +
                             ",backing.file.driver=file,backing.file.filename=" + source.string(),
                  .checked = true};
  return disk;
}

void add_nested_stacks(std::vector<Stack>& list) {
  const Qcow2Options inner{.size = 4 * mib + 1536};
  list.push_back(nested("qcow2_in_ext4", {.inner = inner}));
  list.push_back(nested("qcow2_in_ext2_1k", {.inner = {.cluster = 4096, .size = 3 * mib},
                                             .filesystem = "-t ext2 -b 1024"}));
  list.push_back(nested("overlay_on_qcow2_in_ext4", {.inner = inner, .overlay = true}));
}

}  // namespace peelfs::test
