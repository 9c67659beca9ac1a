#include "world/namespaces.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <vector>

#include "mount/process.h"
#include "peelfs/error.h"

namespace peelfs::world {
namespace {

/// What the first process of the namespaces is given.
struct Start {
  const std::function<void()>* body = nullptr;
  Pipe* mapped = nullptr;
};

int begin(void* argument) {
  const Start& start = *static_cast<const Start*>(argument);
  start.mapped->writer.reset();
  char byte = 0;
  ssize_t got = 0;
  while ((got = ::read(start.mapped->reader.get(), &byte, 1)) < 0 && errno == EINTR) {
  }
  if (got != 1) return 0;
  start.mapped->reader.reset();
  (*start.body)();
  return 0;
}

bool write_text(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// Maps every user or group of this namespace to the same one; only root may do this.
std::string everybody(const char* map) {
  std::ifstream lines(map);
  std::string text;
  std::string inside;
  std::string outside;
  std::string count;
  while (lines >> inside >> outside >> count) {
    text.append(inside).append(" ").append(inside).append(" ").append(count).append("\n");
  }
  return text;
}

/// @return whether the users of a new namespace are known now
bool map_users(pid_t child) {
  const std::string folder = "/proc/" + std::to_string(child);
  if (write_text(folder + "/uid_map", everybody("/proc/self/uid_map"))) {
    return write_text(folder + "/gid_map", everybody("/proc/self/gid_map"));
  }
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  return write_text(folder + "/uid_map", user + " " + user + " 1\n") &&
         write_text(folder + "/setgroups", "deny") &&
         write_text(folder + "/gid_map", group + " " + group + " 1\n");
}

/// All of these are about files and processes of this world.
constexpr std::array kKept{
    CAP_CHOWN,      CAP_DAC_OVERRIDE, CAP_FOWNER,          CAP_FSETID, CAP_KILL,
    CAP_SETGID,     CAP_SETUID,       CAP_SETFCAP,         CAP_LEASE,  CAP_IPC_LOCK,
    CAP_SYS_CHROOT, CAP_SYS_NICE,     CAP_NET_BIND_SERVICE};

}  // namespace

pid_t start_in_namespaces(Users users, const std::function<void()>& body, std::string& why) {
  // The kernel lets only root map the users of a process that hides its memory.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  constexpr std::size_t kStack = 1U << 20U;
  std::vector<std::max_align_t> stack(kStack / sizeof(std::max_align_t));
  Pipe mapped = make_pipe();
  Start start{&body, &mapped};
  const int own_users = users == Users::same ? CLONE_NEWUSER : 0;
  const pid_t child = ::clone(begin, stack.data() + stack.size(),
                              CLONE_NEWNS | CLONE_NEWPID | own_users | SIGCHLD, &start);
  if (child < 0) {
    why = Error::system(errno, "no new namespaces").what();
    return -1;
  }
  mapped.reader.reset();
  if (users == Users::of_the_host || map_users(child)) {
    [[maybe_unused]] const ssize_t ignored = ::write(mapped.writer.get(), "", 1);
    return child;
  }
  why = Error::system(errno, "no users in a new namespace").what();
  mapped.writer.reset();
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return -1;
}

void drop_privileges() {
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) {
    throw Error::system(errno, "cannot ask for the privileges of this process");
  }
  const auto kept = [](int capability) {
    return std::find(kKept.begin(), kKept.end(), capability) != kKept.end();
  };
  constexpr int kMost = 63;
  for (int capability = 0; capability <= kMost; ++capability) {
    if (kept(capability) || ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 1) continue;
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      throw Error::system(errno, "cannot give up privileges");
    }
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (std::size_t word = 0; word < sets.size(); ++word) {
    std::uint32_t mask = 0;
    for (const int capability : kKept) {
      if (static_cast<std::size_t>(capability) / 32 == word) mask |= 1U << (capability % 32);
    }
    sets[word].effective &= mask;
    sets[word].permitted &= mask;
    sets[word].inheritable = 0;
  }
  if (::syscall(SYS_capset, &header, sets.data()) != 0 ||
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    throw Error::system(errno, "cannot give up privileges");
  }
  // The command runs as the same user. It must not trace this process, which says how it ended.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace peelfs::world
