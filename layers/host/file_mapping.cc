#include "host/file_mapping.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <utility>

#include "engine/epoch.h"
#include "peelfs/mutex.h"

namespace peelfs {

/// All windows of the process.
class MappedWindows {
 public:
  static MappedWindows& process() {
    // Never destroyed: threads that serve requests may outlive static objects.
    static auto* const windows = new MappedWindows;
    return *windows;
  }

  void open(FileMapping& file, std::uint64_t index) noexcept;
  void close(FileMapping& file) noexcept;

 private:
  using Window = FileMapping::Window;
  using Clock = std::chrono::steady_clock;
  /// A working set that does not fit is read, not mapped and unmapped all the time.
  static constexpr std::chrono::milliseconds kLeastPause{100};

  bool make_room() PEELFS_REQUIRES(mutex_);
  void give_up(std::list<Window>::iterator window) PEELFS_REQUIRES(mutex_);
  void reap() PEELFS_REQUIRES(mutex_);

  Mutex mutex_;
  std::list<Window> open_ PEELFS_GUARDED_BY(mutex_);      ///< oldest first
  std::list<Window> given_up_ PEELFS_GUARDED_BY(mutex_);  ///< a request may still use them
  Clock::time_point last_given_up_ PEELFS_GUARDED_BY(mutex_);
};

void MappedWindows::open(FileMapping& file, std::uint64_t index) noexcept {
  // A thread that finds the lock taken reads the bytes instead of waiting.
  if (!mutex_.try_lock()) return;
  const MutexLock lock(mutex_, std::adopt_lock);
  std::atomic<Window*>& slot = file.windows_[index % FileMapping::kSlots];
  const Window* const there = slot.load(std::memory_order_relaxed);
  if (there != nullptr && there->index == index) return;
  try {
    reap();
    const std::size_t most = FileMapping::max_windows();
    if (most == 0) return;
    if (there != nullptr || open_.size() >= most) {
      // One at a time: a request that hangs keeps what is given up from being unmapped.
      if (!given_up_.empty() || Clock::now() - last_given_up_ < kLeastPause) return;
      if (there != nullptr) {
        give_up(std::find_if(open_.begin(), open_.end(),
                             [there](const Window& window) { return &window == there; }));
      } else if (!make_room()) {
        return;
      }
      last_given_up_ = Clock::now();
    }
    std::list<Window> made;
    made.emplace_back();
    // Beyond the end of the file as well: what we write to it makes it longer.
    void* const base =
        ::mmap(nullptr, FileMapping::kWindowSize, PROT_READ, MAP_SHARED, file.descriptor_,
               static_cast<off_t>(index * FileMapping::kWindowSize));
    if (base == MAP_FAILED) return;
    made.front().owner = &file;
    made.front().index = index;
    made.front().base = static_cast<std::byte*>(base);
    slot.store(&made.front(), std::memory_order_release);
    open_.splice(open_.end(), made);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): without memory it is read
  }
}

/// Second chance: gives up the oldest window that was not used since it was last passed over.
bool MappedWindows::make_room() {
  for (std::size_t looked = 0; looked < open_.size(); ++looked) {
    if (!open_.front().used.exchange(false, std::memory_order_relaxed)) {
      give_up(open_.begin());
      return true;
    }
    open_.splice(open_.end(), open_, open_.begin());
  }
  return false;
}

void MappedWindows::give_up(std::list<Window>::iterator window) {
  window->owner->windows_[window->index % FileMapping::kSlots].store(nullptr,
                                                                     std::memory_order_seq_cst);
  window->given_up_at = Epochs::process().now();
  given_up_.splice(given_up_.end(), open_, window);
}

void MappedWindows::reap() {
  while (!given_up_.empty() && Epochs::process().passed(given_up_.front().given_up_at)) {
    ::munmap(given_up_.front().base, FileMapping::kWindowSize);
    given_up_.pop_front();
  }
}

void MappedWindows::close(FileMapping& file) noexcept {
  const MutexLock lock(mutex_);
  const auto close_in = [&file](std::list<Window>& windows) {
    windows.remove_if([&file](const Window& window) {
      if (window.owner != &file) return false;
      ::munmap(window.base, FileMapping::kWindowSize);
      return true;
    });
  };
  close_in(open_);
  close_in(given_up_);
}

std::size_t FileMapping::max_windows() noexcept {
  static const std::size_t most = [] {
    rlimit space{};
    if (::getrlimit(RLIMIT_AS, &space) != 0 || space.rlim_cur != RLIM_INFINITY) return 0UL;
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0) return 0UL;
    const auto memory = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(memory / 8 / kWindowSize, 2, 256));
  }();
  return most;
}

FileMapping::~FileMapping() {
  MappedWindows::process().close(*this);
}

const std::byte* FileMapping::at(std::uint64_t offset, std::size_t length) noexcept {
  const std::uint64_t index = offset / kWindowSize;
  const std::uint64_t within = offset % kWindowSize;
  if (length > kWindowSize - within) return nullptr;
  std::atomic<Window*>& slot = windows_[index % kSlots];
  Window* window = slot.load(std::memory_order_acquire);
  if (window == nullptr || window->index != index) {
    MappedWindows::process().open(*this, index);
    window = slot.load(std::memory_order_acquire);
    if (window == nullptr || window->index != index) return nullptr;
  }
  if (!window->used.load(std::memory_order_relaxed)) {
    window->used.store(true, std::memory_order_relaxed);
  }
  return window->base + within;
}

}  // namespace peelfs
