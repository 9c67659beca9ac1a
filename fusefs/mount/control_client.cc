#include "mount/control_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <vector>

#include "mount/holders.h"
#include "mount/mount.h"
#include "mount/preflight.h"
#include "mount/unmounter.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

using Clock = std::chrono::steady_clock;

/// How long a lazy unmount waits for what was written to be flushed.
constexpr std::chrono::seconds kLazyPatience{5};

/// The names of the control sockets that could be a mount's. The kernel's list, and not a file in
/// the mount: a process that hangs answers for no file.
std::vector<std::string> socket_names(const MountEntry& mount) {
  const std::string wanted = "@" + control::name_prefix(mount.device);
  std::vector<std::string> names;
  std::ifstream sockets("/proc/net/unix");
  std::string line;
  while (std::getline(sockets, line)) {
    const std::size_t at = line.rfind(' ');
    const std::string_view path = std::string_view(line).substr(at == line.npos ? 0 : at + 1);
    if (path.starts_with(wanted)) names.emplace_back(path.substr(1));
  }
  // Connections have the name of the socket that they were made to.
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

/// Waits until something can be read or written, or the time is over.
bool wait_for(int socket, short events, Clock::time_point deadline) {
  constexpr std::int64_t kHour = 3'600'000;  // poll(2) counts no more than 24 days
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const auto wait = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kHour));
    pollfd watched{socket, events, 0};
    const int ready = ::poll(&watched, 1, wait);
    if (ready > 0) return true;
    if ((ready == 0 && wait < kHour) || (ready < 0 && errno != EINTR)) return false;
  }
}

/// A connection to a socket, without waiting for longer than until `deadline`. @return 0 or an
/// errno
int connect_to(const std::string& name, Clock::time_point deadline, UniqueFd& socket) {
  sockaddr_un address{};
  if (name.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  socket.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // EAGAIN: the queue of the socket is full, as it is sooner or later when the process hangs.
  // Nothing tells when there is room.
  while (!socket ||
         ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    if (!socket || (errno != EAGAIN && errno != EINTR)) return errno;
    if (Clock::now() >= deadline) return ETIMEDOUT;
    ::usleep(20'000);
  }
  return 0;
}

/// @return 0, or an errno: ETIMEDOUT, or ECONNRESET when the other end has closed it
int receive(int socket, void* to, std::size_t size, Clock::time_point deadline) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = ::recv(socket, at, size, 0);
    if (got > 0) {
      at += got;
      size -= static_cast<std::size_t>(got);
    } else if (got == 0) {
      return ECONNRESET;
    } else if (errno == EAGAIN) {
      if (!wait_for(socket, POLLIN, deadline)) return ETIMEDOUT;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

bool send_whole(int socket, const void* from, std::size_t size, Clock::time_point deadline) {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t sent = ::send(socket, at, size, MSG_NOSIGNAL);
    if (sent > 0) {
      at += sent;
      size -= static_cast<std::size_t>(sent);
    } else if (sent < 0 && errno == EAGAIN) {
      if (!wait_for(socket, POLLOUT, deadline)) return false;
    } else if (sent == 0 || errno != EINTR) {
      return false;
    }
  }
  return true;
}

uid_t owner_of(const MountEntry& mount) {
  return static_cast<uid_t>(mount.id_option("user_id").value_or(0));
}

/// The process serves only the user who mounted, and root. Refuses others here, with the same
/// error, instead of asking.
void check_owner(const MountEntry& mount) {
  if (::geteuid() == 0 || ::geteuid() == owner_of(mount)) return;
  throw Error(Fault::denied,
              "the mount at " + printable(mount.mountpoint) + " belongs to somebody else")
      .found("user id " + std::to_string(owner_of(mount)))
      .expected("yours, " + std::to_string(::geteuid()))
      .advice("do it as that user, or as root");
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

/// The pieces of a text that each end with `end`, without it.
std::vector<std::string> pieces(const std::string& text, char end) {
  std::vector<std::string> found;
  std::size_t begin = 0;
  for (std::size_t at = text.find(end); at != std::string::npos; at = text.find(end, begin)) {
    found.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  return found;
}

/// Unmounts, with some patience for a program (udisks, a file manager) that uses the mount for a
/// moment.
void unmount_patiently(const MountEntry& mount, bool lazy) {
  for (int attempt = 0;; ++attempt) {
    try {
      unmount(mount.mountpoint, lazy);
      return;
    } catch (const Error& error) {
      if (error.error_number() != EBUSY) throw;
    }
    if (attempt == 4) break;
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

ControlClient::ControlClient(const MountEntry& mount, Clock::time_point deadline)
    : mount_(mount), mountpoint_(printable(mount.mountpoint)), deadline_(deadline) {
  check_owner(mount);
  connect();
}

void ControlClient::connect() {
  int failure = ENOTCONN;
  std::optional<uid_t> somebody;
  for (const std::string& name : socket_names(mount_)) {
    if (std::ranges::find(tried_, name) != tried_.end()) continue;
    tried_.push_back(name);
    failure = connect_to(name, quiet_until(), socket_);
    if (failure != 0) continue;
    // Keys are sent only to a process of the user who owns the mount, as the kernel says. Any user
    // may give a socket this name.
    ucred peer{};
    socklen_t peer_size = sizeof(peer);
    if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0 &&
        peer.uid == owner_of(mount_)) {
      process_ = peer.pid;
      return;
    }
    somebody = peer.uid;
  }
  if (somebody) {
    throw Error(Fault::denied, "somebody else answers for the mount at " + mountpoint_)
        .found("user id " + std::to_string(*somebody))
        .expected("user id " + std::to_string(owner_of(mount_)))
        .advice("unmount it, and look into who made it");
  }
  throw Error::system(failure, "the process that serves " + mountpoint_ + " cannot be reached")
      .with_errno(failure == ECONNREFUSED ? ENOTCONN : failure)
      .advice("in a container with a network of its own, do it from where it was mounted");
}

// The kernel gives the number of a mount that is gone to the next one. The process that served the
// former may still be ending, and have its socket open.
bool ControlClient::connect_to_another() {
  try {
    connect();
    return true;
  } catch (const Error&) {
    return false;
  }
}

ControlClient::Clock::time_point ControlClient::quiet_until() const {
  return std::min(deadline_, Clock::now() + control::kSilenceLimit);
}

Error ControlClient::no_answer(int failure) const {
  if (failure != ETIMEDOUT) {
    return Error(Fault::io, "the process that serves " + mountpoint_ + " did not answer")
        .with_errno(ENOTCONN)
        .advice("it has ended; its log says more");
  }
  const std::string process = std::to_string(process_);
  if (Clock::now() >= deadline_) {
    return Error(Fault::io, "the process that serves " + mountpoint_ + " has not finished in time")
        .with_errno(ETIMEDOUT)
        .found("process " + process + " still at work")
        .advice("a source may hang (a network disk?); peelfs umount --lazy does not wait for it");
  }
  return Error(Fault::io, "the process that serves " + mountpoint_ + " does not answer")
      .with_errno(ETIMEDOUT)
      .found("process " + process + " silent for " +
             std::to_string(control::kSilenceLimit.count()) + " s")
      .expected("an answer, or at least a sign of life every second")
      .advice("it may be stopped: see its state with 'ps " + process +
              "'; peelfs umount --lazy frees the mount point all the same");
}

control::Answer ControlClient::ask(control::Verb verb, std::string_view text, Bytes key,
                                   KeyKind key_kind) {
  if (text.size() > control::kTextLimit || key.size() > control::kKeyLimit) {
    throw Error(Fault::usage, text.size() > control::kTextLimit
                                  ? "the name of the device is too long"
                                  : "the key is too long")
        .found(std::to_string(std::max(text.size(), key.size())) + " bytes")
        .expected("at most " + std::to_string(text.size() > control::kTextLimit
                                                  ? control::kTextLimit
                                                  : control::kKeyLimit));
  }
  control::RequestHeader request;
  request.verb = verb;
  request.text = static_cast<std::uint32_t>(text.size());
  request.key = static_cast<std::uint32_t>(key.size());
  request.key_kind = static_cast<std::uint16_t>(key_kind);
  control::AnswerHeader header;
  int failure = 0;
  bool is_alive = false;
  do {
    // If the process refuses the client, sending finds the connection closed, and the reason can
    // still be received.
    const int socket = socket_.get();
    static_cast<void>(send_whole(socket, &request, sizeof(request), quiet_until()) &&
                      send_whole(socket, text.data(), text.size(), quiet_until()) &&
                      send_whole(socket, key.data(), key.size(), quiet_until()));
    do {
      failure = receive(socket, &header, sizeof(header), quiet_until());
      if (failure == 0 && Clock::now() >= deadline_) failure = ETIMEDOUT;
      is_alive = is_alive || failure == 0;
    } while (failure == 0 && header.outcome == control::Outcome::working);
    // A process that was asked to unmount may have ended for that. Nothing else is unmounted.
  } while (failure == ECONNRESET && !is_alive && verb != control::Verb::unmount &&
           connect_to_another());
  if (failure == 0 && (header.magic != control::kMagic || header.text > control::kAnswerLimit)) {
    failure = EPROTO;
  }
  control::Answer answer;
  if (failure == 0) {
    answer.outcome = header.outcome;
    answer.fault = header.fault;
    answer.error_number = header.error_number;
    answer.text.resize(header.text);
    failure = receive(socket_.get(), answer.text.data(), answer.text.size(), quiet_until());
  }
  if (failure != 0) {
    throw no_answer(failure);
  }
  if (answer.outcome == control::Outcome::failed) {
    const auto fault = answer.fault <= static_cast<std::uint32_t>(Fault::usage)
                           ? static_cast<Fault>(answer.fault)
                           : Fault::io;
    throw Error(fault, answer.text).with_errno(answer.error_number);
  }
  return answer;
}

bool ControlClient::wait_for_end() {
  for (;;) {
    if (!wait_for(socket_.get(), POLLIN, deadline_)) return false;
    char byte = 0;
    const ssize_t got = ::recv(socket_.get(), &byte, 1, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return true;
  }
}

void request_unmount(const std::string& mountpoint, const UnmountOptions& options) {
  const MountEntry mount = our_mount(mountpoint);
  const Clock::time_point end = Clock::now() + options.timeout;
  std::optional<ControlClient> client;
  try {
    // A lazy unmount does not wait for the end, but gives the process a moment to flush.
    client.emplace(mount, options.lazy ? std::min(end, Clock::now() + kLazyPatience) : end);
    client->ask(control::Verb::unmount);
  } catch (const Error& error) {
    const bool gone = error.error_number() == ENOTCONN || error.error_number() == ECONNABORTED;
    const bool silent = error.error_number() == ETIMEDOUT;
    // A lazy unmount goes on although writes could not be flushed, and will be lost; the user is
    // told.
    if (!gone && options.lazy && (client || silent)) {
      unmount_patiently(mount, true);
      if (!silent) {
        throw Error(error.fault(),
                    printable(mount.mountpoint) + " is detached, but " + error.what())
            .with_errno(error.error_number());
      }
      if (mount.is_read_only()) {
        return;  // there is nothing to lose
      }
      throw Error(Fault::io, printable(mount.mountpoint) +
                                 " is detached, but its process has not said that it has flushed "
                                 "what was written")
          .with_errno(ETIMEDOUT)
          .advice(
              "what is not flushed yet is lost if the process is killed, or the host stops, before "
              "it goes on; look for it with: pgrep -a peelfs");
    }
    if (!gone) throw;
    // With no process left there is nothing to flush and nothing to wait for.
    client.reset();
  }
  unmount_patiently(mount, options.lazy || !client);
  if (client && !options.lazy && !client->wait_for_end()) {
    throw Error(Fault::io,
                printable(mount.mountpoint) + " is unmounted, but its process has not ended")
        .with_errno(ETIMEDOUT)
        .found("it still has its sources open after " + std::to_string(options.timeout.count()) +
               " s")
        .advice("a source may hang (a network disk?); look for the process with: pgrep -a peelfs");
  }
}

std::optional<std::string> request_unlock(const std::string& mountpoint, const std::string& name,
                                          const Credential& key) {
  ControlClient client(our_mount(mountpoint), Clock::time_point::max());
  const control::Answer answer =
      client.ask(control::Verb::unlock, name, key.secret->bytes(), key.kind);
  if (answer.outcome == control::Outcome::done) return std::nullopt;
  return answer.text;
}

std::vector<std::string> request_opened(const MountEntry& mount) {
  ControlClient client(mount, Clock::now() + control::kSilenceLimit);
  return pieces(client.ask(control::Verb::opened).text, '\0');
}

std::string request_status(const MountEntry& mount, bool with_tree, std::chrono::seconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  try {
    return ControlClient(mount, deadline).ask(control::Verb::status, with_tree ? "tree" : "").text;
  } catch (const Error& error) {
    // It has nothing to ask a source for: that it has not said so in time is no long work.
    if (error.error_number() == ETIMEDOUT) {
      throw Error(Fault::io,
                  "the process that serves " + printable(mount.mountpoint) + " does not answer")
          .with_errno(ETIMEDOUT)
          .found("nothing for " + std::to_string(patience.count()) + " s")
          .advice("it may be stopped; peelfs umount --lazy does not wait for it");
    }
    if (error.error_number() != ENOTCONN) throw;
  }
  // It has ended, or does not know the question.
  ControlClient(mount, deadline).ask(control::Verb::ping);
  throw Error(Fault::unsupported, "the process that serves " + printable(mount.mountpoint) +
                                      " does not know the question what it shows")
      .advice(
          "it is an older peelfs: its .peelfs/status.json tells, or unmount it and mount it anew");
}

std::vector<std::string> request_locked(const std::string& mountpoint) {
  ControlClient client(our_mount(mountpoint), Clock::time_point::max());
  return pieces(client.ask(control::Verb::locked).text, '\n');
}

}  // namespace peelfs
