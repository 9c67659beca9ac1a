// What a daemon does to its process: descriptors, the terminal, helpers, the parent that waits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace peelfs {

/// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept;
  /// Hands it over. @return the descriptor
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

struct Pipe {
  UniqueFd reader, writer;
};
/// Both ends close on exec. @throws Error
Pipe make_pipe();

/// Makes sure that descriptors 0 to 2 are open, so that no source ever becomes standard output.
void open_standard_descriptors() noexcept;

/// As many open files as the system allows: every source keeps one.
void raise_descriptor_limit() noexcept;

/// No core dumps, and no other process of this user may look into this one: it holds keys.
void protect_memory() noexcept;

/// Leaves the terminal, the session and the working directory, which could otherwise not be
/// unmounted.
void leave_terminal() noexcept;

struct HelperResult {
  int exit_code = -1;  ///< 127: could not be started; 124: killed because it did not end
  std::string output;  ///< standard output and standard error, at most 64 KiB
};
/// Runs a program and waits for it, at most for half a minute. No shell. Safe with threads.
/// @param program see find_program
HelperResult run_helper(const std::string& program, const std::vector<std::string>& arguments);

/// The full path of a program: in the system's folders, then in those of PATH which are absolute.
/// Neither it nor its folder may be writable by all users, or belong to a third user.
/// @param refused receives why the first such program was not taken, if one was there
std::optional<std::string> find_program(const std::string& program, std::string* refused = nullptr);

/// While it lives, text that is written to standard error goes into memory: libfuse and fusermount3
/// print their reasons there. Not thread-safe.
class CapturedErrors {
 public:
  CapturedErrors();
  ~CapturedErrors();
  CapturedErrors(const CapturedErrors&) = delete;
  CapturedErrors& operator=(const CapturedErrors&) = delete;

  /// Ends the capture. @return the text, its lines joined with "; "
  std::string finish();

 private:
  UniqueFd saved_, memory_;
};

}  // namespace peelfs
