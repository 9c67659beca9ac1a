#include <algorithm>

#include "foreign/kinds.h"
#include "foreign/sector.h"

namespace peelfs::foreign {

namespace {

/// The parts of a device that hold signatures, read once.
class Ends {
 public:
  explicit Ends(const BlockDevice& device)
      : head_(look(device, 0, kHead)),
        tail_(device.size() < kSector ? Buffer() : sector_at(device, device.size() - kSector)) {}

  bool have(const Signature& signature) const {
    if (signature.bytes.empty()) return false;
    if (signature.at >= 0) {
      return ByteReader(head_, "head").has(static_cast<std::size_t>(signature.at), signature.bytes);
    }
    const auto from_end = static_cast<std::size_t>(-signature.at);
    return from_end <= tail_.size() &&
           ByteReader(tail_, "tail").has(tail_.size() - from_end, signature.bytes);
  }

 private:
  static constexpr std::size_t kHead = 16384;  // behind the last place in the table
  Buffer head_, tail_;
};

// A table is the newer one where a filesystem stands beside it, which may begin where the disk
// does; but these name the whole device, or are one disk for several systems.
bool table_counts(const Identity& identity) {
  const std::string& type = identity.type;
  return type != "LVM2_member" && type != "crypto_LUKS" && type != "iso9660" && type != "udf" &&
         (identity.pttype != "atari" || type.empty());  // which has no magic number
}

bool fits(const Kind& kind, const ProbeInput& input, const Ends& ends) {
  const bool by_type =
      !kind.type.empty() && (input.identity.type == kind.type ||
                             (input.identity.pttype == kind.type && table_counts(input.identity)));
  const bool by_parttype = !kind.parttype.empty() && input.parttype == kind.parttype;
  const bool by_signature =
      std::any_of(kind.any.begin(), kind.any.end(),
                  [&](const Signature& signature) { return ends.have(signature); });
  const bool by_check_alone =
      kind.type.empty() && kind.parttype.empty() && kind.any.front().bytes.empty();
  if (!by_type && !by_parttype && !by_signature && !by_check_alone) return false;
  return kind.check == nullptr || kind.check(input.device);
}

}  // namespace

const Kind* find(const ProbeInput& input, Turn turn) {
  const Ends ends(input.device);
  const bool image = turn == Turn::image || turn == Turn::archive;
  for (const Kind& kind : image ? images() : devices()) {
    if (kind.turn == turn && fits(kind, input, ends)) return &kind;
  }
  return nullptr;
}

std::string_view image_format(const BlockDevice& file) {
  const Identity nothing;
  const Kind* kind = find({file, nothing}, Turn::image);
  return kind != nullptr ? kind->format : std::string_view();
}

}  // namespace peelfs::foreign
