#include "mount/control_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>

#include "mount/log.h"
#include "peelfs/error.h"

namespace peelfs {

std::string control::name_prefix(dev_t device) {
  return "peelfs-" + std::to_string(major(device)) + ":" + std::to_string(minor(device)) + "-";
}

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kConnectionLimit = 32;
/// For a whole request to arrive, and for a whole answer to be taken.
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kStopPatience{3000};

std::string random_name(dev_t device) {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error::system(errno, "cannot get random bytes for the control socket");
  }
  std::string name = control::name_prefix(device);
  for (const unsigned char byte : bytes) {
    name += "0123456789abcdef"[byte >> 4U];
    name += "0123456789abcdef"[byte & 15U];
  }
  return name;
}

void signal_event(const UniqueFd& event) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(event.get(), &one, sizeof(one));
}

UniqueFd make_event() {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) throw Error::system(errno, "cannot make an event descriptor");
  return event;
}

bool may_command(int connection) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == ::geteuid());
}

/// Writes all of it to a socket that does not block, or gives up.
bool send_all(int socket, std::string_view bytes) noexcept {
  const Clock::time_point deadline = Clock::now() + kPatience;
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd writable{socket, POLLOUT, 0};
    if (left.count() <= 0 || ::poll(&writable, 1, static_cast<int>(left.count())) < 0) return false;
  }
  return true;
}

bool send_answer(int socket, control::Answer answer) noexcept {
  if (answer.text.size() > control::kAnswerLimit) answer.text.resize(control::kAnswerLimit);
  control::AnswerHeader header;
  header.outcome = answer.outcome;
  header.fault = answer.fault;
  header.error_number = answer.error_number;
  header.text = static_cast<std::uint32_t>(answer.text.size());
  const std::string_view head(reinterpret_cast<const char*>(&header), sizeof(header));
  return send_all(socket, head) && send_all(socket, answer.text);
}

}  // namespace

/// A client whose request is on its way, or is being handled.
struct ControlServer::Connection {
  UniqueFd socket;
  Clock::time_point deadline;  ///< for the request; then, when to say that it is being handled
  control::RequestHeader header;
  std::size_t have = 0;  ///< bytes of header, text and key so far
  control::Request request;
  bool handling = false;             ///< another thread works on it
  std::atomic<bool> handled{false};  ///< that thread is done
  control::Answer answer;

  std::size_t expected() const noexcept {
    return have < sizeof(header) ? sizeof(header)
                                 : sizeof(header) + request.text.size() + request.key.size();
  }
  /// Where the next bytes go.
  MutableBytes room() noexcept {
    if (have < sizeof(header)) {
      return {reinterpret_cast<std::byte*>(&header) + have, sizeof(header) - have};
    }
    const std::size_t in_text = have - sizeof(header);
    if (in_text < request.text.size()) {
      return {reinterpret_cast<std::byte*>(request.text.data()) + in_text,
              request.text.size() - in_text};
    }
    return request.key.writable().subspan(in_text - request.text.size());
  }
  /// Makes room for what the header announces. @return false when it announces nonsense
  bool take_header() {
    using control::Verb;
    if (header.magic != control::kMagic || header.verb < Verb::ping || header.verb > Verb::status ||
        header.text > control::kTextLimit || header.key > control::kKeyLimit ||
        header.key_kind > static_cast<std::uint16_t>(KeyKind::volume_key)) {
      return false;
    }
    request.verb = header.verb;
    request.key_kind = static_cast<KeyKind>(header.key_kind);
    request.text.resize(header.text);
    request.key = Secret(std::size_t{header.key});
    return true;
  }
};

ControlServer::ControlServer(dev_t device)
    : stopping_(make_event()), stopped_(make_event()), handled_(make_event()) {
  listening_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::string name = random_name(device);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(),
              name.size());  // a leading NUL: the abstract namespace
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (!listening_ ||
      ::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(listening_.get(), 16) != 0) {
    throw Error::system(errno, "cannot make the control socket");
  }
}

ControlServer::~ControlServer() {
  // The handlers use objects that are destroyed next; a key derivation that cannot be stopped must
  // not see that.
  if (!stop()) ::_exit(1);
}

void ControlServer::start(Handler handler) {
  handler_ = std::move(handler);
  unlocking_ = std::make_unique<TaskThread>();
  flushing_ = std::make_unique<TaskThread>();
  thread_ = std::thread([this] { run(); });
}

bool ControlServer::stop() noexcept {
  if (!thread_.joinable()) return true;
  signal_event(stopping_);
  const Clock::time_point deadline = Clock::now() + kStopPatience;
  pollfd ended{stopped_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&ended, 1, static_cast<int>(kStopPatience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0 || !unlocking_->abandon(deadline) || !flushing_->abandon(deadline)) return false;
  thread_.join();
  connections_.clear();
  listening_.reset();
  return true;
}

std::vector<UniqueFd> ControlServer::take_waiting() {
  return std::move(waiting_);
}

void ControlServer::run() noexcept {
  try {
    serve_until_stopped();
  } catch (const std::exception& error) {
    log_message(LogLevel::error, std::string("the control socket has ended: ") + error.what());
  }
  signal_event(stopped_);
}

void ControlServer::serve_until_stopped() {
  std::vector<pollfd> watched;
  for (;;) {
    watched.assign({{stopping_.get(), POLLIN, 0}, {handled_.get(), POLLIN, 0}});
    // When all places are taken, new clients wait in the kernel's queue.
    watched.push_back({connections_.size() < kConnectionLimit ? listening_.get() : -1, POLLIN, 0});
    const std::size_t fixed = watched.size();
    int timeout = -1;
    const Clock::time_point now = Clock::now();
    for (const auto& connection : connections_) {
      // A client whose request is being handled sends nothing.
      watched.push_back({connection->handling ? -1 : connection->socket.get(), POLLIN, 0});
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(connection->deadline - now);
      const int wait = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
      timeout = timeout < 0 ? wait : std::min(timeout, wait);
    }
    if (::poll(watched.data(), watched.size(), timeout) < 0 && errno != EINTR) {
      throw Error::system(errno, "poll failed");
    }
    if (watched[0].revents != 0) return;
    std::uint64_t ignored = 0;
    static_cast<void>(::read(handled_.get(), &ignored, sizeof(ignored)) > 0);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = *connections_[i];
      bool keep = true;
      if (connection.handled.load(std::memory_order_acquire)) {
        finish(connection);
        keep = false;
      } else if (connection.handling) {
        keep = say_working(connection);
      } else {
        keep = watched[i + fixed].revents != 0 ? advance(connections_[i])
                                               : Clock::now() < connection.deadline;
      }
      if (!keep) connections_[i].reset();
    }
    std::erase(connections_, nullptr);
    if (watched[2].revents != 0) accept_all();
  }
}

void ControlServer::accept_all() {
  while (connections_.size() < kConnectionLimit) {
    UniqueFd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (!may_command(socket.get())) {
      std::uint64_t suppressed = 0;
      if (refusals_.allow(suppressed)) {
        log_message(LogLevel::warning,
                    "somebody else's connection to the control socket was refused" +
                        (suppressed == 0 ? std::string()
                                         : ", and " + std::to_string(suppressed) + " before it"));
      }
      send_answer(socket.get(),
                  {control::Outcome::failed, static_cast<std::uint32_t>(Fault::denied), EACCES,
                   "only the user who mounted it, and root, may do this"});
      continue;
    }
    auto connection = std::make_shared<Connection>();
    connection->socket = std::move(socket);
    connection->deadline = Clock::now() + kPatience;
    connections_.push_back(std::move(connection));
  }
}

/// Takes in what has arrived, and begins once it is all there. @return false when it is done with
bool ControlServer::advance(const ConnectionPtr& connection) {
  while (connection->have < connection->expected()) {
    const MutableBytes room = connection->room();
    const ssize_t got = ::recv(connection->socket.get(), room.data(), room.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return Clock::now() < connection->deadline;
    if (got <= 0) return false;
    connection->have += static_cast<std::size_t>(got);
    if (connection->have == sizeof(connection->header) && !connection->take_header()) return false;
  }
  return begin(connection);
}

/// @return false when it is answered already
bool ControlServer::begin(const ConnectionPtr& connection) {
  TaskThread* const thread = connection->request.verb == control::Verb::unlock    ? unlocking_.get()
                             : connection->request.verb == control::Verb::unmount ? flushing_.get()
                                                                                  : nullptr;
  if (thread == nullptr) {
    handle(*connection);
    finish(*connection);
    return false;
  }
  connection->handling = true;
  connection->deadline = Clock::now() + control::kHeartbeat;
  return thread->post([this, connection] {
    handle(*connection);
    connection->handled.store(true, std::memory_order_release);
    signal_event(handled_);
  });
}

void ControlServer::handle(Connection& connection) noexcept {
  control::Answer& answer = connection.answer;
  try {
    answer = handler_(connection.request);
  } catch (const Error& error) {
    answer = {control::Outcome::failed, static_cast<std::uint32_t>(error.fault()),
              error.error_number(), error.what()};
  } catch (const std::exception& error) {
    answer = {control::Outcome::failed, static_cast<std::uint32_t>(Fault::io), EIO, error.what()};
  }
}

/// @return false when the client has gone: no one waits for the answer
bool ControlServer::say_working(Connection& connection) noexcept {
  if (Clock::now() < connection.deadline) return true;
  connection.deadline = Clock::now() + control::kHeartbeat;
  control::AnswerHeader header;
  header.outcome = control::Outcome::working;
  const ssize_t sent = ::send(connection.socket.get(), &header, sizeof(header), MSG_NOSIGNAL);
  return sent == sizeof(header) || (sent < 0 && errno == EAGAIN);
}

void ControlServer::finish(Connection& connection) {
  if (send_answer(connection.socket.get(), std::move(connection.answer)) &&
      connection.request.verb == control::Verb::unmount) {
    // A client that has gone meanwhile leaves a closed socket behind, which costs a descriptor.
    std::erase_if(waiting_, [](const UniqueFd& socket) {
      pollfd gone{socket.get(), POLLRDHUP, 0};
      return ::poll(&gone, 1, 0) > 0;
    });
    if (waiting_.size() < kConnectionLimit) waiting_.push_back(std::move(connection.socket));
  }
}

}  // namespace peelfs
