#include "mount/fuse_server.h"

#include <algorithm>
#include <thread>

#include "mount/operations.h"
#include "peel/peeling.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

std::map<std::string, std::shared_ptr<const HostFile>> files_of(const Peeling& peeling) {
  std::map<std::string, std::shared_ptr<const HostFile>> files;
  for (const Source& source : peeling.sources()) files.emplace(source.path, source.file);
  return files;
}

/// Threads for what needs no source: attributes, names, status.json.
constexpr unsigned kBesideLanes = 8;

/// Of one lane. They wait for disks more than they compute, so there are more than processors.
unsigned in_each(unsigned wanted) {
  return wanted != 0 ? wanted : std::clamp(2 * std::thread::hardware_concurrency(), 16U, 64U);
}

/// Of all lanes. libfuse starts them as requests come together: there are many only while many
/// sources hang.
unsigned in_lanes(unsigned each) {
  return std::max(1024U, 3 * each);
}

}  // namespace

FuseServer::FuseServer(std::shared_ptr<Peeling> peeling, const InodeTable::Owner& owner,
                       std::size_t max_read, unsigned threads)
    : peeling_(std::move(peeling)),
      files_(files_of(*peeling_)),
      max_read_(max_read),
      threads_(in_lanes(in_each(threads)) + kBesideLanes),
      lanes_(in_each(threads), in_lanes(in_each(threads))),
      table_(owner),
      view_(build()) {}

std::shared_ptr<const InodeView> FuseServer::build() {
  return table_.build(peeling_->catalog(), files_);
}

std::shared_ptr<const InodeView> FuseServer::view() const {
  const MutexLock lock(mutex_);
  return view_;
}

FuseServer::~FuseServer() = default;

void FuseServer::start_writing(Writing::Hooks hooks) {
  hooks.peel = [this](const std::vector<std::uint64_t>& nodes) {
    peeling_->repeel(nodes);
    return refresh();
  };
  writing_ = std::make_unique<Writing>(*this, std::move(hooks));
}

ViewChanges FuseServer::refresh() {
  const MutexLock refreshing(refreshing_);
  const std::shared_ptr<const InodeView> before = view();
  const std::shared_ptr<const InodeView> after = build();
  {
    const MutexLock lock(mutex_);
    view_ = after;
  }
  if (writing_) writing_->took_over(*before, *after);
  return compare(*before, *after);
}

OpenHandle* FuseServer::keep(OpenHandle handle) {
  auto owned = std::make_unique<OpenHandle>(std::move(handle));
  OpenHandle* const kept = owned.get();
  const MutexLock lock(handles_mutex_);
  handles_.emplace(kept, std::move(owned));
  return kept;
}

void FuseServer::close(OpenHandle* handle) noexcept {
  if (writing_) writing_->release(handle->device, handle->writing);
  std::unique_ptr<OpenHandle> closed;
  const MutexLock lock(handles_mutex_);
  if (const auto at = handles_.find(handle); at != handles_.end()) {
    closed = std::move(at->second);
    handles_.erase(at);
  }
}

const fuse_lowlevel_ops& FuseServer::operations() {
  return fuse_operations();
}

}  // namespace peelfs
