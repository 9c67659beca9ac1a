// The daemon's end of the control socket.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mount/control_protocol.h"
#include "mount/process.h"

namespace peelfs {

/// Serves one request after the other on a thread of its own; a client that sends or reads nothing
/// is dropped after a few seconds and keeps nobody else waiting. Only the user who mounted, and
/// root, are heard.
class ControlServer {
 public:
  using Handler = std::function<control::Answer(control::Request&)>;

  /// Binds the socket. @throws Error
  ControlServer();
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// What stands in .peelfs/control: "@" and the name in the abstract namespace, and a newline.
  const std::string& address() const noexcept { return address_; }

  /// Starts the thread. @param handler called on it, one request at a time
  void start(Handler handler);

  /// Stops it. A key derivation that is under way cannot be interrupted.
  /// @return false when the thread has not ended within a few seconds: the process must then end
  ///   without destroying anything that the handler uses
  bool stop() noexcept;

  /// Connections of clients that wait for the end of the process; close them last.
  std::vector<UniqueFd> take_waiting();

 private:
  struct Connection;
  void run() noexcept;
  void serve_until_stopped();
  void accept_all(std::vector<std::unique_ptr<Connection>>& connections);
  bool advance(Connection& connection);
  void answer(Connection& connection);

  UniqueFd listening_, stopping_, stopped_;
  std::string address_;
  Handler handler_;
  std::thread thread_;
  std::vector<UniqueFd> waiting_;
};

}  // namespace peelfs
