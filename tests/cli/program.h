// The program under test, with and without a terminal, and images to run it on.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "support/support.h"

namespace peelfs::test {

/// `peelfs ARGUMENTS` by the shell, standard input empty.
CommandResult peelfs(const std::string& arguments);

/// What stands between two programs: standard output alone, standard error alone.
struct Outputs {
  int exit_code = -1;
  std::string output, errors;
};
Outputs peelfs_apart(const std::string& arguments);

/// A program with a terminal of its own, as a person sees it.
class Terminal {
 public:
  /// Runs `sh -c command` on a new pseudo-terminal.
  explicit Terminal(const std::string& command);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Waits until `text` has appeared behind what was waited for before; fails the test otherwise.
  bool wait_for(const std::string& text, std::chrono::seconds limit = std::chrono::seconds(60));
  void type(const std::string& keys);
  /// Whether the terminal echoes what is typed, now.
  bool echoes() const;
  /// Waits for the end. @return the exit code, or 128 + the signal
  int finish(std::chrono::seconds limit = std::chrono::seconds(60));
  /// Closes the terminal, as when its window is closed, and waits for the end. @return as finish()
  int hang_up();
  const std::string& screen() const { return screen_; }
  int process() const { return process_; }

 private:
  bool read_some(std::chrono::milliseconds limit);
  int terminal_ = -1;
  int process_ = -1;
  std::size_t looked_at_ = 0;
  std::string screen_;
};

/// Why nothing can be mounted here; "" if it can.
std::string cannot_mount();
bool is_mounted(const std::string& directory);
/// Waits up to ten seconds. @return whether it came true
bool wait_until(const std::function<bool()>& condition);

/// An MBR disk with two partitions: 1 holds ext4 labelled "cliroot" with a file, 2 random bytes.
/// Made by sfdisk and mke2fs. @return the digest of partition 2
std::string make_disk(const std::string& path);
/// A LUKS1 volume with `passphrase`, made by qemu-img from the bytes of `plain`.
void make_luks(const std::string& path, const std::string& plain, const std::string& passphrase);

}  // namespace peelfs::test

#define SKIP_WITHOUT(program)                    \
  if (!peelfs::test::have_program(program)) {    \
    GTEST_SKIP() << program " is not installed"; \
  }
#define SKIP_IF_CANNOT_MOUNT()                                       \
  if (const auto why = peelfs::test::cannot_mount(); !why.empty()) { \
    GTEST_SKIP() << why;                                             \
  }
