#include "peel/hash.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <deque>
#include <exception>
#include <map>
#include <system_error>
#include <thread>
#include <utility>

#include "peel/hash_plan.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/mutex.h"
#include "peelfs/storage.h"

namespace peelfs {

namespace {

/// What a digest may have before it without taking it, of its own device's readings.
constexpr std::uint64_t kFarBehind = 4U << 20U;
/// What a thread hashes before it looks for what matters most.
constexpr std::uint64_t kBatch = 1U << 20U;
constexpr std::uint64_t kZeroBatch = 16U << 20U;

/// Buffers for readings. One that nobody has any more is used again.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  std::shared_ptr<Buffer> get(std::size_t size) {
    std::unique_ptr<Buffer> buffer;
    {
      const MutexLock lock(mutex_);
      if (!free_.empty()) {
        buffer = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (buffer == nullptr) buffer = std::make_unique<Buffer>();
    if (buffer->size() < size) buffer->resize(size);
    ++lent_;
    return {buffer.release(), [self = shared_from_this()](Buffer* one) { self->put(one); }};
  }
  /// How many are in use.
  std::size_t lent() const noexcept { return lent_; }

 private:
  void put(Buffer* buffer) {
    std::unique_ptr<Buffer> owned(buffer);
    const MutexLock lock(mutex_);
    free_.push_back(std::move(owned));
    --lent_;
  }
  Mutex mutex_;
  std::vector<std::unique_ptr<Buffer>> free_ PEELFS_GUARDED_BY(mutex_);
  std::atomic<std::size_t> lent_{0};
};

class Hasher : public HashSink {
 public:
  Hasher(std::span<const HashSubject> subjects, const HashOptions& options)
      : options_(options),
        pool_(std::make_shared<Pool>()),
        most_buffers_(std::size_t{12} * (options.threads + 2)) {
    const MutexLock lock(mutex_);
    std::size_t last = 0;
    for (const HashSubject& subject : subjects) last = std::max(last, subject.group + 1);
    std::vector<std::vector<std::size_t>> groups(last);
    for (std::size_t i = 0; i < subjects.size(); ++i) groups[subjects[i].group].push_back(i);
    result_.pieces.resize(subjects.size());
    jobs_.resize(subjects.size());
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      result_.pieces[i].resize(subjects[i].pieces.size());
      for (HashedPiece& piece : result_.pieces[i]) piece.digests.resize(options.algorithms.size());
      for (const ByteRange& piece : subjects[i].pieces) jobs_[i].left += piece.length;
      jobs_[i].group = subjects[i].group;
    }
    for (std::vector<std::size_t>& numbers : groups) {
      auto group = std::make_unique<Group>();
      group->numbers = std::move(numbers);
      groups_.push_back(std::move(group));
    }
    subjects_ = subjects;
  }

  HashResult run() {
    {
      const MutexLock lock(mutex_);
      admit();
    }
    std::vector<std::jthread> threads;
    start(threads);
    try {
      if (threads.empty()) work();
      watch();
    } catch (...) {
      stop(std::current_exception());
    }
    threads.clear();  // joins
    const MutexLock lock(mutex_);
    if (error_) std::rethrow_exception(error_);
    drop_changed();
    for (std::vector<HashedPiece>& pieces : result_.pieces) {
      for (HashedPiece& piece : pieces) {
        if (piece.failure != nullptr) piece.digests.clear();
      }
    }
    result_.read = read_;
    return std::move(result_);
  }

  // The sink. Called with the lock of a plan held; that of this one comes behind it.
  void give(std::size_t subject, HashItem item) override {
    const MutexLock lock(mutex_);
    Job& job = jobs_[subject];
    for (Lane& lane : job.lanes) {
      if (item.kind == HashItem::Kind::bytes) lane.waiting += item.length;
      if (!lane.items.empty() && joins(lane.items.back(), item)) {
        lane.items.back().length += item.length;
      } else {
        lane.items.push_back(item);
      }
    }
    wanted_.notify_one();
  }
  void fail(std::size_t subject, std::size_t piece, std::uint64_t rest,
            const std::shared_ptr<const Trouble>& why) override {
    const MutexLock lock(mutex_);
    result_.pieces[subject][piece].failure = why;
    jobs_[subject].left -= rest;
    done_ += rest;
  }
  void complete(std::size_t subject) override {
    const MutexLock lock(mutex_);
    jobs_[subject].complete = true;
    look_for_end(jobs_[subject]);
  }
  bool keeps_up(std::size_t subject) const override {
    const MutexLock lock(mutex_);
    return std::ranges::all_of(jobs_[subject].lanes,
                               [](const Lane& lane) { return lane.waiting < kFarBehind; });
  }

 private:
  /// One digest of one subject. What comes for it is taken in order, by one thread at a time.
  struct Lane {
    explicit Lane(const DigestAlgorithm& algorithm) : digest(algorithm) {}
    Digest digest;
    std::deque<HashItem> items;
    std::uint64_t waiting = 0;  ///< bytes among the items that were read
    std::size_t piece = 0;
    bool busy = false;
  };
  struct Job {
    std::vector<Lane> lanes;
    std::size_t group = 0;
    std::uint64_t left = 0;  ///< bytes that its first digest has not taken
    bool complete = false;   ///< nothing more comes
    bool ended = false;
  };
  struct Group {
    std::vector<std::size_t> numbers;
    std::unique_ptr<HashPlan> plan;
    std::size_t ended = 0;      ///< jobs
    std::uint64_t events = 1;   ///< grows when the plan may have something new to say
    std::uint64_t planned = 0;  ///< events that it knew when it had nothing to be read
    bool is_asked = false;      ///< by a thread, now
  };
  struct Turn {
    std::size_t job = 0;
    std::size_t lane = 0;
  };

  static bool joins(const HashItem& last, const HashItem& next) {
    if (last.kind != next.kind) return false;
    if (last.kind == HashItem::Kind::zeroes) return true;
    return last.kind == HashItem::Kind::bytes && last.owner == next.owner &&
           last.data + last.length == next.data;
  }

  /// Begins with groups until enough are under way: not all disks of a folder are read at once, and
  /// what is planned stays small.
  void admit() PEELFS_REQUIRES(mutex_) {
    while (admitted_ < groups_.size() && admitted_ - ended_groups_ < options_.threads + 1) {
      Group& group = *groups_[admitted_++];
      for (const std::size_t number : group.numbers) {
        for (const DigestAlgorithm* algorithm : options_.algorithms) {
          jobs_[number].lanes.emplace_back(*algorithm);
        }
      }
      active_.push_back(&group);
      if (group.numbers.empty()) end_of(group);
    }
  }

  void look_for_end(Job& job) PEELFS_REQUIRES(mutex_) {
    if (!job.complete || job.ended) return;
    for (const Lane& lane : job.lanes) {
      if (lane.busy || !lane.items.empty()) return;
    }
    job.ended = true;
    job.lanes.clear();
    Group& group = *groups_[job.group];
    if (++group.ended == group.numbers.size()) end_of(group);
  }

  void end_of(Group& group) PEELFS_REQUIRES(mutex_) {
    std::erase(active_, &group);
    ++ended_groups_;
    if (ended_groups_ == groups_.size()) ended_.notify_all();
    wanted_.notify_all();
  }

  bool is_over() const PEELFS_REQUIRES(mutex_) {
    return stopped_ || ended_groups_ == groups_.size();
  }

  void start(std::vector<std::jthread>& threads) {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the caller's thread
    try {
      while (threads.size() < std::max(1U, options_.threads)) {
        threads.emplace_back([this] { work(); });
      }
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): fewer do, or none
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  /// In the caller's thread, until all is done.
  void watch() {
    for (;;) {
      {
        UniqueLock lock(mutex_);
        const bool over = ended_.wait_for(lock, std::chrono::milliseconds(100),
                                          [this]() PEELFS_REQUIRES(mutex_) { return is_over(); });
        if (over) return;
      }
      check_cancel(options_.cancel);
      if (options_.progress) options_.progress(done_);
    }
  }

  void stop(const std::exception_ptr& why) {
    const MutexLock lock(mutex_);
    if (!error_) error_ = why;
    stopped_ = true;
    wanted_.notify_all();
    ended_.notify_all();
  }

  void work() noexcept {
    try {
      UniqueLock lock(mutex_);
      while (!is_over()) {
        if (is_cancelled(options_.cancel)) break;
        admit();
        Turn turn;
        std::size_t ready = 0;
        find_turn(turn, ready);
        // Where there is work for all, reading can wait.
        Group* const group = ready > options_.threads ? nullptr : find_group();
        if (group != nullptr) {
          group->is_asked = true;
          const std::uint64_t events = group->events;
          lock.unlock();
          const auto reading = plan_of(*group).next();
          lock.lock();
          group->is_asked = false;
          if (!reading) {
            group->planned = events;
            continue;
          }
          wanted_.notify_one();  // there may be more to be read
          lock.unlock();
          get(*group->plan, *reading);
          lock.lock();
          ++group->events;
          wanted_.notify_one();
        } else if (ready != 0) {
          const std::vector<HashItem> batch = begin(turn);
          Lane& lane = jobs_[turn.job].lanes[turn.lane];
          lock.unlock();
          const Taken taken = digest(lane, turn, batch);
          lock.lock();
          end(turn, taken);
        } else {
          wanted_.wait(lock);
        }
      }
    } catch (...) {
      stop(std::current_exception());
    }
  }

  /// The digest with most before it: the last ones to end should not be left alone.
  void find_turn(Turn& best, std::size_t& ready) const PEELFS_REQUIRES(mutex_) {
    std::uint64_t most = 0;
    for (const Group* group : active_) {
      for (const std::size_t number : group->numbers) {
        const Job& job = jobs_[number];
        for (std::size_t i = 0; i < job.lanes.size(); ++i) {
          if (job.lanes[i].busy || job.lanes[i].items.empty()) continue;
          const std::uint64_t left = job.left + job.lanes[i].waiting;
          if (ready++ == 0 || left > most) {
            most = left;
            best = {number, i};
          }
        }
      }
    }
  }

  /// One that may have something to be read.
  Group* find_group() const PEELFS_REQUIRES(mutex_) {
    if (pool_->lent() >= most_buffers_) return nullptr;
    for (Group* group : active_) {
      if (!group->is_asked && group->planned != group->events) return group;
    }
    return nullptr;
  }

  /// Made by the first thread that asks it, which is alone then.
  HashPlan& plan_of(Group& group) {
    if (group.plan == nullptr) {
      group.plan = std::make_unique<HashPlan>(subjects_, group.numbers, *this);
    }
    return *group.plan;
  }

  void get(HashPlan& plan, const HashPlan::Reading& reading) {
    auto buffer = pool_->get(reading.length);
    try {
      read(*reading.device, reading.offset, MutableBytes(*buffer).first(reading.length));
    } catch (const Error& error) {
      return plan.failed(reading, error);
    }
    read_ += reading.length;
    plan.came(reading, std::move(buffer));
  }

  /// What a digest takes at once.
  std::vector<HashItem> begin(const Turn& turn) PEELFS_REQUIRES(mutex_) {
    Lane& lane = jobs_[turn.job].lanes[turn.lane];
    lane.busy = true;
    std::vector<HashItem> batch;
    for (std::uint64_t length = 0; !lane.items.empty() && length < kBatch;) {
      HashItem& first = lane.items.front();
      if (first.kind == HashItem::Kind::zeroes && first.length > kZeroBatch) {
        batch.push_back({.kind = HashItem::Kind::zeroes, .length = kZeroBatch});
        first.length -= kZeroBatch;
        break;
      }
      length += first.length;
      batch.push_back(std::move(first));
      lane.items.pop_front();
    }
    return batch;
  }

  struct Taken {
    std::uint64_t all = 0, read = 0;
  };
  /// Without the lock: the lane is this thread's own, and so are its places in the result.
  Taken digest(Lane& lane, const Turn& turn, const std::vector<HashItem>& batch) {
    std::vector<HashedPiece>& pieces = result_.pieces[turn.job];
    Taken taken;
    for (const HashItem& item : batch) {
      switch (item.kind) {
        case HashItem::Kind::bytes:
          lane.digest.update({item.data, item.length});
          taken.read += item.length;
          break;
        case HashItem::Kind::zeroes:
          lane.digest.update_zeroes(item.length);
          break;
        case HashItem::Kind::end:
          pieces[lane.piece++].digests[turn.lane] = lane.digest.finish();
          break;
        case HashItem::Kind::drop:
          lane.digest.reset();
          ++lane.piece;
          break;
      }
      taken.all += item.length;
    }
    return taken;
  }

  void end(const Turn& turn, const Taken& taken) PEELFS_REQUIRES(mutex_) {
    Job& job = jobs_[turn.job];
    Lane& lane = job.lanes[turn.lane];
    lane.busy = false;
    lane.waiting -= taken.read;
    if (turn.lane == 0) {
      job.left -= taken.all;
      done_ += taken.all;
    }
    ++groups_[job.group]->events;
    look_for_end(job);
    wanted_.notify_one();
  }

  /// What was read of a file that changed meanwhile is of no one moment.
  void drop_changed() PEELFS_REQUIRES(mutex_) {
    std::map<const Storage*, std::shared_ptr<const Trouble>> changed;
    for (const auto& group : groups_) {
      for (const std::size_t number : group->numbers) {
        for (const Storage* const storage : group->plan->storages(number)) {
          auto& trouble = changed[storage];
          if (trouble == nullptr && storage->changed()) {
            trouble = std::make_shared<const Trouble>(
                Trouble{Trouble::io, storage->name() + " was changed while it was read"});
          }
          if (trouble != nullptr) forget(result_.pieces[number], trouble);
        }
      }
    }
  }

  static void forget(std::vector<HashedPiece>& pieces,
                     const std::shared_ptr<const Trouble>& trouble) {
    for (HashedPiece& piece : pieces) piece.failure = trouble;
  }

  const HashOptions& options_;
  std::span<const HashSubject> subjects_;
  const std::shared_ptr<Pool> pool_;
  const std::size_t most_buffers_;
  std::atomic<std::uint64_t> done_{0}, read_{0};

  mutable Mutex mutex_;
  Condition wanted_;  ///< there is something to do, or nothing any more
  Condition ended_;
  HashResult result_;  ///< sized at the beginning; each lane writes its own places
  std::vector<Job> jobs_ PEELFS_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Group>> groups_ PEELFS_GUARDED_BY(mutex_);
  std::vector<Group*> active_ PEELFS_GUARDED_BY(mutex_);
  std::size_t admitted_ PEELFS_GUARDED_BY(mutex_) = 0;
  std::size_t ended_groups_ PEELFS_GUARDED_BY(mutex_) = 0;
  bool stopped_ PEELFS_GUARDED_BY(mutex_) = false;
  std::exception_ptr error_ PEELFS_GUARDED_BY(mutex_);
};

}  // namespace

std::vector<ByteRange> pieces_of(const BlockDevice& device, std::uint64_t piece) {
  if (piece == 0 || device.size() == 0) return {{0, device.size()}};
  if (div_round_up(device.size(), piece) > kMostHashPieces) {
    throw Error(Fault::usage, "the pieces of " + device.describe() + " are too many")
        .found(std::to_string(div_round_up(device.size(), piece)) + " of " + std::to_string(piece) +
               " bytes")
        .expected("at most " + std::to_string(kMostHashPieces))
        .advice("take larger ones");
  }
  std::vector<ByteRange> pieces;
  for (std::uint64_t at = 0; at < device.size(); at += pieces.back().length) {
    pieces.push_back({at, std::min(piece, device.size() - at)});
  }
  return pieces;
}

std::uint64_t hash_total(std::span<const HashSubject> subjects) {
  std::uint64_t total = 0;
  for (const HashSubject& subject : subjects) {
    for (const ByteRange& piece : subject.pieces) total += piece.length;
  }
  return total;
}

HashResult hash_devices(std::span<const HashSubject> subjects, const HashOptions& options) {
  for (const DigestAlgorithm* algorithm : options.algorithms) {
    const Digest allowed(*algorithm);  // throws now, rather than in the middle
  }
  return Hasher(subjects, options).run();
}

}  // namespace peelfs
