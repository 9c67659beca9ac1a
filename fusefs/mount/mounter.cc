#include "mount/mounter.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace peelfs {
namespace {

constexpr std::string_view kTypePrefix = "fuse.";

struct Flag {
  std::string_view name;
  unsigned long flag;
  bool on;
};
constexpr std::array kFlags{Flag{"ro", MS_RDONLY, true},       Flag{"rw", MS_RDONLY, false},
                            Flag{"nodev", MS_NODEV, true},     Flag{"dev", MS_NODEV, false},
                            Flag{"nosuid", MS_NOSUID, true},   Flag{"suid", MS_NOSUID, false},
                            Flag{"noexec", MS_NOEXEC, true},   Flag{"exec", MS_NOEXEC, false},
                            Flag{"noatime", MS_NOATIME, true}, Flag{"atime", MS_NOATIME, false},
                            Flag{"dirsync", MS_DIRSYNC, true}};

/// What mount(2) wants to know.
struct Request {
  std::string source = "peelfs";
  std::string type = "fuse";
  unsigned long flags = MS_NOSUID | MS_NODEV;
  std::string data;
};

/// @return whether it was one of the flags
bool set_flag(Request& request, std::string_view option) {
  for (const Flag& flag : kFlags) {
    if (flag.name != option) continue;
    request.flags = flag.on ? request.flags | flag.flag : request.flags & ~flag.flag;
    return true;
  }
  return false;
}

Request request_for(int connection, const FuseOptions& options) {
  Request request;
  request.data = "fd=" + std::to_string(connection) +
                 ",rootmode=40000,user_id=" + std::to_string(::getuid()) +
                 ",group_id=" + std::to_string(::getgid());
  for (const std::string& option : options.list) {
    if (set_flag(request, option)) continue;
    if (option.starts_with("fsname=")) {
      request.source = option.substr(7);
    } else if (option.starts_with("subtype=")) {
      request.type = std::string(kTypePrefix) + option.substr(8);
    } else {
      request.data += "," + option;
    }
  }
  return request;
}

/// @return -1 with errno
int mount_directly(const MountPoint& at, const FuseOptions& options) {
  UniqueFd connection(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!connection) return -1;
  const Request request = request_for(connection.get(), options);
  const std::string target = "/proc/self/fd/" + std::to_string(at.directory());
  if (::mount(request.source.c_str(), target.c_str(), request.type.c_str(), request.flags,
              request.data.c_str()) != 0) {
    const int problem = errno;
    connection.reset();
    errno = problem;
    return -1;
  }
  return connection.release();
}

/// fusermount3 sends the connection over the socket that it is told of.
int receive_descriptor(int socket) {
  char byte = 0;
  iovec text{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
  msghdr message{};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (got <= 0 || header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof(descriptor));
  return descriptor;
}

/// fusermount3 runs in the directory that is held open, so that it need not look it up by its path.
pid_t start_fusermount(const std::string& program, const std::string& options, int socket,
                       int directory) {
  constexpr int kSocketThere = STDERR_FILENO + 1;
  const std::string told = "_FUSE_COMMFD=" + std::to_string(kSocketThere);
  std::array<const char*, 6> argv{program.c_str(), "-o", options.c_str(), "--", ".", nullptr};
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::strncmp(*variable, "_FUSE_COMMFD=", 13) != 0) environment.push_back(*variable);
  }
  environment.push_back(const_cast<char*>(told.c_str()));
  environment.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addfchdir_np(&files, directory);
  posix_spawn_file_actions_adddup2(&files, socket, kSocketThere);
  pid_t child = -1;
  const int failure = posix_spawn(&child, program.c_str(), &files, nullptr,
                                  const_cast<char* const*>(argv.data()), environment.data());
  posix_spawn_file_actions_destroy(&files);
  errno = failure;
  return failure == 0 ? child : -1;
}

int mount_by_fusermount(const MountPoint& at, const FuseOptions& options, std::string& why) {
  std::string refused;
  const std::optional<std::string> program = find_program("fusermount3", &refused);
  if (!program) {
    why = "fusermount3: " + (refused.empty() ? "not found" : "not trusted: " + refused);
    return -1;
  }
  std::string list;
  for (const std::string& option : options.list) {
    list += (list.empty() ? "" : ",") + escape_option(option);
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    why = std::strerror(errno);
    return -1;
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t child = start_fusermount(*program, list, theirs.get(), at.directory());
  if (child < 0) {
    why = *program + ": " + std::strerror(errno);
    return -1;
  }
  theirs.reset();
  const int connection = receive_descriptor(ours.get());
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return connection;
}

}  // namespace

int mount_fuse(const MountPoint& at, const FuseOptions& options, std::string& why) {
  const int connection = mount_directly(at, options);
  if (connection >= 0) return connection;
  // Ordinary users may not, except in a user namespace of their own.
  if (errno == EPERM) {
    return mount_by_fusermount(at, options, why);
  }
  why = std::strerror(errno);
  return -1;
}

}  // namespace peelfs
