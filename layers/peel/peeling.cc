#include "peel/peeling.h"

#include <algorithm>
#include <cerrno>

#include "host/output_file.h"
#include "overlay/common.h"
#include "overlay/disks.h"
#include "overlay/set.h"
#include "overlay/tables.h"
#include "peelfs/formats.h"
#include "peelfs/mutex.h"

namespace peelfs {

namespace {

/// How the sources are opened: the one place that decides whether they can be written.
OpenedSources open_all(const PeelRequest& request, const std::vector<Directive>& directives) {
  const bool covered = request.overlay.kind != overlay::Request::Kind::none;
  if (request.writable && covered) {
    throw Error(Fault::usage, "'rw' and an overlay exclude each other")
        .found("both")
        .advice("'rw' writes into the sources, an overlay keeps them as they are");
  }
  std::vector<SourceSpec> specs = request.sources;
  const auto shared = std::make_shared<const std::vector<Directive>>(directives);
  for (SourceSpec& spec : specs) {
    spec.directives = shared;
    spec.writable = request.writable;
    spec.relied_on = covered || request.relied_on;
  }
  OpenedSources opened = overlay::open_disks(specs, request.allow_references);
  // Sources that cannot be opened, or are not needed, must not be written to, either.
  for (const SourceSpec& source : specs) {
    const auto hangs = [&](const SourceFailure& failure) {
      return failure.path == source.path && failure.error.error_number() == ETIMEDOUT;
    };
    const auto& failures = opened.failures;
    if (std::none_of(failures.begin(), failures.end(), hangs)) note_input(source.path);
  }
  for (const auto& [device, header] : request.headers) note_input(header);
  for (const std::string& path : request.allow_references) note_input(path);
  // Half of a volume group must not be written, nor compared.
  if ((request.writable || covered || request.relied_on) && !opened.failures.empty()) {
    throw Error(opened.failures.front().error);
  }
  return opened;
}

/// What the person says of devices: each name once, with its header. @throws Error
std::vector<Directive> directives_of(const PeelRequest& request) {
  std::vector<Directive> directives = request.directives;
  for (const auto& [device, path] : request.headers) {
    auto one = std::ranges::find(directives, device, &Directive::device);
    if (one == directives.end()) one = directives.insert(one, Directive{.device = device});
    one->header = make_storage_device(HostFile::open(path));
  }
  for (auto one = directives.begin(); one != directives.end(); ++one) {
    standard_formats().check(*one);
    if (std::ranges::find(std::next(one), directives.end(), one->device, &Directive::device) !=
        directives.end()) {
      throw Error(Fault::usage, "two directives for one device").found("'" + one->device + "'");
    }
  }
  return directives;
}

}  // namespace

Peeling::Peeling(const PeelRequest& request, std::shared_ptr<KeyRing> keys)
    : keys_(std::move(keys)),
      limits_(request.limits),
      directives_(directives_of(request)),
      cancel_(request.cancel) {
  OpenedSources opened = open_all(request, directives_);
  failed_sources_ = opened.failures.size();
  if (opened.sources.empty()) {
    if (opened.failures.empty()) throw Error(Fault::usage, "no source was named");
    for (std::size_t i = 1; i < opened.failures.size(); ++i) {
      warnings_.emplace_back(opened.failures[i].error.what());
    }
    throw Error(opened.failures.front().error);
  }
  for (const SourceFailure& failure : opened.failures) warnings_.emplace_back(failure.error.what());

  sources_ = std::move(opened.sources);
  left_out_ = std::move(opened.left_out);
  for (std::string& remark : opened.remarks) warnings_.push_back(std::move(remark));
  for (std::string& remark : overlay::cover(sources_, request.overlay, &overlays_)) {
    warnings_.push_back(std::move(remark));
  }
  for (const Source& source : sources_) {
    if (!source.writer.empty()) {
      warnings_.push_back(printable(source.path) + " is being written by " + source.writer +
                          ": what is shown may be half of a change");
    }
    if (!source.file->writable() && source.file->updates_atime()) {
      warnings_.push_back("the access time of " + printable(source.path) +
                          " may change: only its owner or root can read without that");
    }
  }
  if (request.overlay.kind != overlay::Request::Kind::persistent) overlays_.clear();
  peel(request.found);
  for (std::string& remark : remember_tables()) warnings_.push_back(std::move(remark));
}

std::vector<std::string> Peeling::remember_tables() {
  std::vector<std::string> remarks;
  const std::shared_ptr<const Tree> tree = scanner_->tree();
  for (const overlay::OpenedOverlay& one : overlays_) {
    try {
      overlay::remember(one, overlay::table_places(*tree, *one.device));
    } catch (const Error& error) {
      remarks.push_back("overlay " + one.path +
                        " knows its source by fewer places than it could: " + error.what());
    }
  }
  return remarks;
}

void Peeling::peel(Scanner::Observer found) {
  scanner_ = std::make_unique<Scanner>(standard_formats(), limits_, keys_, directives_, cancel_);
  for (const Source& source : sources_) scanner_->add(source);
  scanner_->observe(std::move(found));
  scanner_->settle();
  scanner_->observe(nullptr);
  publish();
  use_named_directives();
  use_named_keys();
  for (std::string& ending : scanner_->endings()) add_unmet(std::move(ending));
  if (const std::size_t count = scanner_->cancelled(); count != 0) {
    cancelled_ = true;
    add_unmet("the run was cancelled: " + std::to_string(count) +
              (count == 1 ? " device was" : " devices were") + " not looked into");
    return;  // what else is missing may lie in those
  }
  check_directives();
}

void Peeling::use_named_directives() {
  if (is_cancelled(cancel_.get())) return;
  for (const Directive& one : scanner_->unused_directives()) {
    const auto current = catalog();
    const Catalog::Entry* const entry = current->find(one.device);
    // How a source's own bytes are read was settled when it was opened, and covered.
    if (entry == nullptr || entry->node->parents.empty()) continue;
    scanner_->direct(entry->node->id, one);
    publish();
  }
}

void Peeling::check_directives() {
  for (std::string& refusal : scanner_->refused_directives()) add_unmet(std::move(refusal));
  for (const Directive& one : scanner_->unused_directives()) {
    add_unmet("no device is called '" + printable(one.device) +
              "': " + (one.kind.empty() ? "the header given for it" : "--as " + one.kind) +
              " is not used; there are " + names_text(*catalog()));
  }
}

std::vector<std::shared_ptr<const HostFile>> Peeling::overlay_files() const {
  std::vector<std::shared_ptr<const HostFile>> files;
  files.reserve(overlays_.size());
  for (const overlay::OpenedOverlay& one : overlays_) files.push_back(one.file);
  return files;
}

std::vector<std::string> Peeling::warnings() const {
  const MutexLock lock(publishing_);
  return warnings_;
}

std::vector<std::string> Peeling::unmet() const {
  const MutexLock lock(publishing_);
  return unmet_;
}

void Peeling::add_unmet(std::string what) {
  const MutexLock lock(publishing_);
  warnings_.push_back(what);
  unmet_.push_back(std::move(what));
}

std::string Peeling::wrong_kind_text(const std::string& name, const KeyRing::Use& use) {
  return name + " takes " + text_of(use.others) + ", not " + text_of(use.kind);
}

std::string Peeling::names_text(const Catalog& catalog) {
  constexpr std::size_t kMost = 12;
  std::string text;
  std::size_t named = 0;
  for (const Catalog::Entry& entry : catalog.devices()) {
    if (named++ == kMost) {
      return text + " and " + std::to_string(catalog.devices().size() - kMost) + " more";
    }
    text += (text.empty() ? "" : ", ") + entry.name;
  }
  return text;
}

void Peeling::use_named_keys() {
  if (is_cancelled(cancel_.get())) return;
  for (const KeyRing::Use& use : keys_->uses()) {
    if (use.whose.empty() || use.wanted) continue;
    const auto current = catalog();
    const Catalog::Entry* entry = current->find(use.whose);
    if (entry == nullptr || !entry->node->trouble ||
        entry->node->trouble->state != Trouble::locked) {
      continue;
    }
    for (const auto& key : keys_->named(use.whose)) {
      KeyRing one;
      one.add_for_all(key);
      const bool opened = scanner_->retry(entry->node->id, one);
      const KeyRing::Use tried = one.uses().front();
      // From now on it counts as wanted, or as none of the kinds that are.
      (void)keys_->candidates({use.whose}, tried.wanted ? KeyKinds{key.kind} : tried.others);
      if (tried.wanted) keys_->report({use.whose}, *key.secret, opened, {key.kind});
      if (!opened) continue;
      const Node& node = *entry->node;
      keys_->keep_for(node.identity.uuid.empty() ? node.stem : node.identity.uuid, key);
      break;
    }
    publish();
  }
}

std::unique_ptr<Peeling> Peeling::uncovered() const {
  std::unique_ptr<Peeling> result(new Peeling(keys_));
  result->limits_ = limits_;
  result->directives_ = directives_;
  result->cancel_ = cancel_;
  result->sources_ = sources_;
  for (Source& source : result->sources_) source.overlay = source.covered;
  {
    const MutexLock scanning(result->scanning_);
    result->peel(nullptr);
  }
  return result;
}

void Peeling::couple(const Tree& tree) {
  if (overlays_.size() < 2) return;
  for (const std::vector<std::size_t>& sources : overlay::common_sources(tree)) {
    if (coupled_.contains(sources)) continue;
    std::vector<const overlay::OpenedOverlay*> together;
    together.reserve(sources.size());
    for (const std::size_t place : sources) together.push_back(&overlays_.at(place));
    std::vector<std::string> remarks = overlay::join(together);
    const MutexLock lock(publishing_);
    for (std::string& remark : remarks) warnings_.push_back(std::move(remark));
    coupled_.insert(sources);
  }
}

void Peeling::publish() {
  couple(*scanner_->tree());
  const std::shared_ptr<const Catalog> previous = catalog();
  auto fresh = std::make_shared<const Catalog>(scanner_->tree(), previous.get());
  const MutexLock lock(publishing_);
  catalog_ = std::move(fresh);
}

std::shared_ptr<const Catalog> Peeling::catalog() const {
  const MutexLock lock(publishing_);
  return catalog_;
}

void Peeling::repeel(const std::vector<std::uint64_t>& nodes) {
  const MutexLock scanning(scanning_);
  scanner_->repeel(nodes);
  publish();
}

std::vector<Catalog::Entry> Peeling::locked() const {
  std::vector<Catalog::Entry> result;
  const auto current = catalog();
  for (const Catalog::Entry& entry : current->devices()) {
    if (entry.node->trouble && entry.node->trouble->state == Trouble::locked) {
      result.push_back(entry);
    }
  }
  return result;
}

std::optional<std::string> Peeling::unlock(const std::string& name, Credential key) {
  const MutexLock scanning(scanning_);
  const auto current = catalog();
  const Catalog::Entry* entry = current->find(name);
  if (entry == nullptr) {
    throw Error(Fault::usage, "there is no device '" + name + "'")
        .advice("'peelfs ls' and the mount's root show the names")
        .with_errno(ENOENT);
  }
  const Node& node = *entry->node;
  if (!node.trouble || node.trouble->state != Trouble::locked) {
    throw Error(Fault::usage, entry->name + " is not locked").with_errno(EALREADY);
  }
  KeyRing one;
  one.add_for_all(key);
  scanner_->renew_key_time();
  const bool opened = scanner_->retry(node.id, one);
  cancelled_ = cancelled_ || scanner_->cancelled() != 0;
  if (!opened) {
    const KeyRing::Use use = one.uses().front();
    const auto tree = scanner_->tree();
    const auto& trouble = tree->at(node.id).trouble;
    publish();
    if (!use.wanted && !use.others.empty()) return wrong_kind_text(entry->name, use);
    return trouble ? trouble->reason : "it is still locked";
  }
  // Clones and what is opened again later take the same key.
  keys_->keep_for(node.identity.uuid.empty() ? node.stem : node.identity.uuid, std::move(key));
  publish();
  remember_tables();
  return std::nullopt;
}

}  // namespace peelfs
