// Threads that help with large requests: decryption and decompression are work for several
// processors, and a reader that asks for a megabyte waits until all of it is done.
#pragma once

#include <cstddef>
#include <functional>

namespace peelfs {

/// Calls part(0) to part(count - 1), each once, on this thread and on the threads of the crew that
/// are idle, and returns when all have returned. Waiting for the others costs more than 100 KiB of
/// AES, so a part should be at least as long. From within a part everything runs on its own thread.
/// Allocates nothing once the threads are there; std::cref(part) keeps the caller from it, too.
/// Thread-safe.
/// @throws what one of the parts has thrown; those that had not begun are left out then
void share_out(std::size_t count, const std::function<void(std::size_t)>& part);

/// Work for one of these threads while share_out() does not need it. If there are several threads,
/// one of them never takes such work: it may hang with a disk.
class Background {
 public:
  Background() = default;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  virtual ~Background() = default;
  virtual void run() noexcept = 0;

 private:
  friend class Crew;
  Background* next_ = nullptr;
};

/// Queues it; it must not be queued already. Without threads it is never run. Thread-safe.
void begin_in_background(Background& work);
/// @return true: no thread has begun it, and none will; false: it runs, or has run, or is about to.
/// Thread-safe.
bool take_back(Background& work);

}  // namespace peelfs
