// Which devices `peelfs hash` hashes, and those that it must not.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "peel/hash.h"
#include "peel/peeling.h"

namespace peelfs::cli {

struct HashDevice {
  std::string name;
  std::shared_ptr<const Node> node;
  /// Why it has no digest, whatever can be read of it; nullopt: it may have one.
  std::optional<Trouble> refusal;
};

/// The devices of a run. While it lives no guest begins to write to a source, as far as programs
/// honour qemu's locks. Not thread-safe.
class HashDevices {
 public:
  /// @param catalog must outlive it
  HashDevices(const Peeling& peeling, const Catalog& catalog);

  /// All, sorted by name. @param snapshots also those in snapshots of an image
  std::vector<HashDevice> all(bool snapshots) const;
  /// How many devices all(false) leaves out.
  std::size_t in_snapshots() const { return in_snapshot_.size(); }
  /// Those that are named, once each and in that order. @param within also all that lies in them
  std::vector<HashDevice> named(const std::vector<std::string>& names, bool within) const;
  HashDevice device(const Catalog::Entry& entry) const;

  /// For hash_devices().
  HashSubject subject(const HashDevice& device, std::vector<ByteRange> pieces) const;

  /// Why digests of a device are none any more: a file that it comes from was changed since it was
  /// opened. Call it when all was read.
  std::optional<Trouble> changed(const HashDevice& device) const;

 private:
  bool is_changed(const HostFile& file) const;
  const std::set<std::uint64_t>& with_ancestors(std::uint64_t id) const;
  std::optional<Trouble> refusal_of(const Source& source) const;
  void find_groups();

  const Peeling& peeling_;
  const Catalog& catalog_;
  std::map<std::string, const Source*> sources_;  ///< by path
  std::map<const Source*, Trouble> refused_;      ///< sources
  std::map<std::uint64_t, std::size_t> groups_;   ///< of nodes
  std::set<std::uint64_t> in_snapshot_;           ///< nodes that are device files
  /// Of sources and parts, when this was made: see stamp_of().
  std::map<std::string, std::string> stamps_;
  mutable std::map<std::uint64_t, std::set<std::uint64_t>> ancestors_;  ///< of nodes, with itself
};

/// What there is to say of a device whose own bytes have a digest, while what lies in it has none:
/// it is locked, or damaged. nullopt: nothing.
std::optional<std::string> unopened_text(const HashDevice& device);

}  // namespace peelfs::cli
