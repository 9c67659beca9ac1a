#include "peelfs/parent.h"

#include <algorithm>

#include "peelfs/error.h"

namespace peelfs {

namespace {

Error unreadable_format(std::string_view format) {
  return Error(Fault::unsupported,
               "backing files of format '" + std::string(format) + "' cannot be read")
      .expected("raw, qcow2, or another format of disk images that peelfs opens")
      .advice("qemu-img convert makes one image of the whole chain");
}

/// "os43.vhd" of "/images/os43.vhd".
std::string file_name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

void check_parent(std::span<const Origin> children, const Origin& file, const std::string& name) {
  if (children.size() >= kMostParents) {
    throw Error(Fault::unsupported, "the backing chain is too long")
        .found("more than " + std::to_string(kMostParents) + " images")
        .advice("qemu-img rebase or qemu-img convert shortens it");
  }
  if (std::find(children.begin(), children.end(), file) != children.end()) {
    throw Error(Fault::damaged, "the backing chain is a loop: it leads back to " + name);
  }
}

Parent open_parent(const References::Found& file, std::string_view format, const OpenInput& child,
                   std::span<const Origin> children) {
  const Layer* const row = child.formats == nullptr ? nullptr : child.formats->image_row(format);
  if (row == nullptr) throw unreadable_format(format);
  check_parent(children, origin_of(*file.device), printable(file.name));

  const Identity nothing;
  const auto claim = row->probe({*file.device, nothing});
  if (!claim) {
    throw Error(Fault::damaged, printable(file.name) + " is no " + std::string(format) + " image")
        .found("other bytes than that format begins with")
        .expected("the format that the image which builds on it names")
        .advice(
            "qemu-img info shows what it is; qemu-img rebase -u -F FORMAT changes the name of "
            "the format, on a copy");
  }
  const std::string file_name = file_name_of(file.name);
  const std::string stem = child.formats->strip_image_suffix(file_name);
  const Member member{file.device, &*claim, stem, stem, true, file.references};
  OpenInput input = child;
  input.members = {&member, 1};
  input.directive = nullptr;
  input.children = children;
  input.memory = nullptr;
  Opened opened = row->open(input);
  if (opened.devices.empty()) throw unreadable_format(format);
  Inner& disk = opened.devices.front();
  Parent parent{std::move(disk.device), std::move(disk.parts), {}};
  if (disk.trouble) parent.troubles.add(disk.trouble->state, disk.trouble->reason);
  if (opened.trouble) parent.troubles.add(opened.trouble->state, opened.trouble->reason);
  return parent;
}

}  // namespace peelfs
