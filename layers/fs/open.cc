#include "fs/open.h"

#include <utility>

#include "fs/search.h"
#include "fs/search_memory.h"
#include "peelfs/budget.h"
#include "peelfs/error.h"
#include "peelfs/formats.h"
#include "peelfs/layer_memory.h"

namespace peelfs::fs {

namespace {

void remark_on_search(const SearchResult& result, Troubles& troubles) {
  for (const std::string& limit : result.limits) troubles.note(limit);
  for (const std::string& damage : result.damage) troubles.add(Error(result.fault, damage));
  if (result.damage_count > result.damage.size()) {
    troubles.add(
        Error(result.fault, "and " + std::to_string(result.damage_count - result.damage.size()) +
                                " more that could not be read"));
  }
}

Inner show(FoundImage image, const std::string& remark, const Formats& formats) {
  Inner inner;
  inner.kind = "file";
  inner.name = image.path.back();
  inner.stem = formats.strip_image_suffix(inner.name);
  inner.path = std::move(image.path);
  inner.device = std::move(image.device);
  inner.trouble = std::move(image.trouble);
  if (!inner.trouble && !remark.empty()) inner.trouble = Trouble{Trouble::note, remark};
  inner.image_file = true;
  inner.references = std::move(image.references);
  return inner;
}

/// Searches a filesystem, unless one with the same bytes was searched in this run.
SearchResult search(const std::shared_ptr<const Filesystem>& filesystem, const Mount& mount,
                    const std::string& uuid, const OpenInput& input) {
  const Files files(filesystem);
  if (input.memory == nullptr) return search_images(files, files, input);
  const auto memory = input.memory->get<SearchMemory>();
  SearchMemory::Turn turn(*memory, uuid, input.cancel);
  const DevicePtr& device = input.members.front().device;
  if (const auto known = turn.find(*device)) return reopen(*known, files);
  const auto witness = std::make_shared<const WitnessDevice>(device);
  SearchResult result = search_images(Files(mount(witness)), files, input);
  auto ranges = witness->ranges();
  if (!result.repeatable || !ranges) return result;
  // Two threads may search the same at once. It is paid for once, so that it does not depend on
  // them how far the budget goes.
  const bool is_new = turn.keep(device, *std::move(ranges), result);
  if (!is_new && input.budget != nullptr) {
    input.budget->give_back(Budget::Kind::files, result.looked_at);
  }
  return result;
}

}  // namespace

Opened open_filesystem(const Mount& mount, const std::string& uuid, const OpenInput& input) {
  const auto filesystem = mount(input.members.front().device);
  Filesystem::State state = filesystem->state();
  Troubles& troubles = state.troubles;
  Opened opened;
  opened.filesystems = {filesystem};
  const Limits& limits = input.limits;
  const bool searched = limits.search_depth != 0 && input.formats != nullptr;
  if (searched && input.image_depth >= limits.search_depth) {
    troubles.note("not searched for disk images, because it lies in " +
                  std::to_string(input.image_depth) + " of them already; raise --depth to do so");
  } else if (searched) {
    try {
      SearchResult result = search(filesystem, mount, uuid, input);
      remark_on_search(result, troubles);
      for (FoundImage& image : result.images) {
        opened.devices.push_back(show(std::move(image), state.of_files, *input.formats));
      }
    } catch (const Error& error) {
      if (error.fault() == Fault::unsupported) throw;
      if (error.fault() == Fault::damaged) {
        troubles.damage(error.what());
      } else {
        troubles.add(error);
      }
    }
  }
  opened.trouble = troubles.summary();
  return opened;
}

}  // namespace peelfs::fs
