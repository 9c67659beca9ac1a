// Mutexes that clang can check. The standard library's are not annotated here (libstdc++), so each
// has a thin wrapper that adds annotations and nothing else.
//
// A member says by which mutex it is guarded, a function says which mutex its caller must hold:
//
//   void add(int number) { const MutexLock lock(mutex_); add_locked(number); }
//  private:
//   void add_locked(int number) PEELFS_REQUIRES(mutex_);
//   Mutex mutex_;
//   int sum_ PEELFS_GUARDED_BY(mutex_) = 0;
//
// contrib/check-locks lets clang prove it, by the rules of
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html. For other compilers the macros are empty.
//
// A lambda is a function of its own. One that runs with the mutex held says so, too:
//
//   changed_.wait(lock, [this]() PEELFS_REQUIRES(mutex_) { return sum_ > 10; });
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <utility>

#if defined(__clang__)
#define PEELFS_THREAD_ANNOTATION(attribute) __attribute__((attribute))
#else
#define PEELFS_THREAD_ANNOTATION(attribute)
#endif

/// A class whose objects can be held, and what the messages call them.
#define PEELFS_CAPABILITY(name) PEELFS_THREAD_ANNOTATION(capability(name))
/// A class whose objects hold something as long as they live.
#define PEELFS_SCOPED_CAPABILITY PEELFS_THREAD_ANNOTATION(scoped_lockable)
/// A member that is read with the mutex held, shared or alone, and changed with it held alone.
#define PEELFS_GUARDED_BY(mutex) PEELFS_THREAD_ANNOTATION(guarded_by(mutex))
/// A pointer that may be used without the mutex; what it points to is guarded.
#define PEELFS_PT_GUARDED_BY(mutex) PEELFS_THREAD_ANNOTATION(pt_guarded_by(mutex))
/// A mutex that a thread takes only before, or after, another.
#define PEELFS_ACQUIRED_BEFORE(...) PEELFS_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
#define PEELFS_ACQUIRED_AFTER(...) PEELFS_THREAD_ANNOTATION(acquired_after(__VA_ARGS__))
/// The caller holds it: alone, or at least shared with others.
#define PEELFS_REQUIRES(...) PEELFS_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define PEELFS_REQUIRES_SHARED(...) \
  PEELFS_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
/// The caller does not hold it: the function takes it itself, or waits for a thread that does.
#define PEELFS_EXCLUDES(...) PEELFS_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
/// The function takes it or gives it back.
#define PEELFS_ACQUIRE(...) PEELFS_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define PEELFS_ACQUIRE_SHARED(...) PEELFS_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define PEELFS_RELEASE(...) PEELFS_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
/// The function takes it if it returns the value given first.
#define PEELFS_TRY_ACQUIRE(...) PEELFS_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
/// What a call returns is this mutex.
#define PEELFS_RETURN_CAPABILITY(mutex) PEELFS_THREAD_ANNOTATION(lock_returned(mutex))
/// From the call on the mutex counts as held, though the analysis cannot see why. Only with a
/// comment that says why it is right.
#define PEELFS_ASSERT_SHARED_CAPABILITY(...) \
  PEELFS_THREAD_ANNOTATION(assert_shared_capability(__VA_ARGS__))
/// Nothing in this function is checked. Only with a comment that says why it is right.
#define PEELFS_NO_THREAD_SAFETY_ANALYSIS PEELFS_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace peelfs {

/// std::mutex.
class PEELFS_CAPABILITY("mutex") Mutex {
 public:
  constexpr Mutex() noexcept = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() PEELFS_ACQUIRE() { mutex_.lock(); }
  bool try_lock() PEELFS_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() PEELFS_RELEASE() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  friend class UniqueLock;
  std::mutex mutex_;
};

/// As std::timed_mutex, for waiting that has to end for another reason, too. Not that one itself:
/// it waits by pthread_mutex_clocklock, which gcc 12's ThreadSanitizer does not know.
class PEELFS_CAPABILITY("mutex") TimedMutex {
 public:
  TimedMutex() = default;
  TimedMutex(const TimedMutex&) = delete;
  TimedMutex& operator=(const TimedMutex&) = delete;

  bool try_lock_for(std::chrono::steady_clock::duration patience) PEELFS_TRY_ACQUIRE(true) {
    std::unique_lock lock(mutex_);
    if (!is_free_.wait_for(lock, patience, [this] { return !is_held_; })) return false;
    is_held_ = true;
    return true;
  }
  void unlock() PEELFS_RELEASE() {
    {
      const std::lock_guard lock(mutex_);
      is_held_ = false;
    }
    is_free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable is_free_;
  bool is_held_ = false;
};

/// std::shared_mutex.
class PEELFS_CAPABILITY("mutex") SharedMutex {
 public:
  SharedMutex() = default;
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

 private:
  friend class ReaderLock;
  friend class WriterLock;
  std::shared_mutex mutex_;
};

/// Holds a mutex as long as it lives (std::lock_guard).
class PEELFS_SCOPED_CAPABILITY [[nodiscard]] MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PEELFS_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  /// @param mutex held by the caller, who took it with try_lock()
  MutexLock(Mutex& mutex, std::adopt_lock_t adopt) PEELFS_REQUIRES(mutex)
      : lock_(mutex.mutex_, adopt) {}
  ~MutexLock() PEELFS_RELEASE() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  std::lock_guard<std::mutex> lock_;
};

/// The same, but the mutex can be given back for a time (std::unique_lock). A Condition waits with
/// it.
class PEELFS_SCOPED_CAPABILITY [[nodiscard]] UniqueLock {
 public:
  explicit UniqueLock(Mutex& mutex) PEELFS_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~UniqueLock() PEELFS_RELEASE() = default;
  UniqueLock(const UniqueLock&) = delete;
  UniqueLock& operator=(const UniqueLock&) = delete;

  void lock() PEELFS_ACQUIRE() { lock_.lock(); }
  void unlock() PEELFS_RELEASE() { lock_.unlock(); }

 private:
  friend class Condition;
  std::unique_lock<std::mutex> lock_;
};

/// Shares a SharedMutex with other readers (std::shared_lock).
class PEELFS_SCOPED_CAPABILITY [[nodiscard]] ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mutex) PEELFS_ACQUIRE_SHARED(mutex) : lock_(mutex.mutex_) {}
  ~ReaderLock() PEELFS_RELEASE() = default;
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

  void lock() PEELFS_ACQUIRE_SHARED() { lock_.lock(); }
  void unlock() PEELFS_RELEASE() { lock_.unlock(); }

 private:
  std::shared_lock<std::shared_mutex> lock_;
};

/// Holds a SharedMutex alone.
class PEELFS_SCOPED_CAPABILITY [[nodiscard]] WriterLock {
 public:
  explicit WriterLock(SharedMutex& mutex) PEELFS_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~WriterLock() PEELFS_RELEASE() = default;
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  std::lock_guard<std::shared_mutex> lock_;
};

/// std::condition_variable. To the analysis a wait keeps the mutex: it is held before and after.
class Condition {
 public:
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

  void wait(UniqueLock& lock) { condition_.wait(lock.lock_); }
  template <typename Predicate>
  void wait(UniqueLock& lock, Predicate predicate) {
    condition_.wait(lock.lock_, std::move(predicate));
  }
  /// @return what the predicate says in the end
  template <typename Predicate>
  bool wait_for(UniqueLock& lock, std::chrono::steady_clock::duration patience,
                Predicate predicate) {
    return condition_.wait_for(lock.lock_, patience, std::move(predicate));
  }
  template <typename Predicate>
  bool wait_until(UniqueLock& lock, std::chrono::steady_clock::time_point deadline,
                  Predicate predicate) {
    return condition_.wait_until(lock.lock_, deadline, std::move(predicate));
  }

 private:
  std::condition_variable condition_;
};

}  // namespace peelfs
