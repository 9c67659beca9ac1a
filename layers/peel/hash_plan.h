// Which bytes are read next, and whose digests take them. See hash.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "peel/hash.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"
#include "peelfs/storage.h"

namespace peelfs {

/// Bytes of a device that were read.
struct HashChunk {
  const BlockDevice* device = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::shared_ptr<Buffer> bytes;  ///< at least `length`
  std::uint64_t end() const noexcept { return offset + length; }
};

/// What the digests of a subject take next.
struct HashItem {
  enum class Kind : std::uint8_t {
    bytes,
    zeroes,
    end,   ///< of a piece
    drop,  ///< the piece has no digest
  };
  Kind kind = Kind::bytes;
  std::uint64_t length = 0;
  const std::byte* data = nullptr;
  std::shared_ptr<Buffer> owner = {};  ///< of `data`
};

/// Takes what a plan gives away. Thread-safe.
class HashSink {
 public:
  virtual ~HashSink() = default;
  virtual void give(std::size_t subject, HashItem item) = 0;
  /// A piece has no digest. @param rest bytes of it that will not come
  virtual void fail(std::size_t subject, std::size_t piece, std::uint64_t rest,
                    const std::shared_ptr<const Trouble>& why) = 0;
  /// Nothing more comes for this subject.
  virtual void complete(std::size_t subject) = 0;
  /// Whether the digests of a subject keep up with what they were given.
  virtual bool keeps_up(std::size_t subject) const = 0;
};

/// Plans one group of subjects. Each of them goes through its bytes from front to back.
/// Thread-safe; reads nothing but tables of layers.
class HashPlan {
 public:
  /// @param numbers of the subjects of this group
  HashPlan(std::span<const HashSubject> subjects, const std::vector<std::size_t>& numbers,
           HashSink& sink);
  ~HashPlan();
  HashPlan(const HashPlan&) = delete;
  HashPlan& operator=(const HashPlan&) = delete;

  struct Stream;
  struct Reading {
    Stream* stream = nullptr;
    const BlockDevice* device = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  /// Gives away what needs no reading. @return what is to be read next; nullopt: nothing before a
  /// reading has come back, or a digest has caught up
  std::optional<Reading> next();
  /// It was read. @param bytes at least reading.length
  void came(const Reading& reading, std::shared_ptr<Buffer> bytes);
  /// It could not be read.
  void failed(const Reading& reading, const Error& why);

  /// The storages below a subject, as far as its bytes were looked for.
  std::set<const Storage*> storages(std::size_t subject) const;

 private:
  struct Place {
    bool data = true;
    std::uint64_t length = 0;
  };
  /// A device below, where the next bytes of a stream lie one behind the other.
  struct Link {
    const BlockDevice* device = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  using Chain = std::vector<Link>;

  void advance_all() PEELFS_REQUIRES(mutex_);
  void advance(Stream& stream) PEELFS_REQUIRES(mutex_);
  bool locate(Stream& stream) PEELFS_REQUIRES(mutex_);
  bool feed(Stream& stream) PEELFS_REQUIRES(mutex_);
  void take(Stream& stream, const HashChunk& chunk, std::uint64_t at, std::uint64_t length)
      PEELFS_REQUIRES(mutex_);
  void give_up(Stream& stream, const Error& why) PEELFS_REQUIRES(mutex_);
  bool waits(const Stream& stream) const PEELFS_REQUIRES(mutex_);
  std::uint64_t reading_length(Stream& stream) PEELFS_REQUIRES(mutex_);
  Place look(const BlockDevice& device, std::uint64_t offset, std::uint64_t length, Chain& chain,
             std::set<const Storage*>& storages) PEELFS_REQUIRES(mutex_);
  Place stored(const Storage& storage, std::uint64_t offset, std::uint64_t length)
      PEELFS_REQUIRES(mutex_);

  HashSink& sink_;
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Stream>> streams_ PEELFS_GUARDED_BY(mutex_);
  std::unordered_map<const BlockDevice*, Stream*> by_device_ PEELFS_GUARDED_BY(mutex_);
  /// The last ones that were read, the latest first: a striped volume takes turns among them.
  std::deque<HashChunk> recent_ PEELFS_GUARDED_BY(mutex_);
  /// Of a storage the last run of data, or hole, that was asked for.
  struct StoredRun {
    std::uint64_t begin = 0, end = 0;
    bool data = true;
  };
  std::map<const Storage*, StoredRun> stored_ PEELFS_GUARDED_BY(mutex_);
  Chain scratch_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace peelfs
