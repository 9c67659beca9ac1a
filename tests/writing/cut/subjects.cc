#include "writing/cut/subjects.h"

#include "writing/nested_stack.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1U << 20U;

Subject overlay_on_raw() {
  return {"overlay_on_raw",
          [](const std::string& folder) {
            write_file(folder + "/disk.raw", pattern(2 * mib + 512, 5));
            must_run("fallocate -p -o 1M -l 300K " + shell_word(folder + "/disk.raw"));
          },
          [](const std::string& folder) {
            return covered({.folder = folder, .sources = {folder + "/disk.raw"}, .device = "disk"},
                           "raw");
          }};
}

Subject overlay_on_qcow2() {
  const Qcow2Options options{.cluster = 4096, .size = 2 * mib, .compressed = true};
  Subject subject = qcow2_subject("overlay_on_qcow2", options);
  subject.disk = [options](const std::string& folder) {
    return covered(qcow2_disk(folder, options), "qcow2");
  };
  return subject;
}

Subject nested(const std::string& name, const NestedOptions& options) {
  return {name, [options](const std::string& folder) { make_nested(folder, options); },
          [options](const std::string& folder) { return nested_disk(folder, options); },
          flatten_nested(options) + " && { " + repair_nested(options) + "; }", copy_nested(options),
          // The image cannot be written to before the filesystem is repaired, in the same overlay.
          options.overlay ? "PATH=$PATH:/usr/sbin:/sbin; e2fsck -fy whole || [ $? = 1 ]" : "",
          !options.overlay};
}

}  // namespace

std::vector<Subject> mounted_subjects() {
  const Qcow2Options inner{.cluster = 4096, .size = 2 * mib};
  return {
      qcow2_subject("qcow2", {.cluster = 4096, .size = 2 * mib, .snapshots = true}),
      overlay_on_raw(),
      overlay_on_qcow2(),
      nested("qcow2_in_ext4", {.inner = inner, .size = "12M"}),
      nested("qcow2_in_ext4_1k",
             {.inner = {.size = 2 * mib + 512}, .filesystem = "-t ext4 -b 1024", .size = "12M"}),
      nested("overlay_on_qcow2_in_ext4", {.inner = inner, .size = "12M", .overlay = true})};
}

std::string mount_arguments(const Disk& disk) {
  std::string arguments = disk.overlay.empty() ? "-o rw" : "-o overlay=" + shell_word(disk.overlay);
  for (const std::string& source : disk.sources) arguments += " " + shell_word(source);
  return arguments;
}

}  // namespace peelfs::test
