// The FUSE edge: code that the operations share. Every exception becomes an errno; none passes into
// C code.
#pragma once

#include <new>
#include <string>

#include "mount/fuse_server.h"
#include "mount/operations.h"
#include "peelfs/error.h"

namespace peelfs {

inline FuseServer& server_of(fuse_req_t req) {
  return *static_cast<FuseServer*>(fuse_req_userdata(req));
}

inline OpenHandle& handle(const fuse_file_info* info) {
  return *reinterpret_cast<OpenHandle*>(info->fh);
}

/// The part of a failure that is logged.
struct Failure {
  std::string why = "out of memory";
  LogLevel level = LogLevel::error;
};

/// A failure is logged as an error if a person has to look into it. A request that the device does
/// not support (a discard that has no place to go to), or that reaches beyond its end, is only
/// answered.
inline LogLevel level_of(const Error& error) noexcept {
  const int number = error.error_number();
  const bool answered =
      error.fault() == Fault::usage || number == EOPNOTSUPP || number == ESTALE || number == EINTR;
  return answered ? LogLevel::debug : LogLevel::error;
}

/// @param failed set to what is to be logged
/// @return 0, or the errno that still has to be answered
template <typename Body>
int guarded(const Body& body, Failure* failed = nullptr) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    if (failed != nullptr) {
      failed->why = error.what();
      failed->level = level_of(error);
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

/// Runs a body that may read or write a device's sources in the lane of these, now or later.
/// @param body answers the request; must not throw
/// @param prepare see Lanes::run
template <typename Body, typename... Prepare>
void in_lane(fuse_req_t req, const DeviceFile& device, Body body, const Prepare&... prepare) {
  const std::shared_ptr<Lane> lane = device.lane();
  const int failure =
      guarded([&] { server_of(req).lanes().run(lane, std::move(body), prepare...); });
  if (failure != 0) fuse_reply_err(req, failure);
}

/// @throws gone_from_tree()
const Inode& inode_at(const InodeView& view, fuse_ino_t number);

/// Answers an open.
void reply_opened(fuse_req_t req, fuse_file_info* info, OpenHandle opened);

/// Opens a device of a mount that can be written; the answer may come later, from elsewhere.
void open_device(fuse_req_t req, const DeviceFile& device, fuse_ino_t number,
                 const fuse_file_info& info);

}  // namespace peelfs
