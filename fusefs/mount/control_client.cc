#include "mount/control_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "mount/holders.h"
#include "mount/mount.h"
#include "mount/preflight.h"
#include "mount/unmounter.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

using Clock = std::chrono::steady_clock;

/// For what blocks only when something has gone wrong: connecting, and sending a request.
constexpr timeval send_patience{10, 0};

/// Reads .peelfs/control. @return the errno of a failure, and else 0
int read_control(const std::string& mountpoint, std::array<char, 128>& text, std::size_t& size) {
  const UniqueFd file(
      ::open((mountpoint + "/.peelfs/control").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) {
    return errno;
  }
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got < 0) {
    return errno;
  }
  size = static_cast<std::size_t>(got);
  return 0;
}

/// Root may not enter another user's mount, but may become that user: in a child, which hands back
/// what it read.
int read_control_as_owner(const MountEntry& mount, std::array<char, 128>& text, std::size_t& size) {
  const auto user = mount.id_option("user_id");
  const auto group = mount.id_option("group_id");
  if (!user || !group) {
    return EACCES;
  }
  Pipe pipe = make_pipe();
  const pid_t child = ::fork();
  if (child < 0) {
    return errno;
  }
  if (child == 0) {
    const auto uid = static_cast<uid_t>(*user);
    const auto gid = static_cast<gid_t>(*group);
    int failure = EACCES;
    if (::setresgid(gid, gid, gid) == 0 && ::setresuid(uid, uid, uid) == 0) {
      failure = read_control(mount.mountpoint, text, size);
    }
    if (failure == 0 && ::write(pipe.writer.get(), text.data(), size) < 0) {
      failure = errno;
    }
    ::_exit(failure);
  }
  pipe.writer.reset();
  const ssize_t got = ::read(pipe.reader.get(), text.data(), text.size());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || got < 0) {
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EIO;
  }
  size = static_cast<std::size_t>(got);
  return 0;
}

std::string control_address(const MountEntry& mount) {
  std::array<char, 128> text{};
  std::size_t size = 0;
  int failure = read_control(mount.mountpoint, text, size);
  if (failure == EACCES && ::geteuid() == 0) {
    failure = read_control_as_owner(mount, text, size);
  }
  const std::string where = printable(mount.mountpoint);
  if (failure == EACCES || failure == EPERM) {
    throw Error(Fault::denied, "the mount at " + where + " belongs to somebody else")
        .found("user id " + std::to_string(mount.id_option("user_id").value_or(0)))
        .expected("yours, " + std::to_string(::geteuid()))
        .advice("do it as that user, or as root");
  }
  if (failure != 0) {
    throw Error::system(failure, "the process that serves " + where + " cannot be reached");
  }
  if (size < 3 || text[0] != '@' || text[size - 1] != '\n') {
    throw Error(Fault::damaged, where + "/.peelfs/control does not hold an address")
        .expected("'@' and a name");
  }
  return {text.data() + 1, size - 2};
}

bool receive(int socket, void* to, std::size_t size) {
  return size == 0 || ::recv(socket, to, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

bool send_whole(int socket, const void* from, std::size_t size) {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t sent = ::send(socket, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent <= 0) {
      return false;
    }
    at += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

MountEntry our_mount(const std::string& mountpoint) {
  const std::string path = resolve_mountpoint(mountpoint);
  std::optional<MountEntry> mount = find_mount(path);
  if (!mount || !mount->is_peelfs()) {
    throw Error(Fault::usage, "there is no mount of peelfs at " + printable(path))
        .with_errno(EINVAL)
        .found(mount ? "a mount of type " + printable(mount->type) : "no mount")
        .expected("one of type fuse.peelfs")
        .advice("findmnt -t fuse.peelfs lists them");
  }
  return *std::move(mount);
}

/// Unmounts, with some patience for a program (udisks, a file manager) that looks in for a moment.
void unmount_patiently(const MountEntry& mount, bool lazy) {
  for (int attempt = 0;; ++attempt) {
    try {
      unmount(mount.mountpoint, lazy);
      return;
    } catch (const Error& error) {
      if (error.error_number() != EBUSY) {
        throw;
      }
    }
    if (attempt == 4) {
      break;
    }
    ::usleep(100'000);
  }
  const std::string holders = describe_holders(mount.device, mount.mountpoint);
  throw Error(Fault::io, printable(mount.mountpoint) + " is in use")
      .with_errno(EBUSY)
      .found(holders.empty() ? "a process that this user may not see" : holders)
      .expected("no open files, no working directory and no loop device in it")
      .advice("end that first; peelfs umount --lazy detaches it at once and lets it end later");
}

}  // namespace

ControlClient::ControlClient(const MountEntry& mount) : mountpoint_(printable(mount.mountpoint)) {
  const std::string name = control_address(mount);
  sockaddr_un address{};
  if (name.size() >= sizeof(address.sun_path)) {
    throw Error(Fault::damaged, mountpoint_ + "/.peelfs/control does not hold an address")
        .found(std::to_string(name.size()) + " bytes");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &send_patience, sizeof(send_patience));
  if (!socket_ ||
      ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    const int failure = errno;
    throw Error::system(failure, "the process that serves " + mountpoint_ + " cannot be reached")
        .with_errno(failure == ECONNREFUSED ? ENOTCONN : failure)
        .advice("in a container with a network of its own, do it from where it was mounted");
  }
  // Keys go only to a process of the user whom the kernel names as the mount's.
  ucred peer{};
  socklen_t peer_size = sizeof(peer);
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0 ||
      peer.uid != mount.id_option("user_id").value_or(peer.uid)) {
    throw Error(Fault::denied, "somebody else answers for the mount at " + mountpoint_)
        .found("user id " + std::to_string(peer.uid))
        .expected("user id " + std::to_string(mount.id_option("user_id").value_or(0)))
        .advice("unmount it, and look into who made it");
  }
}

control::Answer ControlClient::ask(control::Verb verb, std::string_view text, Bytes key) {
  if (text.size() > control::text_limit || key.size() > control::key_limit) {
    throw Error(Fault::usage, text.size() > control::text_limit
                                  ? "the name of the device is too long"
                                  : "the key is too long")
        .found(std::to_string(std::max(text.size(), key.size())) + " bytes")
        .expected("at most " + std::to_string(text.size() > control::text_limit
                                                  ? control::text_limit
                                                  : control::key_limit));
  }
  control::RequestHeader request;
  request.verb = verb;
  request.text = static_cast<std::uint32_t>(text.size());
  request.key = static_cast<std::uint32_t>(key.size());
  control::AnswerHeader header;
  control::Answer answer;
  // One who is refused finds the connection closed while sending, and the reason in it all the
  // same.
  static_cast<void>(send_whole(socket_.get(), &request, sizeof(request)) &&
                    send_whole(socket_.get(), text.data(), text.size()) &&
                    send_whole(socket_.get(), key.data(), key.size()));
  bool whole = receive(socket_.get(), &header, sizeof(header)) && header.magic == control::magic &&
               header.text <= control::answer_limit;
  if (whole) {
    answer.outcome = header.outcome;
    answer.fault = header.fault;
    answer.error_number = header.error_number;
    answer.text.resize(header.text);
    whole = receive(socket_.get(), answer.text.data(), answer.text.size());
  }
  if (!whole) {
    throw Error(Fault::io, "the process that serves " + mountpoint_ + " did not answer")
        .with_errno(ENOTCONN)
        .advice("it has ended, or is too busy; its log says more");
  }
  if (answer.outcome == control::Outcome::failed) {
    const auto fault = answer.fault <= static_cast<std::uint32_t>(Fault::usage)
                           ? static_cast<Fault>(answer.fault)
                           : Fault::io;
    throw Error(fault, answer.text).with_errno(answer.error_number);
  }
  return answer;
}

bool ControlClient::wait_for_end(std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd end{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&end, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) {
      char byte = 0;
      if (::recv(socket_.get(), &byte, 1, 0) <= 0) {
        return true;
      }
    } else if (ready == 0 || errno != EINTR) {
      return false;
    }
  }
}

void request_unmount(const std::string& mountpoint, const UnmountOptions& options) {
  const MountEntry mount = our_mount(mountpoint);
  std::optional<ControlClient> client;
  try {
    client.emplace(mount);
    client->ask(control::Verb::unmount);
  } catch (const Error& error) {
    const bool gone = error.error_number() == ENOTCONN || error.error_number() == ECONNABORTED;
    // What could not be flushed is lost sooner or later: whoever insists is told all the same.
    if (!gone && options.lazy && client) {
      unmount_patiently(mount, true);
    }
    if (!gone) {
      throw;
    }
    // With no process left there is nothing to flush and nothing to wait for.
    client.reset();
  }
  unmount_patiently(mount, options.lazy || !client);
  if (client && !options.lazy && !client->wait_for_end(options.timeout)) {
    throw Error(Fault::io,
                printable(mount.mountpoint) + " is unmounted, but its process has not ended")
        .with_errno(ETIMEDOUT)
        .found("it still has its sources open after " + std::to_string(options.timeout.count()) +
               " s")
        .advice("a source may hang (a network disk?); look for the process with: pgrep -a peelfs");
  }
}

std::optional<std::string> request_unlock(const std::string& mountpoint, const std::string& name,
                                          Secret key) {
  ControlClient client(our_mount(mountpoint));
  const control::Answer answer = client.ask(control::Verb::unlock, name, key.bytes());
  if (answer.outcome == control::Outcome::done) {
    return std::nullopt;
  }
  return answer.text;
}

std::vector<std::string> request_locked(const std::string& mountpoint) {
  ControlClient client(our_mount(mountpoint));
  const std::string text = client.ask(control::Verb::locked).text;
  std::vector<std::string> names;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

}  // namespace peelfs
