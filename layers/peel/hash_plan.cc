#include "peel/hash_plan.h"

#include <algorithm>
#include <bit>

#include "engine/missing.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr unsigned kMaxDepth = 4096;  // as resolve()
constexpr std::uint64_t kChunk = 1U << 20U;
constexpr std::uint64_t kLargestChunk = 4U << 20U;
constexpr std::size_t kRecent = 6;
/// A hole that is shorter is read with what lies around it.
constexpr std::uint64_t kWorthwhileHole = 64U << 10U;
/// Bytes that are to come by are waited for, unless that many times as many come before them: the
/// pieces of a fragmented image are rather read at once, by a processor that has nothing else to
/// do.
constexpr std::uint64_t kPatience = 64;

/// Adds the storages that the bytes of a device are computed from, as far as that can be told.
void note_storages(const BlockDevice& device, std::uint64_t offset,
                   std::set<const Storage*>& storages) {
  try {
    Extent from = device.computed_from(offset, 1);
    for (unsigned depth = 0; depth < kMaxDepth && from.kind == ExtentKind::lower; ++depth) {
      const Resolved found = resolve(*from.device, from.offset, 1);
      if (found.extent.kind == ExtentKind::storage) storages.insert(found.extent.storage);
      if (found.extent.kind != ExtentKind::computed) return;
      from = found.device->computed_from(found.offset, 1);
    }
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): a reading says what is wrong
  }
}

}  // namespace

/// A subject on its way from its first byte to its last.
struct HashPlan::Stream {
  std::size_t number = 0;
  const BlockDevice* device = nullptr;
  const std::vector<ByteRange>* pieces = nullptr;

  std::size_t piece = 0;
  std::uint64_t at = 0;  ///< its next byte
  bool complete = false;
  bool is_read = false;  ///< a reading of its own is under way
  bool located = false;  ///< `chain` and `run` are those of `at`
  Chain chain;           ///< itself, what it lies on, what that lies on, ...
  std::uint64_t run = 0;
  /// Up to here pieces are read one by one: a reading of several of them has failed.
  std::uint64_t careful_until = 0;
  std::set<const Storage*> storages;

  std::uint64_t piece_end() const { return (*pieces)[piece].offset + (*pieces)[piece].length; }
  void begin_piece() {
    at = (*pieces)[piece].offset;
    located = false;
  }
  /// Where the pieces end that lie one behind the other from here on.
  std::uint64_t reach(std::uint64_t limit) const {
    std::size_t last = piece;
    std::uint64_t end = piece_end();
    while (end < limit && last + 1 < pieces->size() && (*pieces)[last + 1].offset == end) {
      ++last;
      end += (*pieces)[last].length;
    }
    return std::min(end, limit);
  }
  /// Whether it has not come by a byte yet, and will.
  bool comes_to(std::uint64_t offset) const {
    if (complete || at > offset) return false;
    const auto behind = std::upper_bound(
        pieces->begin(), pieces->end(), offset,
        [](std::uint64_t wanted, const ByteRange& one) { return wanted < one.offset; });
    return behind != pieces->begin() &&
           offset - std::prev(behind)->offset < std::prev(behind)->length;
  }
};

HashPlan::HashPlan(std::span<const HashSubject> subjects, const std::vector<std::size_t>& numbers,
                   HashSink& sink)
    : sink_(sink) {
  const MutexLock lock(mutex_);
  for (const std::size_t number : numbers) {
    auto stream = std::make_unique<Stream>();
    stream->number = number;
    stream->device = subjects[number].device.get();
    stream->pieces = &subjects[number].pieces;
    if (stream->pieces->empty()) {
      stream->complete = true;
      sink_.complete(number);
    } else {
      stream->begin_piece();
    }
    by_device_.emplace(stream->device, stream.get());
    streams_.push_back(std::move(stream));
  }
}

HashPlan::~HashPlan() = default;

std::optional<HashPlan::Reading> HashPlan::next() {
  const MutexLock lock(mutex_);
  advance_all();
  // The one that is furthest behind: legs of a stripe stay side by side.
  Stream* best = nullptr;
  for (const auto& stream : streams_) {
    const bool ready = !stream->complete && !stream->is_read && stream->located;
    if (!ready || (best != nullptr && best->at <= stream->at)) continue;
    if (waits(*stream) || !sink_.keeps_up(stream->number)) continue;
    best = stream.get();
  }
  if (best == nullptr) return std::nullopt;
  best->is_read = true;
  return Reading{best, best->device, best->at, reading_length(*best)};
}

void HashPlan::came(const Reading& reading, std::shared_ptr<Buffer> bytes) {
  const MutexLock lock(mutex_);
  Stream& reader = *reading.stream;
  recent_.push_front({reading.device, reading.offset, reading.length, std::move(bytes)});
  if (recent_.size() > kRecent) recent_.pop_back();
  reader.is_read = false;
  take(reader, recent_.front(), reading.offset, reading.length);
  advance_all();
}

void HashPlan::failed(const Reading& reading, const Error& why) {
  const MutexLock lock(mutex_);
  Stream& reader = *reading.stream;
  reader.is_read = false;
  reader.located = false;
  if (reading.offset + reading.length > reader.piece_end()) {
    reader.careful_until = reading.offset + reading.length;
    return;
  }
  give_up(reader, why);
  if (std::ranges::all_of(streams_, [](const auto& stream) { return stream->complete; })) {
    recent_.clear();
  }
}

std::set<const Storage*> HashPlan::storages(std::size_t subject) const {
  const MutexLock lock(mutex_);
  for (const auto& stream : streams_) {
    if (stream->number == subject) return stream->storages;
  }
  return {};
}

void HashPlan::advance_all() {
  bool complete = true;
  for (const auto& stream : streams_) {
    advance(*stream);
    complete = complete && stream->complete;
  }
  if (complete) recent_.clear();
}

/// Goes on as far as nothing has to be read for it.
void HashPlan::advance(Stream& stream) {
  while (!stream.complete && !stream.is_read) {
    if (!stream.located && !locate(stream)) return;
    if (!feed(stream)) return;
  }
}

/// Passes ends of pieces, holes, and what cannot be mapped. @return false: there is nothing more
bool HashPlan::locate(Stream& stream) {
  while (!stream.complete) {
    if (stream.at == stream.piece_end()) {
      sink_.give(stream.number, {.kind = HashItem::Kind::end});
      if (++stream.piece == stream.pieces->size()) {
        stream.complete = true;
        sink_.complete(stream.number);
        return false;
      }
      stream.begin_piece();
      continue;
    }
    Place place;
    try {
      place = look(*stream.device, stream.at, stream.piece_end() - stream.at, stream.chain,
                   stream.storages);
    } catch (const Error& error) {
      give_up(stream, error);
      continue;
    }
    if (place.data) {
      stream.run = place.length;
      stream.located = true;
      return true;
    }
    sink_.give(stream.number, {.kind = HashItem::Kind::zeroes, .length = place.length});
    stream.at += place.length;
  }
  return false;
}

/// Takes bytes that were read for another. @return false: none of them are the next ones
bool HashPlan::feed(Stream& stream) {
  for (const HashChunk& chunk : recent_) {
    for (const Link& link : stream.chain) {
      if (link.device != chunk.device || link.offset < chunk.offset || link.offset >= chunk.end()) {
        continue;
      }
      const std::uint64_t length =
          std::min({link.length, chunk.end() - link.offset, stream.piece_end() - stream.at});
      take(stream, chunk, link.offset, length);
      return true;
    }
  }
  return false;
}

/// @param at in the chunk's device; as many of its bytes as `length` are the stream's next ones
void HashPlan::take(Stream& stream, const HashChunk& chunk, std::uint64_t at,
                    std::uint64_t length) {
  while (length != 0) {
    const std::uint64_t some = std::min(length, stream.piece_end() - stream.at);
    if (some != 0) {
      sink_.give(stream.number, {.kind = HashItem::Kind::bytes,
                                 .length = some,
                                 .data = chunk.bytes->data() + (at - chunk.offset),
                                 .owner = chunk.bytes});
    }
    stream.at += some;
    at += some;
    length -= some;
    // Pieces behind one another are one reading; locate() ends the last one.
    if (length == 0) break;
    sink_.give(stream.number, {.kind = HashItem::Kind::end});
    ++stream.piece;
    stream.begin_piece();
  }
  stream.located = false;
}

/// The piece that its next byte belongs to has no digest, nor have others that are missing with it.
void HashPlan::give_up(Stream& stream, const Error& why) {
  const auto trouble = std::make_shared<const Trouble>(trouble_from(why));
  std::uint64_t gone = stream.at;  // everything below is lost
  if (stream.pieces->size() > 1 && stream.at < stream.device->size()) {
    const Presence there = presence(*stream.device, stream.at, stream.device->size() - stream.at);
    if (there.missing) gone += there.length;
  }
  do {
    sink_.fail(stream.number, stream.piece, stream.piece_end() - stream.at, trouble);
    sink_.give(stream.number, {.kind = HashItem::Kind::drop});
    if (++stream.piece == stream.pieces->size()) {
      stream.complete = true;
      stream.located = false;
      sink_.complete(stream.number);
      return;
    }
    stream.begin_piece();
  } while (stream.at < gone);
}

/// Whether the next bytes will come by with those of a device below.
bool HashPlan::waits(const Stream& stream) const {
  for (std::size_t i = 1; i < stream.chain.size(); ++i) {
    const Link& link = stream.chain[i];
    const auto found = by_device_.find(link.device);
    if (found == by_device_.end() || !found->second->comes_to(link.offset)) continue;
    const std::uint64_t before = link.offset - found->second->at;
    const bool all_of_it = link.length >= stream.piece_end() - stream.at;
    if (all_of_it || before / kPatience <= link.length) return true;
  }
  return false;
}

std::uint64_t HashPlan::reading_length(Stream& stream) {
  std::uint64_t chunk = kChunk;
  try {
    const Link& last = stream.chain.back();
    chunk = std::max<std::uint64_t>(
        {chunk, best_read(*stream.device, stream.at), last.device->compute_unit()});
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the reading meets it
  }
  chunk = std::bit_ceil(std::min(chunk, kLargestChunk));
  // Readings end on multiples of their size, so that layers are asked for whole clusters.
  std::uint64_t limit = stream.reach(round_down(stream.at, chunk) + chunk);
  if (stream.at < stream.careful_until) limit = std::min(limit, stream.piece_end());
  std::uint64_t end = std::min(stream.at + stream.run, limit);
  while (end < limit) {
    Place place;
    try {
      place = look(*stream.device, end, limit - end, scratch_, stream.storages);
    } catch (const Error&) {
      break;  // what comes before can be read
    }
    if (!place.data && (place.length >= kWorthwhileHole || end + place.length == limit)) break;
    end += place.length;
  }
  return end - stream.at;
}

/// @param chain is filled: the device, and what it lies on there
/// @throws Error as a read of the same place
HashPlan::Place HashPlan::look(const BlockDevice& device, std::uint64_t offset,
                               std::uint64_t length, Chain& chain,
                               std::set<const Storage*>& storages) {
  chain.clear();
  const std::uint64_t first = offset;
  const BlockDevice* current = &device;
  try {
    for (unsigned depth = 0; depth < kMaxDepth; ++depth) {
      chain.push_back({current, offset, length});
      const Extent extent = current->map(offset, length);
      if (extent.length == 0 || extent.length > length) break;
      length = extent.length;
      if (extent.kind == ExtentKind::zero) return {false, length};
      if (extent.kind == ExtentKind::computed) {
        note_storages(*current, offset, storages);
        return {true, length};
      }
      if (extent.kind == ExtentKind::storage) {
        storages.insert(extent.storage);
        return stored(*extent.storage, extent.offset, length);
      }
      const std::uint64_t size = extent.device != nullptr ? extent.device->size() : 0;
      if (extent.offset > size || length > size - extent.offset) break;
      current = extent.device;
      offset = extent.offset;
    }
  } catch (const Error&) {
    static_cast<void>(resolve(device, first, 1));  // says it as a reader hears it
    throw;
  }
  // Nonsense: resolve() says which. Where it does not, that is no place to read from, either.
  static_cast<void>(resolve(device, first, 1));
  throw Error(Fault::damaged, device.describe() + ": its tables contradict themselves");
}

/// Hole or data in a storage. Asked of the host once for each run.
HashPlan::Place HashPlan::stored(const Storage& storage, std::uint64_t offset,
                                 std::uint64_t length) {
  StoredRun& known = stored_[&storage];
  if (offset < known.begin || offset >= known.end) {
    const std::uint64_t size = std::max(storage.size(), offset + length);
    const Run run = storage.status(offset, size - offset);
    known = {offset, offset + run.length, run.data};
  }
  return {known.data, std::min(length, known.end - offset)};
}

}  // namespace peelfs
