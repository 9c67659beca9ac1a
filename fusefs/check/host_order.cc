#include "check/host_order.h"

#include <unistd.h>

#include <algorithm>
#include <set>

namespace peelfs::check {
namespace {

void open_as(const Job& job, HostOrder& order) {
  overlay::Request& overlay = order.request.overlay;
  switch (job.access) {
    case Access::read_only:
      break;
    case Access::thrown_away:
      overlay.kind = overlay::Request::Kind::temporary;
      break;
    case Access::overlay:
      overlay.kind = overlay::Request::Kind::persistent;
      break;
    case Access::through:
      overlay.kind = overlay::Request::Kind::view;
      break;
    case Access::in_place:
      order.request.writable = true;
      break;
  }
  if (job.access == Access::overlay || job.access == Access::through) {
    overlay.directory = job.overlays;
    // Until all is done what they hold can be had again.
    order.worthless_overlays = job.overlays;
  }
}

/// Whether a command opens the device for writing.
bool is_written(const Job& job, const Target& target, std::size_t number) {
  if (job.access == Access::read_only || job.access == Access::through) return false;
  if (std::ranges::find(job.alone, number, &Step::target) != job.alone.end()) return true;
  return target.opens_for_writing() && std::ranges::find(job.checks, number) != job.checks.end();
}

}  // namespace

std::vector<SourceSpec> specs_of(const Peeling& peeling, const PeelRequest& request,
                                 const Unit& unit) {
  std::vector<SourceSpec> specs;
  std::set<std::string> stems;
  for (const std::size_t one : unit.sources) {
    const Source& source = peeling.sources()[one];
    SourceSpec spec;
    spec.path = source.path;
    // The name that a person gave it, not the one that was made from its file's.
    const auto said = std::ranges::find(request.sources, source.path, &SourceSpec::path);
    if (said != request.sources.end()) spec.name = said->name;
    if (!request.sources.empty()) spec.patience = request.sources.front().patience;
    // By its stem its overlay is called.
    const bool is_new = stems.insert(source.stem).second;
    for (unsigned i = 2; !is_new && spec.name.empty(); ++i) {
      const std::string name = source.stem + "-" + std::to_string(i);
      if (stems.insert(name).second) spec.name = name;
    }
    spec.raw = source.raw;
    spec.from_directory = source.from_directory;
    specs.push_back(std::move(spec));
  }
  return specs;
}

PeelRequest request_for(const Peeling& peeling, const PeelRequest& request, const Unit& unit) {
  PeelRequest own = request;
  own.found = nullptr;
  // Files that images of this unit take bytes from were allowed before, perhaps because a person
  // named them as sources.
  for (const std::string& path : unit.references) {
    if (::access(path.c_str(), F_OK) == 0) own.allow_references.push_back(path);
  }
  own.sources = specs_of(peeling, request, unit);
  own.relied_on = true;
  return own;
}

HostOrder host_order(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                     const Job& job, const Unit& unit, bool background) {
  HostOrder order;
  order.request = request_for(peeling, request, unit);
  open_as(job, order);
  for (const SourceSpec& spec : order.request.sources) {
    order.fsname += (order.fsname.empty() ? "" : "|") + spec.path;
  }
  constexpr std::size_t kLongest = 1000;  // the kernel takes one page of options in all
  if (order.fsname.size() > kLongest) order.fsname = order.fsname.substr(0, kLongest) + "...";
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
                             .written = is_written(job, one, target),
                             .after_repair = job.after_repair});
  }
  return order;
}

}  // namespace peelfs::check
