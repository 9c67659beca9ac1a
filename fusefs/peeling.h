// One run of peelfs: the sources the person named, their keys, and the tree that was found.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "host/source.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "scan/scanner.h"
#include "tree/catalog.h"

namespace peelfs {

struct PeelRequest {
  std::vector<SourceSpec> sources;
  std::vector<std::string> allow_references;
  std::map<std::string, std::string> headers;  ///< --header NAME=PATH
  Limits limits;
  bool writable = false;  ///< open every source for writing: `-o rw`
};

/// Thread-safe: catalog() never waits for unlock().
class Peeling {
 public:
  /// Opens the sources and peels with the keys at hand.
  /// @throws Error when not a single source could be opened, or the request makes no sense
  Peeling(const PeelRequest& request, std::shared_ptr<KeyRing> keys);

  std::shared_ptr<const Catalog> catalog() const;

  /// Devices that wait for a key, by flat name.
  std::vector<Catalog::Entry> locked() const;

  /// Tries a key on a locked device and peels what is inside. The key is kept for that device only.
  /// @return nullopt when it is open now, otherwise why not
  /// @throws Error(Fault::usage) when there is no such device, or it is not locked
  std::optional<std::string> unlock(const std::string& name, Secret key);

  /// Looks afresh at devices that were written: what lies on them is made anew.
  void repeel(const std::vector<std::uint64_t>& nodes);

  /// Sources that could not be opened and things the person should know.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  std::size_t failed_sources() const noexcept { return failed_sources_; }
  const std::vector<Source>& sources() const noexcept { return sources_; }

 private:
  void publish();

  std::shared_ptr<KeyRing> keys_;
  std::vector<Source> sources_;
  std::vector<std::string> warnings_;
  std::size_t failed_sources_ = 0;
  std::mutex scanning_;
  std::unique_ptr<Scanner> scanner_;
  mutable std::mutex publishing_;
  std::shared_ptr<const Catalog> catalog_;
};

}  // namespace peelfs
