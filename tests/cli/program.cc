#include "cli/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace peelfs::test {

namespace {

using Clock = std::chrono::steady_clock;

std::string whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

CommandResult peelfs(const std::string& arguments) {
  return run(PEELFS_PROGRAM " " + arguments);
}

Outputs peelfs_apart(const std::string& arguments) {
  const TemporaryDirectory scratch;
  const std::string errors = scratch / "errors";
  const CommandResult result = run(PEELFS_PROGRAM " " + arguments + " 2>" + errors);
  return {result.exit_code, result.output, whole_file(errors)};
}

Terminal::Terminal(const std::string& command) {
  process_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
  if (process_ < 0) throw std::runtime_error("forkpty");
  if (process_ == 0) {
    // As in a new terminal, also where the tests run under nohup.
    ::signal(SIGHUP, SIG_DFL);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
}

Terminal::~Terminal() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  if (terminal_ >= 0) ::close(terminal_);
}

bool Terminal::read_some(std::chrono::milliseconds limit) {
  pollfd wanted{terminal_, POLLIN, 0};
  if (::poll(&wanted, 1, static_cast<int>(limit.count())) <= 0) return true;
  char buffer[4096];
  const ssize_t got = ::read(terminal_, buffer, sizeof buffer);
  if (got <= 0) return false;  // the other end is closed
  screen_.append(buffer, static_cast<std::size_t>(got));
  return true;
}

bool Terminal::wait_for(const std::string& text, std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  for (;;) {
    const std::size_t at = screen_.find(text, looked_at_);
    if (at != std::string::npos) {
      looked_at_ = at + text.size();
      return true;
    }
    if (Clock::now() > end || !read_some(std::chrono::milliseconds(100))) {
      ADD_FAILURE() << "never saw '" << text << "' on:\n" << screen_;
      return false;
    }
  }
}

void Terminal::type(const std::string& keys) {
  ASSERT_EQ(::write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

bool Terminal::echoes() const {
  termios settings{};
  return ::tcgetattr(terminal_, &settings) == 0 && (settings.c_lflag & ECHO) != 0;
}

int Terminal::finish(std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  int status = 0;
  while (::waitpid(process_, &status, WNOHANG) == 0) {
    if (Clock::now() > end) {
      ADD_FAILURE() << "still running; the terminal shows:\n" << screen_;
      return -1;
    }
    if (!read_some(std::chrono::milliseconds(50)))
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process_ = -1;
  while (true) {
    const std::size_t before = screen_.size();
    if (!read_some(std::chrono::milliseconds(0)) || screen_.size() == before) break;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Terminal::hang_up() {
  ::close(terminal_);
  terminal_ = -1;
  int status = 0;
  const bool ended = wait_until([&] { return ::waitpid(process_, &status, WNOHANG) == process_; });
  EXPECT_TRUE(ended) << "still running without its terminal";
  if (!ended) return -1;
  process_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string cannot_mount() {
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return "/dev/fuse is not here, or not for this user";
  if (::geteuid() != 0 && !have_program("fusermount3")) return "fusermount3 is not installed";
  return "";
}

bool is_mounted(const std::string& directory) {
  return whole_file("/proc/self/mounts").find(" " + directory + " ") != std::string::npos;
}

bool wait_until(const std::function<bool()>& condition) {
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

std::string make_disk(const std::string& path) {
  const Buffer second = pattern(4U << 20U, 7);
  write_file(path + ".p2", second);
  must_run("export PATH=$PATH:/usr/sbin:/sbin && mkdir -p " + path + ".d && echo hello >" + path +
           ".d/greeting && truncate -s 8M " + path + ".p1 && mke2fs -q -F -t ext4 -L cliroot -d " +
           path + ".d " + path + ".p1 && truncate -s 16M " + path +
           " && printf 'label: dos\\nlabel-id: 0xc11d15c0\\nstart=2048,size=16384,type=83\\n"
           "start=18432,size=8192,type=83\\n' | sfdisk -q " +
           path + " && dd status=none conv=notrunc bs=512 seek=2048 if=" + path + ".p1 of=" + path +
           " && dd status=none conv=notrunc bs=512 seek=18432 if=" + path + ".p2 of=" + path +
           " && rm -r " + path + ".d " + path + ".p1 " + path + ".p2");
  return sha256(second);
}

void make_luks(const std::string& path, const std::string& plain, const std::string& passphrase) {
  must_run("qemu-img convert --object secret,id=s,data='" + passphrase +
           "' -f raw -O luks -o key-secret=s,iter-time=10 " + plain + " " + path);
}

}  // namespace peelfs::test
