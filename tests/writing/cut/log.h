// The log that record_syscalls.cc writes and the power-cut harness reads: what a process did to the
// files of one directory, in the order in which it happened, and what its client was promised.
#pragma once

#include <cstdint>

namespace peelfs::test {

enum class Record : std::uint32_t {
  open = 1,      ///< a file was opened; argument: flags; data: its path below the directory
  write,         ///< data at offset
  zero,          ///< length bytes at offset read as zero; argument: 1 = the file may become longer
  allocate,      ///< the file became at least offset + length long
  truncate,      ///< the file is `length` long
  sync,          ///< what was in the log before position `offset` is durable, for this file
  rename,        ///< data: from NUL to
  unlink,        ///< data: path
  intent,        ///< the client is about to write data at offset
  intent_zero,   ///< the client is about to zero length bytes at offset
  sync_names,    ///< names made, changed or removed before position `offset` are durable
  promise,       ///< what was intended before position `offset` was said to be durable
  note,          ///< data: text
  unrecordable,  ///< something that cannot be replayed (a writable shared mapping); data: text
};

struct RecordHeader {
  static constexpr std::uint32_t expected_magic = 0x70'65'65'6c;
  std::uint32_t magic = expected_magic;
  Record kind = Record::note;
  std::uint64_t file = 0;  ///< inode
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t argument = 0;
  std::uint64_t data_length = 0;  ///< bytes that follow
};

/// Environment of a recorded process.
inline constexpr const char* record_directory = "PEELFS_RECORD_DIRECTORY";  ///< real path
inline constexpr const char* record_log = "PEELFS_RECORD_LOG";              ///< exists; appended to

}  // namespace peelfs::test
