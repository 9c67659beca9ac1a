#include "peeling.h"

#include <algorithm>

namespace peelfs {

Peeling::Peeling(const PeelRequest& request, std::shared_ptr<KeyRing> keys)
    : keys_(std::move(keys)) {
  std::vector<SourceSpec> sources = request.sources;
  for (SourceSpec& source : sources) source.writable = source.writable || request.writable;
  OpenedSources opened = open_sources(sources, request.allow_references);
  failed_sources_ = opened.failures.size();
  if (opened.sources.empty()) {
    if (opened.failures.empty()) throw Error(Fault::usage, "no source was named");
    for (std::size_t i = 1; i < opened.failures.size(); ++i) {
      warnings_.emplace_back(opened.failures[i].error.what());
    }
    throw Error(opened.failures.front().error);
  }
  for (const SourceFailure& failure : opened.failures) warnings_.emplace_back(failure.error.what());

  std::map<std::string, DevicePtr> headers;
  for (const auto& [name, path] : request.headers) {
    headers.emplace(name, make_file_device(HostFile::open(path)));
  }
  scanner_ = std::make_unique<Scanner>(request.limits, keys_, std::move(headers));
  sources_ = std::move(opened.sources);
  for (const Source& source : sources_) {
    scanner_->add(source);
    if (!source.file->writable() && source.file->updates_atime()) {
      warnings_.push_back("the access time of " + printable(source.path) +
                          " may change: only its owner or root can read without that");
    }
  }
  scanner_->settle();
  for (const std::string& name : scanner_->unused_headers()) {
    warnings_.push_back("no device is called '" + printable(name) +
                        "': the header given for it is not used; 'peelfs ls' shows the names");
  }
  publish();
}

void Peeling::publish() {
  const std::shared_ptr<const Catalog> previous = catalog();
  auto fresh = std::make_shared<const Catalog>(scanner_->tree(), previous.get());
  const std::lock_guard lock(publishing_);
  catalog_ = std::move(fresh);
}

std::shared_ptr<const Catalog> Peeling::catalog() const {
  const std::lock_guard lock(publishing_);
  return catalog_;
}

void Peeling::repeel(const std::vector<std::uint64_t>& nodes) {
  const std::lock_guard scanning(scanning_);
  scanner_->repeel(nodes);
  publish();
}

std::vector<Catalog::Entry> Peeling::locked() const {
  std::vector<Catalog::Entry> result;
  const auto current = catalog();
  for (const Catalog::Entry& entry : current->devices()) {
    if (entry.node->trouble && entry.node->trouble->state == "locked") result.push_back(entry);
  }
  return result;
}

std::optional<std::string> Peeling::unlock(const std::string& name, Secret key) {
  const std::lock_guard scanning(scanning_);
  const auto current = catalog();
  const Catalog::Entry* entry = current->find(name);
  if (entry == nullptr) {
    throw Error(Fault::usage, "there is no device '" + name + "'")
        .advice("'peelfs ls' and the mount's root show the names")
        .with_errno(ENOENT);
  }
  const Node& node = *entry->node;
  if (!node.trouble || node.trouble->state != "locked") {
    throw Error(Fault::usage, entry->name + " is not locked").with_errno(EALREADY);
  }
  KeyRing one;
  one.add_for_all(key.clone());
  if (!scanner_->retry(node.id, one)) {
    const auto tree = scanner_->tree();
    const auto& trouble = tree->at(node.id).trouble;
    publish();
    return trouble ? trouble->reason : "it is still locked";
  }
  // Clones and what is opened again later take the same key.
  keys_->add_for(node.identity.uuid.empty() ? node.stem : node.identity.uuid, std::move(key));
  publish();
  return std::nullopt;
}

}  // namespace peelfs
