// One run of peelfs: the sources the person named, their keys, and the tree that was found.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "host/source.h"
#include "overlay/cover.h"
#include "peel/catalog.h"
#include "peelfs/cancel.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "peelfs/mutex.h"
#include "scan/scanner.h"

namespace peelfs {

struct PeelRequest {
  std::vector<SourceSpec> sources;
  std::vector<std::string> allow_references;
  std::map<std::string, std::string> headers;  ///< --header NAME=PATH
  /// --as: at most one for each name. A header of the same name becomes a part of it.
  std::vector<Directive> directives;
  Limits limits;
  bool writable = false;  ///< open every source for writing: `-o rw`; never with an overlay
  overlay::Request overlay;
  /// The sources must not change meanwhile, though nothing is written: they are compared.
  bool relied_on = false;
  /// Ends the run from another thread; null: nothing does.
  std::shared_ptr<const Cancel> cancel;
  /// Told of what was found so far, while the sources are peeled for the first time.
  Scanner::Observer found;
};

/// Thread-safe: catalog() never waits for unlock().
class Peeling {
 public:
  /// Opens the sources and peels with the keys at hand. When it is cancelled, it ends with what was
  /// found so far, and says so among unmet().
  /// @throws Error when not a single source could be opened, or the request makes no sense; when
  ///   something may be written, also when only one source could not be opened
  Peeling(const PeelRequest& request, std::shared_ptr<KeyRing> keys);

  std::shared_ptr<const Catalog> catalog() const;

  /// The same sources as they are without their overlays, peeled with the keys that are known by
  /// now. It shares files and lower devices with this one.
  std::unique_ptr<Peeling> uncovered() const;

  /// Devices that wait for a key, by flat name.
  std::vector<Catalog::Entry> locked() const;

  /// Tries a key on a locked device and peels what is inside. The key is kept for that device only.
  /// @return nullopt when it is open now, otherwise why not
  /// @throws Error(Fault::usage) when there is no such device, or it is not locked
  std::optional<std::string> unlock(const std::string& name, Credential key);

  /// Whether something was not looked into because the run was cancelled.
  bool cancelled() const noexcept { return cancelled_; }

  /// Looks afresh at devices that were written: what lies on them is made anew.
  void repeel(const std::vector<std::uint64_t>& nodes);

  /// Sources that could not be opened and things the person should know; an unlock may add some.
  std::vector<std::string> warnings() const;
  /// What lies in directories that the person named, and is no source.
  const std::vector<LeftOutEntry>& left_out() const noexcept { return left_out_; }
  std::size_t failed_sources() const noexcept { return failed_sources_; }

  /// What the person asked for and what was not done: a key that opens nothing, a name that no
  /// device has, a search that ended with the run's budget. It becomes a warning, and a reason not
  /// to end with success.
  void add_unmet(std::string what);
  std::vector<std::string> unmet() const;
  /// Whether every source was opened, and all that was asked for was done.
  bool complete() const { return failed_sources_ == 0 && unmet().empty(); }
  /// The names of devices, the first dozen of them, for a message.
  static std::string names_text(const Catalog& catalog);
  /// "vm1 takes a passphrase or a key file, not a volume key": of a key that no device wanted.
  static std::string wrong_kind_text(const std::string& name, const KeyRing::Use& use);
  const std::vector<Source>& sources() const noexcept { return sources_; }
  /// The overlays that writes go to; empty: there are none that stay.
  std::vector<std::shared_ptr<const HostFile>> overlay_files() const;

  const std::shared_ptr<KeyRing>& keys() const noexcept { return keys_; }

 private:
  explicit Peeling(std::shared_ptr<KeyRing> keys) : keys_(std::move(keys)) {}
  void peel(Scanner::Observer found) PEELFS_REQUIRES(scanning_);
  /// Binds overlays to what was found in their sources. @return what a person should know
  std::vector<std::string> remember_tables() PEELFS_REQUIRES(scanning_);
  /// Notes in the overlays which of them are written as one, before any program can write.
  void couple(const Tree& tree) PEELFS_REQUIRES(scanning_);
  /// @throws Error when the notes in the overlays cannot be written
  void publish() PEELFS_REQUIRES(scanning_);
  /// Follows directives whose names only the catalogue has: those that are qualified.
  void use_named_directives() PEELFS_REQUIRES(scanning_);
  /// Says which directives were of no use, and why.
  void check_directives() PEELFS_REQUIRES(scanning_);
  /// Tries keys on the devices whose final names they were given for: a name that is qualified
  /// because several devices want it is not known before all are there.
  void use_named_keys() PEELFS_REQUIRES(scanning_);

  std::shared_ptr<KeyRing> keys_;
  Limits limits_;
  std::vector<Directive> directives_;
  std::shared_ptr<const Cancel> cancel_;
  bool cancelled_ = false;
  std::vector<Source> sources_;
  std::vector<overlay::OpenedOverlay> overlays_;  ///< those that can be written
  std::vector<LeftOutEntry> left_out_;
  std::size_t failed_sources_ = 0;
  Mutex scanning_;
  std::unique_ptr<Scanner> scanner_ PEELFS_PT_GUARDED_BY(scanning_);
  /// Of the overlays, by their places: which sets of them are noted already.
  std::set<std::vector<std::size_t>> coupled_ PEELFS_GUARDED_BY(scanning_);
  mutable Mutex publishing_ PEELFS_ACQUIRED_AFTER(scanning_);
  std::vector<std::string> warnings_ PEELFS_GUARDED_BY(publishing_);
  std::vector<std::string> unmet_ PEELFS_GUARDED_BY(publishing_);
  std::shared_ptr<const Catalog> catalog_ PEELFS_GUARDED_BY(publishing_);
};

}  // namespace peelfs
