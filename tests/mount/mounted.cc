#include "mounted.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "host/mountinfo.h"
#include "mount/control_protocol.h"

namespace peelfs::test {
namespace {

pid_t peer_of(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : -1;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

std::string control_socket_of(const std::string& mountpoint) {
  const auto mount = find_mount(mountpoint);
  if (!mount) return {};
  const std::string wanted = "@" + control::name_prefix(mount->device);
  std::ifstream sockets("/proc/net/unix");
  std::string line;
  while (std::getline(sockets, line)) {
    if (const std::size_t at = line.find(wanted); at != std::string::npos) {
      return line.substr(at + 1);
    }
  }
  return {};
}

std::string program() {
  const char* const chosen = std::getenv("PEELFS");
  return chosen != nullptr ? chosen : PEELFS_PROGRAM;
}

std::string why_no_mounts() {
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return "/dev/fuse cannot be opened here";
  if (::access(program().c_str(), X_OK) != 0) return program() + " is not built";
  if (!have_program("fusermount3")) return "fusermount3 is not installed";
  return {};
}

std::string sh(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

bool is_mounted(const std::string& path) {
  return find_mount(path).has_value();
}

bool runs(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] != 'Z';
}

int connect_abstract(const std::string& name) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(),
              std::min(name.size(), sizeof(address.sun_path) - 1));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    ::close(socket);
    return -1;
  }
  return socket;
}

void make_sparse(const std::string& path, std::uint64_t size,
                 const std::map<std::uint64_t, std::size_t>& pieces) {
  write_file(path, {});
  std::filesystem::resize_file(path, size);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  for (const auto& [offset, length] : pieces) {
    const Buffer bytes = pattern(length, offset + 1);
    EXPECT_EQ(::pwrite(fd, bytes.data(), length, static_cast<off_t>(offset)),
              static_cast<ssize_t>(length));
  }
  ::fsync(fd);
  ::close(fd);
}

Mount::Mount(const std::string& arguments, int expected) : path_(folder_ / "mount point") {
  std::filesystem::create_directory(path_);
  const std::string report = sh(folder_ / "sanitizer");
  result_ = run("ASAN_OPTIONS=log_path=" + report + " UBSAN_OPTIONS=log_path=" + report +
                " TSAN_OPTIONS=log_path=" + report + " " + program() +
                " mount -o log-file=" + sh(folder_ / "log") + " " + arguments + " " + sh(path_));
  EXPECT_EQ(result_.exit_code, expected) << arguments << "\n" << result_.output << log();
  control_name_ = control_socket_of(path_);
  if (!control_name_.empty()) {
    const int socket = connect_abstract(control_name_);
    server_ = socket < 0 ? -1 : peer_of(socket);
    ::close(socket);
  }
}

Mount::~Mount() {
  if (mounted()) {
    run(program() + " umount --lazy " + sh(path_));
    run("fusermount3 -u -z " + sh(path_));
  }
  if (server_ > 0 && !eventually([&] { return !runs(server_); }, std::chrono::seconds(10))) {
    ADD_FAILURE() << "the process of the mount is still there";
    ::kill(server_, SIGKILL);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    if (entry.path().filename().string().starts_with("sanitizer")) {
      ADD_FAILURE() << text_of(entry.path());
    }
  }
}

std::string Mount::log() const {
  return text_of(folder_ / "log");
}

CommandResult Mount::umount(const std::string& options) const {
  return run(program() + " umount " + options + " " + sh(path_));
}

}  // namespace peelfs::test
