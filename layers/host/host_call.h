// System calls on a file of the host, which may never return: a network disk that is gone, a FUSE
// filesystem whose process is stopped.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "peelfs/error.h"

namespace peelfs {

/// Lives as long as a system call on a host file. Costs one look at a flag unless
/// watch_host_calls() was called.
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

/// From here on calls may last as long as they like again.
void watch_host_calls_no_more() noexcept;

/// The error for a host file that does not answer. Its errno is ETIMEDOUT.
Error no_answer(const std::string& path, std::chrono::seconds patience);

/// Runs `work` on a thread of its own and waits for it, but not longer than `patience`. Work that
/// hangs is left behind: it must own what it touches. The calls in it are not watched.
/// @param patience 0: as long as it takes, on this thread
/// @throws what `work` throws; no_answer() when the time is over
void wait_for_answer(const std::string& path, std::chrono::seconds patience,
                     std::function<void()> work);

/// The same for a question that has an answer. @return what question() returns
template <typename Question>
auto answer_in_time(const std::string& path, std::chrono::seconds patience, Question question) {
  const auto answer = std::make_shared<std::optional<decltype(question())>>();
  wait_for_answer(path, patience,
                  [answer, question = std::move(question)] { answer->emplace(question()); });
  return **std::move(answer);
}

}  // namespace peelfs
