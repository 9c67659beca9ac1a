// Memory that shows an open file, for the kernel to copy from: a FUSE reply that points into it
// costs one copy of the bytes instead of two.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace peelfs {

/// Windows of one file, mapped when they are first asked for. What all files of the process have
/// mapped is bounded: the tables of pages that a mapping needs (2 MiB for each GiB that was
/// touched) cannot be reclaimed.
///
/// Our own code must never touch this memory: where the file has become shorter, or its storage
/// fails, an access would kill the process. The kernel gets an error code (EFAULT) instead.
///
/// Thread-safe; at() takes no lock where the window is there.
class FileMapping {
 public:
  /// @param descriptor open for reading for as long as this lives
  explicit FileMapping(int descriptor) noexcept : descriptor_(descriptor) {}
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  /// Only from within a request (Epochs::Request), and good until that ends.
  /// @return where the bytes are; null: they are not mapped, now or ever, and must be read
  const std::byte* at(std::uint64_t offset, std::size_t length) noexcept;

  static constexpr std::uint64_t kWindowSize = 256ULL << 20U;  ///< bytes

  /// How many windows the process may have: an eighth of the machine's memory, since the kernel
  /// counts mapped pages as ours when it looks for a process to kill (OOM); none where the address
  /// space is limited (RLIMIT_AS).
  static std::size_t max_windows() noexcept;

 private:
  friend class MappedWindows;
  struct Window {
    FileMapping* owner;
    std::uint64_t index;  ///< offset / kWindowSize
    std::byte* base;
    std::atomic<bool> used{true};   ///< since the last search for a window to give up
    std::uint64_t given_up_at = 0;  ///< the epoch
  };
  static constexpr std::size_t kSlots = 64;  ///< by index modulo this

  const int descriptor_;
  std::array<std::atomic<Window*>, kSlots> windows_{};
};

}  // namespace peelfs
