#include "mount/filesystem.h"

#include "mount/operations.h"
#include "peeling.h"

namespace peelfs {
namespace {

std::map<std::string, std::shared_ptr<const HostFile>> files_of(const Peeling& peeling) {
  std::map<std::string, std::shared_ptr<const HostFile>> files;
  for (const Source& source : peeling.sources()) {
    files.emplace(source.path, source.file);
  }
  return files;
}

}  // namespace

Filesystem::Filesystem(std::shared_ptr<Peeling> peeling, const InodeTable::Owner& owner,
                       std::string control, std::size_t max_read)
    : peeling_(std::move(peeling)),
      files_(files_of(*peeling_)),
      max_read_(max_read),
      table_(owner, std::move(control)),
      view_(build()) {}

std::shared_ptr<const InodeView> Filesystem::build() {
  return table_.build(peeling_->catalog(), files_);
}

std::shared_ptr<const InodeView> Filesystem::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

Filesystem::~Filesystem() = default;

void Filesystem::start_writing(Writing::Hooks hooks) {
  hooks.peel = [this](const std::vector<std::uint64_t>& nodes) {
    peeling_->repeel(nodes);
    return refresh();
  };
  writing_ = std::make_unique<Writing>(*this, std::move(hooks));
}

ViewChanges Filesystem::refresh() {
  const std::lock_guard refreshing(refreshing_);
  const std::shared_ptr<const InodeView> before = view();
  const std::shared_ptr<const InodeView> after = build();
  {
    const std::lock_guard lock(mutex_);
    view_ = after;
  }
  if (writing_) {
    writing_->took_over(*before, *after);
  }
  return compare(*before, *after);
}

OpenHandle* Filesystem::keep(OpenHandle handle) {
  auto owned = std::make_unique<OpenHandle>(std::move(handle));
  OpenHandle* const kept = owned.get();
  const std::lock_guard lock(handles_mutex_);
  handles_.emplace(kept, std::move(owned));
  return kept;
}

void Filesystem::close(OpenHandle* handle) noexcept {
  if (writing_) {
    writing_->release(handle->device, handle->writing);
  }
  std::unique_ptr<OpenHandle> closed;
  const std::lock_guard lock(handles_mutex_);
  if (const auto at = handles_.find(handle); at != handles_.end()) {
    closed = std::move(at->second);
    handles_.erase(at);
  }
}

const fuse_lowlevel_ops& Filesystem::operations() {
  return fuse_operations();
}

}  // namespace peelfs
