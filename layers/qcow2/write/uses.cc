#include "qcow2/write/uses.h"

#include <map>

#include "peelfs/error.h"
#include "peelfs/mutex.h"
#include "qcow2/write/writer.h"

namespace peelfs::qcow2 {

namespace {

struct Uses {
  std::weak_ptr<Writer> writer;
  std::weak_ptr<const std::string> reader;  ///< of the first that relies on it: its name
};

struct Registry {
  Mutex mutex;
  std::map<Origin, Uses> uses PEELFS_GUARDED_BY(mutex);
};

Registry& registry() {
  static Registry one;
  return one;
}

/// Entries that say nothing any more are dropped when the next one is made.
void drop_unused(std::map<Origin, Uses>& uses) {
  std::erase_if(uses, [](const auto& entry) {
    return entry.second.writer.expired() && entry.second.reader.expired();
  });
}

}  // namespace

std::shared_ptr<const void> rely_on(const Origin& image, const std::string& by) {
  auto name = std::make_shared<const std::string>(by);
  std::shared_ptr<Writer> writer;  // if it is the last reference, it ends behind the lock
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  drop_unused(all.uses);
  Uses& uses = all.uses[image];
  writer = uses.writer.lock();
  if (writer && !writer->give_way("'" + printable(by) + "' is based on it")) {
    throw Error(Fault::denied, "the backing file has been written to as an image of its own")
        .advice("unmount, and do not write to an image that others are based on")
        .with_errno(EBUSY);
  }
  if (uses.reader.expired()) {
    uses.reader = name;
    return name;
  }
  // The image can be written only when all its readers are gone: this result keeps the first
  // reader's name alive, too.
  return std::make_shared<
      std::pair<std::shared_ptr<const std::string>, std::shared_ptr<const std::string>>>(
      uses.reader.lock(), name);
}

void claim_for_writing(const Origin& image, const std::shared_ptr<Writer>& writer) {
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  drop_unused(all.uses);
  Uses& uses = all.uses[image];
  if (const auto reader = uses.reader.lock()) {
    throw Error(Fault::denied, "'" + printable(*reader) + "' is based on it")
        .advice("writing to a backing file changes every image that is based on it")
        .with_errno(EROFS);
  }
  uses.writer = writer;
}

}  // namespace peelfs::qcow2
