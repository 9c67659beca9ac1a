#include "world/world.h"

#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "peelfs/error.h"
#include "world/device_list.h"
#include "world/namespaces.h"
#include "world/originals.h"
#include "world/places.h"
#include "world/trees.h"

namespace peelfs::world {
namespace {

/// Relative paths would still lead to what is covered by now.
void enter_again(const std::string& directory) {
  if (directory.empty() || ::chdir(directory.c_str()) != 0) {
    [[maybe_unused]] const int ignored = ::chdir("/");
  }
}

std::string working_directory() {
  const std::unique_ptr<char, void (*)(void*)> here(::getcwd(nullptr, 0), std::free);
  return here == nullptr || *here != '/' ? "" : here.get();
}

class Words {
 public:
  explicit Words(const std::vector<std::string>& words) : words_(words) {}
  std::string text() { return next_ < words_.size() ? words_[next_++] : ""; }
  unsigned long long number() { return std::strtoull(text().c_str(), nullptr, 10); }

 private:
  const std::vector<std::string>& words_;
  std::size_t next_ = 0;
};

}  // namespace

std::string build(const Plan& plan) {
  const std::string directory = working_directory();
  try {
    keep_mounts_apart();
    // No device node on the host's filesystems can open a device any more.
    set_attributes("/", MOUNT_ATTR_NODEV, 0, true);
    mount_memory(plan.folder);
    make_dev(plan.folder);
    make_run(plan.folder, device_list(plan.devices));
    cover_sys(plan.folder);
    cover_proc(plan.folder);
    protect_originals(plan.originals, plan.mounted_from_originals);
    enter_again(directory);
    drop_privileges();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::vector<std::string> to_words(const Plan& plan) {
  std::vector<std::string> words{plan.folder, plan.mountpoint, std::to_string(plan.devices.size())};
  for (const ListedDevice& device : plan.devices) {
    words.insert(words.end(), {device.path, device.type, device.uuid, device.label});
  }
  words.push_back(std::to_string(plan.originals.size()));
  for (const Original& original : plan.originals) {
    words.insert(words.end(), {original.path, std::to_string(original.device),
                               std::to_string(original.inode), original.linked ? "1" : "0"});
  }
  words.push_back(std::to_string(plan.mounted_from_originals.size()));
  for (const dev_t device : plan.mounted_from_originals) words.push_back(std::to_string(device));
  return words;
}

Plan from_words(const std::vector<std::string>& list) {
  Words words(list);
  Plan plan;
  plan.folder = words.text();
  plan.mountpoint = words.text();
  plan.devices.resize(words.number());
  for (ListedDevice& device : plan.devices) {
    device.path = words.text();
    device.type = words.text();
    device.uuid = words.text();
    device.label = words.text();
  }
  plan.originals.resize(words.number());
  for (Original& original : plan.originals) {
    original.path = words.text();
    original.device = words.number();
    original.inode = words.number();
    original.linked = words.number() != 0;
  }
  plan.mounted_from_originals.resize(words.number());
  for (dev_t& device : plan.mounted_from_originals) device = words.number();
  return plan;
}

}  // namespace peelfs::world
