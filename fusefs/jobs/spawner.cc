#include "jobs/spawner.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <thread>
#include <utility>
#include <vector>

#include "jobs/background.h"
#include "jobs/orders.h"
#include "mount/descriptors.h"
#include "peelfs/error.h"

namespace peelfs::jobs {
namespace {

/// How long a command may take to end when it is told to.
constexpr std::chrono::seconds kMercy{5};

struct Sockets {
  UniqueFd ours, theirs;
};

Sockets make_sockets(int type) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    throw Error::system(errno, "cannot make a socket for a command");
  }
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

/// What is sent for one run: a byte, which says whether it runs in the background, and beside it
/// the two descriptors.
class Request {
 public:
  using Descriptors = std::array<int, 2>;

  Request() {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
    message_.msg_control = room_.data();
    message_.msg_controllen = room_.size();
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  bool send(int to, bool background, const Descriptors& descriptors) {
    byte_ = background ? 1 : 0;
    cmsghdr* const header = CMSG_FIRSTHDR(&message_);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptors);
    std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof descriptors);
    ssize_t sent = 0;
    do {
      sent = ::sendmsg(to, &message_, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == 1;
  }

  /// @return false: no more come
  bool receive(int from, bool& background, Descriptors& descriptors) {
    ssize_t got = 0;
    do {
      got = ::recvmsg(from, &message_, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    const cmsghdr* const header = got == 1 ? CMSG_FIRSTHDR(&message_) : nullptr;
    if (header == nullptr || header->cmsg_len != CMSG_LEN(sizeof descriptors)) return false;
    std::memcpy(descriptors.data(), CMSG_DATA(header), sizeof descriptors);
    background = byte_ != 0;
    return true;
  }

 private:
  char byte_ = 0;
  iovec part_{&byte_, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(Descriptors))> room_{};
  msghdr message_{};
};

/// Keeps 0 to 2 and these.
void close_others(std::initializer_list<int> kept) {
  for (const int fd : open_descriptors()) {
    if (std::find(kept.begin(), kept.end(), fd) == kept.end()) ::close(fd);
  }
}

void use_no_terminal() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    null ? ::dup2(null.get(), fd) : ::close(fd);
  }
}

/// When the other side has gone the command is told to end, and then made to.
void end_with(int control, Runner& runner) {
  pollfd watched{control, POLLRDHUP, 0};
  while (::poll(&watched, 1, -1) < 0 && errno == EINTR) {
  }
  ::kill(::getpid(), SIGTERM);
  std::this_thread::sleep_for(kMercy);
  runner.kill();
}

/// The process of one run.
[[noreturn]] void serve_run(UniqueFd control, UniqueFd output, bool background) {
  std::signal(SIGCHLD, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(output.get(), fd);
  output.reset();
  close_others({control.get()});
  if (background) yield_to_others();
  std::vector<std::string> answer;
  try {
    Runner runner({});
    std::thread([&] { end_with(control.get(), runner); }).detach();
    std::vector<std::string> plan;
    std::vector<std::string> only_in_world;
    Order order;
    if (!receive_list(control.get(), order.words) || !receive_list(control.get(), plan) ||
        !receive_list(control.get(), only_in_world)) {
      ::_exit(0);
    }
    order.world = world::from_words(plan);
    order.only_in_world = !only_in_world.empty();
    const Ending ending = runner.run(order);
    answer = {std::to_string(ending.code), ending.no_world, ending.left_running ? "1" : "0"};
  } catch (const Error& error) {
    answer = {error.what()};
  }
  try {
    send_list(control.get(), answer);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it asks for nothing any more
  }
  ::_exit(0);
}

[[noreturn]] void serve_requests(UniqueFd requests, pid_t parent) {
  ::setpgid(0, 0);  // Ctrl-C is for the process that has the terminal; it ends the runs
  use_no_terminal();
  close_others({requests.get()});
  std::signal(SIGCHLD, SIG_IGN);
  // What the commands write is read by a program, too.
  ::setenv("LC_ALL", "C", 1);
  ::unsetenv("LANGUAGE");
  std::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  if (::getppid() != parent) ::_exit(0);
  bool background = false;
  Request::Descriptors descriptors{};
  while (Request().receive(requests.get(), background, descriptors)) {
    UniqueFd control(descriptors[0]);
    UniqueFd output(descriptors[1]);
    const pid_t child = ::fork();
    if (child == 0) serve_run(std::move(control), std::move(output), background);
    if (child > 0) continue;
    try {
      send_list(control.get(),
                {Error::system(errno, "cannot start a process for a command").what()});
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it asks for nothing any more
    }
  }
  ::_exit(0);
}

}  // namespace

Spawner::Spawner() {
  Sockets sockets = make_sockets(SOCK_SEQPACKET);
  const pid_t self = ::getpid();
  process_ = ::fork();
  if (process_ < 0) throw Error::system(errno, "cannot start a process for commands");
  if (process_ == 0) serve_requests(std::move(sockets.theirs), self);
  requests_ = std::move(sockets.ours);
}

Spawner::~Spawner() {
  requests_.reset();
  if (process_ > 0) ::waitpid(process_, nullptr, 0);
}

Run Spawner::start(const Order& order, bool background) {
  Sockets control = make_sockets(SOCK_STREAM);
  Pipe output = make_pipe();
  if (!Request().send(requests_.get(), background, {control.theirs.get(), output.writer.get()})) {
    throw Error::system(errno, "cannot start a command: the process that starts them has ended");
  }
  control.theirs.reset();
  ::fcntl(output.reader.get(), F_SETFL, O_NONBLOCK);
  send_list(control.ours.get(), order.words);
  send_list(control.ours.get(), world::to_words(order.world));
  send_list(control.ours.get(),
            order.only_in_world ? std::vector<std::string>{""} : std::vector<std::string>{});
  return {std::move(control.ours), std::move(output.reader)};
}

Ending Run::finish() {
  std::vector<std::string> answer;
  const bool answered = receive_list(control_.get(), answer);
  control_.reset();
  if (!answered || answer.empty()) {
    throw Error(Fault::io, "the process that ran the command has ended without a word");
  }
  if (answer.size() == 1) throw Error(Fault::denied, answer.front());
  Ending ending;
  ending.code = std::stoi(answer.at(0));
  ending.no_world = answer.at(1);
  ending.left_running = answer.at(2) == "1";
  return ending;
}

}  // namespace peelfs::jobs
