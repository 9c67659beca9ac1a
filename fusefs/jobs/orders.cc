#include "jobs/orders.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "peelfs/error.h"

namespace peelfs::jobs {
namespace {

void send(int fd, const std::string& text) {
  const std::uint32_t size = static_cast<std::uint32_t>(text.size());
  std::string message(reinterpret_cast<const char*>(&size), sizeof size);
  message += text;
  for (std::size_t done = 0; done < message.size();) {
    // Of a socket whose other end has gone: an error, and no SIGPIPE.
    ssize_t put = ::send(fd, message.data() + done, message.size() - done, MSG_NOSIGNAL);
    if (put < 0 && errno == ENOTSOCK) {
      put = ::write(fd, message.data() + done, message.size() - done);
    }
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw Error::system(errno, "cannot start the command");
    done += static_cast<std::size_t>(put);
  }
}

bool receive_bytes(int fd, char* to, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::read(fd, to + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

bool receive(int fd, std::string& text) {
  std::uint32_t size = 0;
  if (!receive_bytes(fd, reinterpret_cast<char*>(&size), sizeof size)) return false;
  text.resize(size);
  return receive_bytes(fd, text.data(), size);
}

}  // namespace

bool receive_list(int fd, std::vector<std::string>& list) {
  std::string count;
  if (!receive(fd, count)) return false;
  list.resize(std::stoul(count));
  for (std::string& text : list) {
    if (!receive(fd, text)) return false;
  }
  return true;
}

void send_list(int fd, const std::vector<std::string>& list) {
  send(fd, std::to_string(list.size()));
  for (const std::string& text : list) send(fd, text);
}

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 256> part{};
  for (;;) {
    const ssize_t got = ::read(fd, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace peelfs::jobs
