// Looking at one device: what is it, and what is in it?
#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <thread>
#include <vector>

#include "identify/identify.h"
#include "identify/sparse_copy.h"
#include "peelfs/devices.h"
#include "peelfs/mutex.h"
#include "scan/head_cache.h"
#include "scan/signatures.h"
#include "scan/state.h"

namespace peelfs {

namespace {

/// More than there are processors: most of the time is spent waiting for disks and networks.
constexpr std::size_t kMostLookers = 8;

/// Threads that are started while one exists take no signals.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

void Scanner::State::look_at(Item& item) {
  item.is_identified = false;
  item.directive = nullptr;
  if (item.node.component || item.part || is_cancelled()) return;
  const auto head = std::make_shared<const HeadCache>(item.node.device, cancel.get());
  item.directive = directive_for(item);
  item.is_identified = identified(item, *head);
  if (item.directive != nullptr && item.node.identity.type.ends_with("_raid_member") &&
      item.node.device->writable()) {
    item.node.device = make_read_only(
        item.node.device, "it is a member of an array (" + printable(item.node.identity.type) +
                              "), the others of which would not be written");
  }
  if (item.is_identified) {
    const auto trouble = caught([&] {
      if (item.directive == nullptr) return probe(item, *head);
      follow_directive(item, *head);
    });
    if (trouble) join(item.node.trouble, *trouble);
  }
  if (!is_cancelled()) return;
  // Reads that were ended count as zeroes, so what was found means nothing.
  item.node.identity = {};
  item.node.layer.clear();
  item.layer = nullptr;
  item.claim.reset();
  item.reset_trouble();
}

void Scanner::State::look_at_all(const std::vector<std::uint64_t>& wave) {
  std::vector<Item*> items;
  for (const std::uint64_t id : wave) {
    if (graph.items().contains(id)) items.push_back(&graph.at(id));
  }
  std::atomic<std::size_t> next{0};
  struct {
    Mutex mutex;
    std::exception_ptr last PEELFS_GUARDED_BY(mutex);
  } failure;
  const auto work = [&] {
    for (std::size_t i = next++; i < items.size(); i = next++) {
      try {
        look_at(*items[i]);
      } catch (...) {  // out of memory: it ends the scan
        const MutexLock lock(failure.mutex);
        failure.last = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    // Where the budget may end within the wave, it ends at the same device each time.
    const bool is_scarce =
        budget->left(Budget::Kind::identify_bytes) / SparseCopy::kMostBytes < items.size();
    const std::size_t count = is_scarce ? 1 : std::min(items.size(), kMostLookers);
    try {
      const SignalsBlocked blocked;  // they are this thread's business
      while (helpers.size() + 1 < count) helpers.emplace_back(work);
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): fewer do
    }
    work();
  }
  const MutexLock lock(failure.mutex);
  if (failure.last) std::rethrow_exception(failure.last);
}

void Scanner::State::take_up(std::uint64_t id) {
  Item& item = graph.at(id);
  if (item.node.component || item.part) return;
  if (is_cancelled()) return leave_out(item);
  if (!item.is_identified) return;
  if (item.directive != nullptr) {
    item.directive->is_used = true;
    if (item.directive->opens_unseen()) {
      take_unseen(item);
      open_single(id);
      return;
    }
  }
  const bool image = item.layer != nullptr && item.layer->traits.image;
  // A damaged table in a raw image file is the disk's trouble, which is looked at next.
  const bool is_raw = item.directive == nullptr || item.directive->directive.kind == kAsRaw;
  if (item.image_file && !image && is_raw && unpack_raw(id)) return;
  if (!image) settle_source_name(item);
  // What libblkid finds in a file in an image format lies in it by chance.
  if (image) item.node.identity = {};
  item.ambiguous = several_signatures(item.node.identity,
                                      item.claim ? item.claim->format : item.node.identity.type);
  if (item.ambiguous) join(item.node.trouble, *item.ambiguous);
  if (item.directive != nullptr) note_outcome(item);
  if (!item.claim) return;
  item.node.format = item.claim->format;
  // The identifier of a partition table is no UUID of the device: lsblk shows it as PTUUID.
  const Traits& traits = item.layer->traits;
  const bool table = traits.partition_table;
  if (!table && !item.node.identity.type.empty() && item.node.identity.type != item.claim->format) {
    // Another signature was taken than libblkid's first: its names are those of something else.
    item.node.identity.type = item.claim->format;
    item.node.identity.usage = traits.encryption   ? "crypto"
                               : traits.filesystem ? "filesystem"
                                                   : "raid";
    item.node.identity.uuid.clear();
    item.node.identity.label.clear();
  }
  std::string& uuid = table ? item.node.identity.ptuuid : item.node.identity.uuid;
  if (uuid.empty()) uuid = item.claim->uuid;
  if (item.node.identity.label.empty()) item.node.identity.label = item.claim->label;
  if (item.claim->membership) return join_group(item);
  open_single(id);
}

bool Scanner::State::identified(Item& item, const HeadCache& head) const {
  if (budget->left(Budget::Kind::identify_bytes) == 0) {
    budget->refuse(Budget::Kind::identify_bytes, item.node.stem);
    join(item.node.trouble, {Trouble::denied, spent_reason(Budget::Kind::identify_bytes)});
    return false;
  }
  const bool partition = item.node.kind == "part";
  const auto trouble =
      caught([&] { item.node.identity = identify(head, budget.get(), partition); });
  if (trouble) join(item.node.trouble, *trouble);
  return !trouble;
}

void Scanner::State::probe(Item& item, const HeadCache& head, bool images_only) const {
  const ProbeInput input{head, item.node.identity, item.node.parttype};
  for (const Layer& layer : formats->rows()) {
    if (layer.probe == nullptr || (layer.traits.image ? !item.probe_formats : images_only))
      continue;
    // Set before the probe: if it throws, the device is this layer's, and damaged.
    item.layer = &layer;
    item.node.layer = layer.name;
    item.claim = layer.probe(input);
    if (item.claim) return;
  }
  item.layer = nullptr;
  item.node.layer.clear();
}

void Scanner::State::settle_source_name(Item& item) {
  if (!item.node.parents.empty() || item.node.kind != "file") return;
  item.node.kind = "disk";
  item.node.name = item.node.stem;
}

bool Scanner::State::unpack_raw(std::uint64_t id) {
  Item& file = graph.at(id);
  if (!file.unpacks_to_stem) return false;
  file.layer = nullptr;
  file.claim.reset();
  file.node.layer.clear();
  file.node.format = "raw";
  file.node.trouble.reset();
  const Identity identity = file.node.identity;
  file.node.identity = {};  // labels and UUIDs belong to the disk
  Inner disk;
  disk.kind = "disk";
  disk.name = file.node.stem;
  disk.device = file.node.device;
  if (Item* item = add_inner(std::move(disk), {id})) item->probe_formats = false;
  return true;
}

Member Scanner::State::member_of(const Item& item) const {
  return {item.node.device,     item.claim ? &*item.claim : nullptr,
          item.node.stem,       item.node.tail,
          item.unpacks_to_stem, item.references};
}

bool Scanner::State::open_single(std::uint64_t id, const KeyRing& ring) {
  Item& item = graph.at(id);
  const Member member = member_of(item);
  Opened opened;
  const bool is_directed = item.directive != nullptr && item.directive->row == item.layer;
  const OpenInput input{{&member, 1},
                        ring,
                        limits,
                        is_directed ? &item.directive->directive : nullptr,
                        item.node.image_depth,
                        budget.get(),
                        &memories[item.layer],
                        formats,
                        {},
                        cancel.get()};
  const auto trouble = caught([&] { opened = item.layer->open(input); });
  if (trouble) join(item.node.trouble, *trouble);
  if (opened.trouble) join(item.node.trouble, *opened.trouble);
  item.node.filesystem =
      opened.filesystems.empty() ? nullptr : std::move(opened.filesystems.front());
  if (is_cancelled()) leave_out(item);
  if (item.layer->traits.image && item.node.parents.empty() && !opened.devices.empty()) {
    // The disk takes its file's place, and its troubles.
    item.node.hidden = true;
    if (item.stand_in) opened.devices.front().device = item.stand_in;
    if (item.node.trouble) join(opened.devices.front().trouble, *item.node.trouble);
  }
  for (Inner& inner : opened.devices) add_inner(std::move(inner), {id});
  return !trouble;
}

}  // namespace peelfs
