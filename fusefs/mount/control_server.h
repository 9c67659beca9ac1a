// The daemon's end of the control socket.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mount/control_protocol.h"
#include "mount/log.h"
#include "mount/process.h"
#include "mount/task_thread.h"

namespace peelfs {

/// A thread of its own listens, and answers requests that need no source. Unlocking, and flushing
/// before an unmount, have a thread each, where one request follows the other: neither a key
/// derivation nor a source that hangs keeps other requests waiting. A client that sends or reads
/// nothing is dropped after a few seconds and does not keep other clients waiting. Only the user
/// who mounted, and root, are served.
class ControlServer {
 public:
  using Handler = std::function<control::Answer(control::Request&)>;

  /// Binds the socket. @param device st_dev of the mount @throws Error
  explicit ControlServer(dev_t device);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Starts the threads. @param handler called on them: one request of each verb at a time
  void start(Handler handler);

  /// Stops them. A key derivation that is under way cannot be interrupted.
  /// @return false when a thread has not ended within a few seconds: the process must then end
  ///   without destroying anything that the handler uses
  bool stop() noexcept;

  /// Connections of clients that wait for the end of the process; close them last.
  std::vector<UniqueFd> take_waiting();

 private:
  struct Connection;
  using ConnectionPtr = std::shared_ptr<Connection>;
  void run() noexcept;
  void serve_until_stopped();
  void accept_all();
  bool advance(const ConnectionPtr& connection);
  bool begin(const ConnectionPtr& connection);
  void handle(Connection& connection) noexcept;
  bool say_working(Connection& connection) noexcept;
  void finish(Connection& connection);

  LogLimiter refusals_;
  UniqueFd listening_, stopping_, stopped_, handled_;
  Handler handler_;
  std::vector<ConnectionPtr> connections_;  ///< of the listening thread alone
  std::vector<UniqueFd> waiting_;
  std::thread thread_;
  std::unique_ptr<TaskThread> unlocking_, flushing_;
};

}  // namespace peelfs
