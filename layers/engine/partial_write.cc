#include "peelfs/partial_write.h"

#include <algorithm>
#include <cerrno>

#include "engine/resolve.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/storage.h"

namespace peelfs {

namespace {

/// The unit that every layer and every host writes or refuses as a whole: all boundaries between
/// them are multiples of it.
constexpr std::uint64_t kAtom = 512;
/// The unit in which hosts give space to files, or a multiple of it.
constexpr std::uint64_t kHostPage = 4096;

/// Writes a range that has no room as a whole in halves, the first half first.
/// @param done bytes that are written, from the start of the first call on
/// @throws Error when one atom has no room, or for another reason
void write_halves(const BlockDevice& device, std::uint64_t offset, Bytes data, std::size_t& done) {
  try {
    write(device, offset, data);
    done += data.size();
    return;
  } catch (const Error& error) {
    const std::uint64_t unit = std::max<std::uint64_t>(kAtom, device.granule());
    if (!is_no_space(error.error_number())) throw;
    if (round_up(offset + 1, unit) >= offset + data.size()) throw;
  }
  const std::uint64_t unit = std::max<std::uint64_t>(kAtom, device.granule());
  const std::uint64_t end = offset + data.size();
  std::uint64_t middle = round_up(offset + data.size() / 2, unit);
  if (middle >= end) middle = round_up(offset + 1, unit);
  const std::size_t first = middle - offset;
  write_halves(device, offset, data.first(first), done);
  write_halves(device, middle, data.subspan(first), done);
}

bool is_whole(std::uint64_t number, std::uint64_t unit) {
  return number % unit == 0;
}

}  // namespace

bool is_no_space(int error_number) noexcept {
  return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
}

std::size_t write_some(const BlockDevice& device, std::uint64_t offset, Bytes data) {
  std::size_t done = 0;
  try {
    write_halves(device, offset, data, done);
  } catch (const Error&) {
    if (done == 0) throw;
  }
  return done;
}

void claim_units(const BlockDevice& device, std::uint64_t offset, std::uint64_t length,
                 std::uint64_t unit) {
  for (std::uint64_t done = 0; done < length;) {
    const Resolved at = resolve_write(device, offset + done, length - done, WriteKind::bytes);
    const Extent& extent = at.extent;
    const bool is_stored = extent.kind == ExtentKind::storage;
    const std::uint64_t place = is_stored ? extent.offset : at.offset;
    const std::uint64_t piece = is_stored ? kHostPage : at.device->write_granule();
    const bool whole = is_whole(done, unit) && is_whole(extent.length, unit) &&
                       is_whole(place, unit) && is_whole(piece, unit);
    if (!whole && is_stored) {
      extent.storage->claim(extent.offset, extent.length);
    } else if (!whole) {
      claim_space(*at.device, at.offset, extent.length);
    }
    done += extent.length;
  }
}

}  // namespace peelfs
