#include "cli/isolation.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace peelfs::cli {
namespace {

constexpr std::array kNodes{"null", "zero", "full", "random", "urandom", "tty"};

std::string failure(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

bool write_text(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return whole;
}

/// @return "" or what failed
std::string leave_namespaces() {
  if (::unshare(CLONE_NEWNS) == 0) return "";
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  // The kernel lets a process that hides its memory write no map of users.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return failure("no user namespace");
  const std::string users = std::to_string(user) + " " + std::to_string(user) + " 1\n";
  const std::string groups = std::to_string(group) + " " + std::to_string(group) + " 1\n";
  if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", users) ||
      !write_text("/proc/self/gid_map", groups)) {
    return failure("no user in the new namespace");
  }
  return "";
}

bool bind(const std::string& from, const std::string& to, unsigned long more = 0) {
  return ::mount(from.c_str(), to.c_str(), nullptr, MS_BIND | more, nullptr) == 0;
}

/// Shows one entry of a directory at another place: the real one, whatever lies below it.
void show_entry(const std::filesystem::directory_entry& entry, const std::string& to) {
  std::error_code ignored;
  if (entry.is_symlink(ignored)) {
    std::filesystem::copy_symlink(entry.path(), to, ignored);
  } else if (entry.is_directory(ignored)) {
    if (::mkdir(to.c_str(), 0755) == 0) bind(entry.path(), to, MS_REC);
  } else {
    const int fd = ::open(to.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
    bind(entry.path(), to);
  }
}

/// Puts a directory in the place of /run/blkid. Only root makes that one, and may not have come to
/// it yet: then all of /run is shown again, with ours in it.
bool show_as_run_blkid(const std::string& own, const std::string& folder) {
  if (bind(own, "/run/blkid")) return true;
  const std::string run = folder + "/run";
  if (::mkdir(run.c_str(), 0755) != 0 ||
      ::mount("tmpfs", run.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") != 0) {
    return false;
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/run", error)) {
    show_entry(entry, run + "/" + entry.path().filename().string());
  }
  const std::string blkid = run + "/blkid";
  return !error && ::mkdir(blkid.c_str(), 0755) == 0 && bind(own, blkid) &&
         bind(run, "/run", MS_REC);
}

}  // namespace

std::string hide_devices(const std::string& folder) {
  if (std::string why = leave_namespaces(); !why.empty()) return why;
  // Unmounting outside still reaches in here, nothing reaches out.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return failure("mounts stay shared");
  }
  const std::string dev = folder + "/dev";
  if (::mkdir(dev.c_str(), 0755) != 0 ||
      ::mount("tmpfs", dev.c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m") != 0) {
    return failure("no empty /dev");
  }
  for (const char* const name : kNodes) {
    const std::string node = dev + "/" + name;
    const int fd = ::open(node.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
    if (fd < 0 || !bind(std::string("/dev/") + name, node)) {
      return failure("/dev/" + std::string(name));
    }
  }
  for (const char* const name : {"pts", "shm"}) {
    const std::string at = dev + "/" + name;
    // Not everywhere there, and not needed by most.
    if (::mkdir(at.c_str(), 0755) == 0) bind(std::string("/dev/") + name, at, MS_REC);
  }
  [[maybe_unused]] int ignored = ::symlink("/proc/self/fd", (dev + "/fd").c_str());
  ignored = ::symlink("/proc/self/fd/0", (dev + "/stdin").c_str());
  ignored = ::symlink("/proc/self/fd/1", (dev + "/stdout").c_str());
  ignored = ::symlink("/proc/self/fd/2", (dev + "/stderr").c_str());
  ignored = ::symlink("pts/ptmx", (dev + "/ptmx").c_str());
  if (!bind(dev, "/dev", MS_REC)) return failure("/dev stays as it is");
  return "";
}

std::string write_device_list(const std::string& folder, const std::vector<std::string>& members) {
  const std::string own = folder + "/blkid";
  ::mkdir(own.c_str(), 0700);
  const std::string path = own + "/blkid.tab";
  std::ofstream list(path);
  for (const std::string& member : members) {
    list << R"(<device DEVNO="0x0000" TIME="1.0" PRI="0" TYPE="btrfs">)" << member << "</device>\n";
  }
  if (!list.flush()) return "";
  // libblkid trusts the environment of root only; for all others it looks in its usual place.
  if (!show_as_run_blkid(own, folder) && ::geteuid() != 0) return "";
  return path;
}

}  // namespace peelfs::cli
