#include "peelfs/images.h"

#include "peel/peeling.h"

namespace peelfs {

struct Images::State {
  explicit State(const PeelRequest& request, std::shared_ptr<KeyRing> keys)
      : peeling(request, std::move(keys)) {}
  Peeling peeling;
};

namespace {

Images::Device device_of(const Catalog& catalog, const Catalog::Entry& entry) {
  const Node& node = *entry.node;
  Images::Device device;
  device.name = entry.name;
  device.kind = node.kind;
  device.format = node.identity.type.empty() ? node.format : node.identity.type;
  device.label = node.identity.label;
  device.uuid = node.identity.uuid;
  for (const std::uint64_t parent : node.parents) {
    // A file that its disk has taken the place of has no name.
    if (const std::string& name = catalog.name_of(parent); !name.empty()) {
      device.parents.push_back(name);
    }
  }
  device.trouble = node.trouble;
  device.bytes = node.device;
  return device;
}

std::vector<Images::Device> devices_of(const Catalog& catalog) {
  std::vector<Images::Device> devices;
  for (const Catalog::Entry& entry : catalog.devices()) {
    devices.push_back(device_of(catalog, entry));
  }
  return devices;
}

}  // namespace

Images::Images(Request request) {
  PeelRequest peel;
  for (const std::string& source : request.sources) {
    peel.sources.push_back(parse_source(source));
    peel.sources.back().patience = request.patience;
  }
  peel.allow_references = std::move(request.allow_references);
  peel.limits = request.limits;
  peel.directives = std::move(request.directives);
  peel.cancel = request.cancel;
  if (request.found) {
    peel.found = [&request](const std::shared_ptr<const Tree>& tree) {
      request.found(devices_of(Catalog(tree, nullptr)));
    };
  }
  auto keys = std::make_shared<KeyRing>();
  for (auto& [whose, key] : request.keys) {
    whose.empty() ? keys->add_for_all(std::move(key)) : keys->add_for(whose, std::move(key));
  }
  state_ = std::make_unique<State>(peel, std::move(keys));
}

Images::~Images() = default;
Images::Images(Images&& other) noexcept = default;
Images& Images::operator=(Images&& other) noexcept = default;

std::vector<Images::Device> Images::devices() const {
  return devices_of(*state_->peeling.catalog());
}

std::optional<Images::Device> Images::find(std::string_view what) const {
  const auto catalog = state_->peeling.catalog();
  const Catalog::Entry* const entry = catalog->find(what);
  if (entry == nullptr) return std::nullopt;
  return device_of(*catalog, *entry);
}

std::optional<std::string> Images::unlock(const std::string& name, Credential key) {
  return state_->peeling.unlock(name, std::move(key));
}

bool Images::cancelled() const {
  return state_->peeling.cancelled();
}

std::vector<std::string> Images::warnings() const {
  return state_->peeling.warnings();
}

std::string Images::json() const {
  return tree_json(*state_->peeling.catalog());
}

}  // namespace peelfs
