#include "cli/changes.h"

#include <optional>
#include <set>

#include "btrfs/owner.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "ext/owner.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

bool is_ext(const Node& node) {
  const std::string& type = node.identity.type;
  return type == "ext2" || type == "ext3" || type == "ext4";
}

std::vector<ByteRange> ranges_of(const overlay::Comparison& comparison) {
  std::vector<ByteRange> ranges;
  for (const overlay::ChangedRun& run : comparison.runs) ranges.push_back({run.offset, run.length});
  return ranges;
}

std::vector<ByteRange> unnamed(const std::vector<NamedRange>& named) {
  std::vector<ByteRange> ranges;
  for (const NamedRange& range : named) {
    if (range.what.empty()) ranges.push_back({range.offset, range.length});
  }
  return ranges;
}

/// What it is now, and for what is free now, what it was.
std::vector<NamedRange> name_ext(const Node* before, const Node* after,
                                 const std::vector<ByteRange>& ranges) {
  std::vector<NamedRange> now;
  if (after != nullptr && is_ext(*after)) {
    now = ext::name_blocks(after->device, ranges);
  } else {
    for (const ByteRange& range : ranges) now.push_back({range.offset, range.length, ""});
  }
  std::vector<NamedRange> formerly;
  if (before != nullptr && is_ext(*before)) {
    formerly = ext::name_blocks(before->device, unnamed(now));
  }
  std::vector<NamedRange> result;
  std::size_t next = 0;
  for (const NamedRange& range : now) {
    if (!range.what.empty()) {
      append(result, range.offset, range.offset + range.length, range.what);
      continue;
    }
    const std::uint64_t end = range.offset + range.length;
    if (formerly.empty()) append(result, range.offset, end, "free space");
    for (; next < formerly.size() && formerly[next].offset < end; ++next) {
      const NamedRange& old = formerly[next];
      append(result, old.offset, old.offset + old.length,
             old.what.empty() ? "free space" : "formerly " + old.what);
    }
  }
  return result;
}

/// Which filesystem's words fit is told by what is there now, or was.
std::vector<NamedRange> name_changes(const Node& before, const Node& after,
                                     const overlay::Comparison& comparison) {
  std::vector<ByteRange> ranges;
  // What lies beyond the end of one of them is nobody's there.
  const std::uint64_t common = std::min(before.device->size(), after.device->size());
  for (const ByteRange& range : ranges_of(comparison)) {
    if (range.offset < common) {
      ranges.push_back({range.offset, std::min(range.length, common - range.offset)});
    }
  }
  if (is_ext(after) || is_ext(before)) return name_ext(&before, &after, ranges);
  if (after.identity.type == "btrfs") return btrfs::name_blocks(*after.device, ranges);
  if (before.identity.type == "btrfs") return btrfs::name_blocks(*before.device, ranges);
  return {};
}

class Finder {
 public:
  Finder(const Catalog& before, const Catalog& after, std::string only, bool progress)
      : before_(before), after_(after), only_(std::move(only)), progress_(progress) {}

  std::vector<DeviceChange> run() {
    visit(after_.tree().roots, 0);
    for (const Catalog::Entry& entry : before_.devices()) {
      if (seen_.contains(entry.name) || (!only_.empty() && entry.name != only_)) continue;
      DeviceChange gone = start(entry.name, *entry.node, 0);
      gone.fate = DeviceChange::Fate::vanished;
      result_.push_back(std::move(gone));
    }
    return std::move(result_);
  }

 private:
  static DeviceChange start(const std::string& name, const Node& node, unsigned depth) {
    DeviceChange change;
    change.name = name;
    change.kind = node.kind;
    change.size = node.device->size();
    change.depth = depth;
    return change;
  }

  void visit(const std::vector<std::uint64_t>& ids, unsigned depth) {
    for (const std::uint64_t id : ids) {
      const Node& node = after_.tree().at(id);
      const std::string& name = after_.name_of(id);
      if (name.empty()) {
        visit(node.children, depth);
        continue;
      }
      if (!seen_.insert(name).second) continue;  // below another of its members already
      if (only_.empty() || name == only_) result_.push_back(compare(name, node, depth));
      visit(node.children, depth + 1);
    }
  }

  DeviceChange compare(const std::string& name, const Node& after, unsigned depth) {
    DeviceChange change = start(name, after, depth);
    const Node* before = nullptr;
    for (const Catalog::Entry& entry : before_.devices()) {
      if (entry.name == name) before = entry.node.get();
    }
    if (before == nullptr) {
      change.fate = DeviceChange::Fate::appeared;
      return change;
    }
    if (after.trouble && after.trouble->state == "locked" && before->trouble &&
        before->trouble->state == "locked") {
      change.remark = "locked: what is in it cannot be compared without its key";
    }
    {
      Progress bar(shown("comparing " + name), after.device->size(), progress_);
      change.comparison =
          overlay::compare_devices(*before->device, *after.device, [&](std::uint64_t done) {
            bar.update(done);
            Interruptible::check();
          });
    }
    if (change.comparison.changed == 0) return change;
    try {
      change.named = name_changes(*before, after, change.comparison);
    } catch (const Error& error) {
      change.remark = error.what();
    }
    return change;
  }

  const Catalog& before_;
  const Catalog& after_;
  const std::string only_;
  const bool progress_;
  std::set<std::string> seen_;
  std::vector<DeviceChange> result_;
};

}  // namespace

std::vector<DeviceChange> find_changes(const Peeling& before, const Peeling& after,
                                       const std::string& only, bool progress) {
  const auto old_catalog = before.catalog();
  const auto new_catalog = after.catalog();
  return Finder(*old_catalog, *new_catalog, only, progress).run();
}

}  // namespace peelfs::cli
