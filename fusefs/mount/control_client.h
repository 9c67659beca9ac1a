// The client's end of the control socket.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "host/mountinfo.h"
#include "mount/control_protocol.h"
#include "mount/process.h"
#include "peelfs/error.h"

namespace peelfs {

/// A connection to the process that serves a mount.
class ControlClient {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param mount a mount of peelfs
  /// @param deadline of everything that is done with it; a process that says nothing at all is
  ///   given up earlier
  /// @throws Error: denied when it belongs to another user; io with ENOTCONN when its process is
  ///   gone, with ETIMEDOUT when it hangs
  ControlClient(const MountEntry& mount, Clock::time_point deadline);

  /// Sends a request and waits for its answer: a key derivation takes as long as it takes.
  /// @throws Error for an answer that says "failed"; io with ENOTCONN when the process ends
  ///   instead, with ETIMEDOUT when it hangs or the deadline has passed
  control::Answer ask(control::Verb verb, std::string_view text = {}, Bytes key = {},
                      KeyKind key_kind = KeyKind::passphrase);

  /// Waits until the process has closed the connection. @return false when the time was over
  bool wait_for_end();

 private:
  /// Connects to a process that answers for the mount, and was not tried before. @throws Error
  void connect();
  /// The same, once a process has closed the connection unasked. @return whether there is another
  bool connect_to_another();
  Clock::time_point quiet_until() const;
  Error no_answer(int failure) const;

  MountEntry mount_;
  std::string mountpoint_;
  Clock::time_point deadline_;
  UniqueFd socket_;
  std::vector<std::string> tried_;  ///< names of sockets
  pid_t process_ = 0;
};

/// The files that the process of a mount of peelfs has open: what the bytes of the mount come from,
/// and its overlays and log.
/// @throws Error like ControlClient
std::vector<std::string> request_opened(const MountEntry& mount);

/// What a mount is made of, as a document (status.h). The mount itself is not touched.
/// @param with_tree its devices, too
/// @param patience how long the process may take for its answer
/// @throws Error like ControlClient
std::string request_status(const MountEntry& mount, bool with_tree, std::chrono::seconds patience);

}  // namespace peelfs
