// The FUSE operations: what the kernel asks, answered from the inodes.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "mount/inodes.h"
#include "mount/writing.h"
#include "peelfs/mutex.h"

struct fuse_lowlevel_ops;

namespace peelfs {

class Peeling;
class Writing;

/// An open file or directory: a file stays what it was when it was opened, and a directory's
/// offsets stay true until it is rewound.
struct OpenHandle {
  std::shared_ptr<const DeviceFile> device;    ///< of a device
  std::shared_ptr<const std::string> text;     ///< of status.json
  std::shared_ptr<const InodeView> directory;  ///< of a directory: the tree that it lists
  WriteState writing;                          ///< of a device in a writable mount
  std::shared_ptr<Ahead> ahead;                ///< of a device in a mount that cannot be written
};

/// Thread-safe. No operation takes a lock while it reads a device, and none waits for refresh().
class FuseServer {
 public:
  /// @param max_read bytes: the largest read that the kernel may ask for
  /// @param threads how many may be at work for one source; 0: as many as suit the machine
  FuseServer(std::shared_ptr<Peeling> peeling, const InodeTable::Owner& owner, std::size_t max_read,
             unsigned threads);

  /// To be given to libfuse, with `this` as user data.
  static const fuse_lowlevel_ops& operations();

  ~FuseServer();

  /// Lets devices be written; before requests are served. @param hooks without `peel`, which is
  /// this class's
  void start_writing(Writing::Hooks hooks);
  /// Null when nothing can be written.
  Writing* writing() const noexcept { return writing_.get(); }

  /// Takes up the newest catalogue. Not from libfuse's threads.
  /// @return what the kernel must be told to forget; new requests see the new tree already
  ViewChanges refresh();

  std::shared_ptr<const InodeView> view() const;

  /// Keeps a handle until it is closed, or until the end of the mount: the kernel does not close
  /// what is open when a connection ends, and the sources must be released all the same.
  OpenHandle* keep(OpenHandle handle);
  void close(OpenHandle* handle) noexcept;

  std::size_t max_read() const noexcept { return max_read_; }
  /// How long the kernel may keep attributes, in seconds: those of a file that can be written, or
  /// shares bytes with one that can, change without its knowledge.
  double keep_attributes(const Inode& inode, const Inode::Status& status) const noexcept {
    return writing_ && inode.device ? 0 : status.settled ? kKeepSeconds : kUnsettledSeconds;
  }
  /// Names, and what else only changes with the tree: the kernel is told when it does.
  static constexpr double kKeepSeconds = 86400;
  static constexpr double kUnsettledSeconds = 1;

  /// Requests that read or write a source run in these lanes; all others are answered at once.
  Lanes& lanes() noexcept { return lanes_; }
  /// How many threads may serve requests: those of the lanes, and some for what needs no source.
  unsigned threads() const noexcept { return threads_; }

  /// Whether the kernel has agreed on a protocol: requests are served from here on.
  bool ready() const noexcept { return ready_.load(std::memory_order_acquire); }
  void set_ready() noexcept { ready_.store(true, std::memory_order_release); }

 private:
  std::shared_ptr<const InodeView> build() PEELFS_REQUIRES(refreshing_);

  std::shared_ptr<Peeling> peeling_;
  std::map<std::string, std::shared_ptr<const HostFile>> files_;
  std::size_t max_read_;
  unsigned threads_;
  Lanes lanes_;
  std::atomic<bool> ready_{false};
  Mutex refreshing_;  ///< one refresh() at a time
  InodeTable table_ PEELFS_GUARDED_BY(refreshing_);
  mutable Mutex mutex_;
  std::shared_ptr<const InodeView> view_ PEELFS_GUARDED_BY(mutex_);
  Mutex handles_mutex_;
  std::unordered_map<OpenHandle*, std::unique_ptr<OpenHandle>> handles_
      PEELFS_GUARDED_BY(handles_mutex_);
  std::unique_ptr<Writing> writing_;
};

}  // namespace peelfs
