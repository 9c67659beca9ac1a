// What is asked of the host about a file, and may never be answered: a network disk that is gone, a
// FUSE filesystem whose process is stopped.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <string>

namespace peelfs {

/// Lives as long as a system call on a host file. Costs one look at a flag unless somebody watches.
class HostCall {
 public:
  /// @param path for the message
  explicit HostCall(const std::string& path) noexcept;
  ~HostCall();
  HostCall(const HostCall&) = delete;
  HostCall& operator=(const HostCall&) = delete;

  struct Entry {
    std::string path;
    std::chrono::steady_clock::time_point since;
  };

 private:
  bool watched_ = false;
  std::list<Entry>::iterator entry_;
};

/// From here on give_up(path) is called, on a thread of its own, when a call has lasted longer than
/// `patience`: for a program that shall come to an end by itself, since such a call cannot be
/// interrupted. Once for each process.
/// @param give_up should end the process; called again and again if it does not
void watch_host_calls(std::chrono::seconds patience,
                      std::function<void(const std::string& path)> give_up);

}  // namespace peelfs
