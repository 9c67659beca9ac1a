// The FUSE edge: what the operations share. Whatever is thrown becomes an errno, and nothing passes
// into C.
#pragma once

#include <new>
#include <string>

#include "mount/filesystem.h"
#include "mount/operations.h"
#include "peelfs/error.h"

namespace peelfs {

inline Filesystem& filesystem(fuse_req_t req) {
  return *static_cast<Filesystem*>(fuse_req_userdata(req));
}

inline OpenHandle& handle(const fuse_file_info* info) {
  return *reinterpret_cast<OpenHandle*>(info->fh);
}

/// @param why set to what is to be logged
/// @return 0, or the errno that still has to be answered
template <typename Body>
int guarded(const Body& body, std::string* why = nullptr) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    if (why != nullptr) {
      *why = error.what();
    }
    return error.error_number() > 0 ? error.error_number() : EIO;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  } catch (const std::exception& error) {
    log_message(LogLevel::error, error.what());
    return EIO;
  } catch (...) {
    return EIO;
  }
}

/// @throws gone_from_tree()
const Inode& inode_at(const InodeView& view, fuse_ino_t number);

/// Answers an open.
void reply_opened(fuse_req_t req, fuse_file_info* info, OpenHandle opened);

/// Opens a device of a mount that can be written; the answer may come later, from elsewhere.
void open_device(fuse_req_t req, fuse_ino_t number, const fuse_file_info& info);

}  // namespace peelfs
