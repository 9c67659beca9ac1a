// What a power cut leaves of files, after a log of record_syscalls.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "peelfs/bytes.h"
#include "writing/cut/log.h"
#include "writing/dice.h"

namespace peelfs::test {

struct Entry {
  RecordHeader header;
  std::uint64_t at = 0;  ///< position in the log
  Bytes data;            ///< in the log, which outlives it
  std::string text() const { return std::string(as_text(data)); }
};

/// A log that was read whole.
class Log {
 public:
  /// @throws std::runtime_error when it is not whole, or holds something that cannot be replayed
  explicit Log(const std::string& path);
  const std::vector<Entry>& entries() const noexcept { return entries_; }

  /// For tests of the harness: no sync but the last one before each promise.
  void forget_barriers();
  /// No sync at all.
  void forget_syncs();

 private:
  Buffer bytes_;
  std::vector<Entry> entries_;
};

/// Files by their path below the directory.
using Files = std::map<std::string, Buffer>;

/// The files of a directory and their inodes, before anything was recorded.
struct Base {
  Files files;
  std::map<std::uint64_t, std::string> names;  ///< inode -> path
};
Base base_of(const std::string& directory);
/// Makes the files' times those that put_files() gives.
void fix_times(const std::string& directory);
/// Makes a directory hold these files and nothing else.
void put_files(const std::string& directory, const Files& files);

/// Goes through a log; at every point it can tell what a power cut might leave. Not thread-safe.
///
/// The model of the disk: what was synced is there. Of what was not, every 512-byte sector holds
/// what it held at some moment since, each sector by itself; the length of the file is that of some
/// moment. Of the names that were made, changed or removed since their directory was synced some
/// are, in their order.
class Replay {
 public:
  Replay(const Base& base, const Log& log);

  /// Takes one more entry. @return false at the end of the log
  bool step();
  std::size_t position() const noexcept { return next_; }

  /// Everything until here is on the disk; of the last write only a part if `torn`.
  Files in_order(bool torn, Dice& dice) const;
  /// Some of what was not synced is there.
  Files reordered(Dice& dice) const;
  /// Whether there is anything that could be lost.
  bool anything_pending() const;

 private:
  struct File {
    Buffer sure;
    std::vector<const Entry*> pending;
  };
  /// Of the files that are there, by number.
  using Names = std::map<std::size_t, std::string>;
  struct NameChange {
    std::uint64_t at = 0;
    Names to;  ///< "": it is gone
  };
  static void apply(Buffer& bytes, const Entry& entry);
  static Buffer some_of(const File& file, Dice& dice);
  void take(const Entry& entry);
  void take_open(const Entry& entry);
  void take_name(const Entry& entry);
  static void apply(Names& names, const NameChange& change);
  /// Those that are sure, and the first `changes` of the others.
  Names names(std::size_t changes) const;
  File& of_inode(std::uint64_t inode) { return files_.at(numbers_.at(inode)); }

  const Log& log_;
  std::vector<File> files_;
  std::map<std::uint64_t, std::size_t> numbers_;  ///< by inode, which may be used again
  Names sure_names_;
  std::vector<NameChange> pending_names_;
  std::size_t next_ = 0;
};

}  // namespace peelfs::test
