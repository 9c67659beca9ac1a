// The client's end of the control socket.
#pragma once

#include <chrono>
#include <string>

#include "mount/control_protocol.h"
#include "host/mountinfo.h"
#include "mount/process.h"

namespace peelfs {

/// A connection to the process that serves a mount.
class ControlClient {
 public:
  /// @param mount a mount of peelfs
  /// @throws Error: denied when it belongs to somebody else; io with ENOTCONN when its process is
  /// gone
  explicit ControlClient(const MountEntry& mount);

  /// Sends a request and waits for its answer: a key derivation takes as long as it takes.
  /// @throws Error for an answer that says "failed", and when the process ends instead
  control::Answer ask(control::Verb verb, std::string_view text = {}, Bytes key = {});

  /// Waits until the process has closed the connection. @return false when the time was over
  bool wait_for_end(std::chrono::milliseconds timeout);

 private:
  std::string mountpoint_;
  UniqueFd socket_;
};

}  // namespace peelfs
