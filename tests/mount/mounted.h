// A mount made with the real program, as a person would make it.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>

#include "support/support.h"

namespace peelfs::test {

std::string program();

/// Why nothing can be mounted here; empty when it can.
std::string why_no_mounts();

/// Skips a test, with the reason, where nothing can be mounted.
#define NEED_MOUNTS()                                                              \
  if (const std::string reason = ::peelfs::test::why_no_mounts(); !reason.empty()) \
  GTEST_SKIP() << reason
#define NEED_PROGRAM(name) \
  if (!::peelfs::test::have_program(name)) GTEST_SKIP() << name << " is not installed"
#define NEED_ROOT() \
  if (::geteuid() != 0) GTEST_SKIP() << "needs root"

/// Quotes for sh.
std::string sh(const std::string& text);

/// Tries until `condition` holds or the time is over. @return whether it holds
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds patience = std::chrono::seconds(5));

/// The name of the control socket of the mount at a path, without "@"; empty when there is none.
std::string control_socket_of(const std::string& mountpoint);
bool is_mounted(const std::string& path);
/// True when it runs; a zombie does not.
bool runs(pid_t pid);

class Mount {
 public:
  /// Mounts on a new directory; the test fails when that does not exit with `expected`.
  /// @param arguments options and sources, quoted for sh
  explicit Mount(const std::string& arguments, int expected = 0);
  /// Ends it; the test fails when the daemon's sanitizers have had something to say.
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const CommandResult& result() const { return result_; }
  std::string log() const;

  /// The process that serves it.
  pid_t server() const { return server_; }
  /// The name of its control socket, without "@".
  const std::string& control_name() const { return control_name_; }
  CommandResult umount(const std::string& options = "") const;
  bool mounted() const { return is_mounted(path_); }

 private:
  TemporaryDirectory folder_;
  std::string path_;
  CommandResult result_;
  std::string control_name_;
  pid_t server_ = -1;
};

/// A connected descriptor to an abstract socket, or -1.
int connect_abstract(const std::string& name);

/// A raw image: `size` bytes, sparse, with these pieces written; each a pattern of its own.
void make_sparse(const std::string& path, std::uint64_t size,
                 const std::map<std::uint64_t, std::size_t>& pieces);

}  // namespace peelfs::test
