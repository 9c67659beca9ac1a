// Where the kernel is asked; host_uses() makes sense of the answers.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "host/in_use.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

/// The kernel's huge_encode_dev().
dev_t decoded(std::uint64_t device) {
  return makedev(static_cast<unsigned>((device >> 8U) & 0xfffU),
                 static_cast<unsigned>((device & 0xffU) | ((device >> 12U) & 0xfff00U)));
}

}  // namespace

std::vector<BlockNode> HostView::blocks() const {
  return read_block_table("/sys");
}

std::vector<MountEntry> HostView::mounts() const {
  return read_mounts();
}

std::string HostView::swaps() const {
  std::ifstream file("/proc/swaps");
  std::string text;
  std::getline(file, text, '\0');
  return text;
}

std::optional<FileId> HostView::identity(const std::string& path) const {
  return identity_of(path);
}

std::optional<FileId> HostView::backing(const BlockNode& loop) const {
  const int fd = ::open(loop.path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0) {
    loop_info64 info{};
    // The device number proves that this is the device that was meant: /dev may hold anything.
    const auto opened = identity_of(fd);
    const bool answered =
        opened == FileId{true, loop.device, 0} && ::ioctl(fd, LOOP_GET_STATUS64, &info) == 0;
    ::close(fd);
    if (answered && info.lo_inode != 0) {
      if (info.lo_rdevice != 0) return FileId{true, decoded(info.lo_rdevice), 0};
      return FileId{false, decoded(info.lo_device), static_cast<ino_t>(info.lo_inode)};
    }
  }
  return identity_of(loop.backing_file);
}

std::vector<std::string> HostView::filesystem_members(const BlockNode& node) const {
  std::error_code failed;
  for (fs::directory_iterator at("/sys/fs/btrfs", failed), end; !failed && at != end;
       at.increment(failed)) {
    std::vector<std::string> names;
    std::error_code unreadable;
    for (fs::directory_iterator one(at->path() / "devices", unreadable), last;
         !unreadable && one != last; one.increment(unreadable)) {
      names.push_back(one->path().filename().string());
    }
    if (std::find(names.begin(), names.end(), node.name) != names.end()) return names;
  }
  return {};
}

bool HostView::has_open(pid_t process, const FileId& file) const {
  std::error_code failed;
  for (fs::directory_iterator at("/proc/" + std::to_string(process) + "/fd", failed), end;
       !failed && at != end; at.increment(failed)) {
    if (identity_of(at->path().string()) == file) return true;
  }
  return false;
}

std::vector<BlockNode> SeenHost::blocks() const {
  if (!blocks_) blocks_ = HostView::blocks();
  return *blocks_;
}

std::vector<MountEntry> SeenHost::mounts() const {
  if (!mounts_) mounts_ = HostView::mounts();
  return *mounts_;
}

std::optional<FileId> SeenHost::backing(const BlockNode& loop) const {
  const auto known = backings_.find(loop.device);
  if (known != backings_.end()) return known->second;
  return backings_.emplace(loop.device, HostView::backing(loop)).first->second;
}

std::string SeenHost::swaps() const {
  if (!swaps_) swaps_ = HostView::swaps();
  return *swaps_;
}

}  // namespace peelfs
