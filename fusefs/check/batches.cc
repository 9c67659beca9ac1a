#include "check/batches.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace peelfs::check {

std::vector<Batch> make_batches(const Plan& plan, unsigned at_once) {
  std::vector<Batch> batches;
  constexpr std::uint64_t kSmall = std::uint64_t{4} << 30U;  // bytes of filesystems
  constexpr std::size_t kMostSources = 16;
  std::vector<const Unit*> small;
  for (const Unit& unit : plan.units) {
    std::uint64_t size = 0;
    for (const std::size_t target : unit.targets) size += plan.targets[target].size;
    const bool is_small =
        !unit.needs_overlay && size <= kSmall && unit.sources.size() <= kMostSources / 2;
    if (is_small) {
      small.push_back(&unit);
    } else {
      batches.push_back({&unit});
    }
  }
  const std::size_t parts = std::size_t{4} * at_once;
  const std::size_t in_each = std::clamp<std::size_t>(small.size() / parts, 1, kMostSources);
  Batch batch;
  std::size_t sources = 0;
  for (const Unit* const unit : small) {
    if (batch.size() == in_each || sources + unit->sources.size() > kMostSources) {
      batches.push_back(std::exchange(batch, {}));
      sources = 0;
    }
    batch.push_back(unit);
    sources += unit->sources.size();
  }
  if (!batch.empty()) batches.push_back(std::move(batch));
  return batches;
}

Unit all_of(const Batch& batch) {
  Unit all;
  for (const Unit* const unit : batch) {
    all.sources.insert(all.sources.end(), unit->sources.begin(), unit->sources.end());
    all.targets.insert(all.targets.end(), unit->targets.begin(), unit->targets.end());
    all.references.insert(all.references.end(), unit->references.begin(), unit->references.end());
    all.needs_overlay = all.needs_overlay || unit->needs_overlay;
  }
  // As in the whole run, so that the order decides in the same way where it does.
  std::ranges::sort(all.sources);
  return all;
}

HostOrder host_order(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                     const Unit& unit, bool background) {
  HostOrder order;
  order.request = request;
  order.request.found = nullptr;
  order.request.sources.clear();
  // Files that images of this unit take bytes from were allowed before, perhaps because a person
  // named them as sources.
  for (const std::string& path : unit.references) {
    if (::access(path.c_str(), F_OK) == 0) order.request.allow_references.push_back(path);
  }
  for (const std::size_t one : unit.sources) {
    const Source& source = peeling.sources()[one];
    SourceSpec spec;
    spec.path = source.path;
    // The name that a person gave it, not the one that was made from its file's.
    const auto said = std::ranges::find(request.sources, source.path, &SourceSpec::path);
    if (said != request.sources.end()) spec.name = said->name;
    if (!request.sources.empty()) spec.patience = request.sources.front().patience;
    spec.raw = source.raw;
    spec.from_directory = source.from_directory;
    order.request.sources.push_back(std::move(spec));
    order.fsname += (order.fsname.empty() ? "" : "|") + source.path;
  }
  constexpr std::size_t kLongest = 1000;  // the kernel takes one page of options in all
  if (order.fsname.size() > kLongest) order.fsname = order.fsname.substr(0, kLongest) + "...";
  // No guest may begin to write what is being checked.
  order.request.relied_on = true;
  if (unit.needs_overlay) order.request.overlay.kind = overlay::Request::Kind::temporary;
  order.keys = peeling.keys();
  order.background = background;
  for (const std::size_t target : unit.targets) {
    const Target& one = plan.targets[target];
    order.devices.push_back({.place = one.place,
                             .size = one.size,
                             .fstype = one.fstype,
                             .uuid = one.uuid,
                             .others = one.others.size(),
                             .alone = one.alone,
                             .written = one.is_written()});
  }
  return order;
}

}  // namespace peelfs::check
