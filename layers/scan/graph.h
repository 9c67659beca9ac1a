// The scanner's own, changing picture of what was found; Tree is the published copy of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peelfs/layer.h"
#include "scan/instances.h"
#include "scan/scanner.h"

namespace peelfs {

struct Directed;

/// A device while the scanner works on it.
struct Item {
  Node node;
  std::uint64_t root = 0;  ///< id of the source it comes from (of its first member)
  /// The snapshots it lies in, outermost first, and itself if it is one.
  std::vector<TakenAt> taken;
  unsigned nesting = 0;  ///< layers above it
  bool image_file = false;
  bool may_be_part = false;      ///< it was found, not named: another image may have it as a part
  std::optional<Origin> origin;  ///< of one that may be a part, once it is known
  std::string file_name;         ///< of a source: what it is called as long as it is a file
  /// It is a part of another image, see Node::part_of. Stays true until that image changes.
  std::optional<Trouble> part;
  bool probe_formats = true;     ///< false: raw, the first layer is no image format
  bool unpacks_to_stem = false;  ///< see Member
  bool is_identified = false;    ///< it was found out what is on it, as far as that goes
  const Layer* layer = nullptr;  ///< the row that claimed it
  std::optional<Claim> claim;
  Directed* directive = nullptr;  ///< by which it is opened; null: by its bytes
  /// What the layer below said of it, which stays true however often it is opened again.
  std::optional<Trouble> inherited;
  /// What identification said: several signatures stand on it. Stays true until its bytes change.
  std::optional<Trouble> ambiguous;
  std::shared_ptr<const References> references;
  /// Of a source in an image format: what stands in for the disk that it unpacks to (an overlay).
  DevicePtr stand_in;

  /// Removes the troubles that opening it reported; the others stay.
  void reset_trouble();
};

/// Items and how they hang together. Ids are given out once; a device that is found again under the
/// same parents and with the same name gets the id it had.
class Graph {
 public:
  Item& add(Item item);
  Item& at(std::uint64_t id) { return items_.at(id); }
  const Item& at(std::uint64_t id) const { return items_.at(id); }
  const std::map<std::uint64_t, Item>& items() const { return items_; }
  std::map<std::uint64_t, Item>& items() { return items_; }
  std::size_t size() const { return items_.size(); }

  /// Removes an item and everything that was peeled from it.
  /// @return the ids that are gone
  std::vector<std::uint64_t> remove(std::uint64_t id);

  /// Puts devices that have grown (see BlockDevice::regrown) in the place of what they were; what
  /// lies on them has grown them, and stays as it is.
  void take_up_growth();

  /// An item as a member of its group, see GroupMember.
  GroupMember member_of_group(std::uint64_t id) const;

  /// A copy for readers.
  std::shared_ptr<const Tree> publish() const;

 private:
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Item> items_;
  std::map<std::string, std::uint64_t> former_ids_;
};

}  // namespace peelfs
