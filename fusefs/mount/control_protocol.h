// What goes over the control socket: a Unix stream socket in the abstract namespace. One request
// and one answer for each connection. Both ends run on one host, so numbers are in its byte order.
//
//   request:  RequestHeader, `text` bytes (a device's name), `key` bytes
//   answer:   any number of AnswerHeaders that say `working`, one at least every heartbeat;
//             AnswerHeader, `text` bytes
//
// The socket's name is name_prefix(the mount's device number) and something random. A client finds
// it in /proc/net/unix: asking the mount itself would hang with a process that hangs.
//
// After `unmount` has been answered the connection stays open until the process has released every
// source: its end is what the client waits for.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "peelfs/keys.h"

namespace peelfs::control {

inline constexpr std::uint32_t kMagic = 0x504c4653;       // "PLFS"
inline constexpr std::uint32_t kTextLimit = 4096;         // of a request
inline constexpr std::uint32_t kKeyLimit = 8U << 20;      // LUKS' own limit for a key file
inline constexpr std::uint32_t kAnswerLimit = 64U << 20;  // names of all devices

inline constexpr std::chrono::seconds kHeartbeat{1};
/// A process that has said nothing for so long is taken for one that hangs.
inline constexpr std::chrono::seconds kSilenceLimit{10};

/// @param device st_dev of the mount. @return without the NUL that leads abstract names
std::string name_prefix(dev_t device);

enum class Verb : std::uint16_t {
  ping = 1,
  unmount = 2,  ///< announces it: everything is flushed, then the client unmounts
  unlock = 3,   ///< text: the device; key
  locked = 4,   ///< answered with flat names, one a line
  opened =
      5,  ///< answered with the paths of all files that the process has open, a NUL behind each
  status = 6,  ///< answered with a document (status.h); text: "tree" for one with the devices
};

struct RequestHeader {
  std::uint32_t magic = control::kMagic;
  Verb verb = Verb::ping;
  std::uint16_t key_kind = 0;  ///< a KeyKind
  std::uint32_t text = 0;
  std::uint32_t key = 0;
};

enum class Outcome : std::uint32_t {
  done = 0,
  refused = 1,  ///< the key does not fit: text says why
  failed = 2,   ///< text is an Error's message; `fault` and `error_number` are its
  working = 3,  ///< not yet an answer
};

struct AnswerHeader {
  std::uint32_t magic = control::kMagic;
  Outcome outcome = Outcome::done;
  std::uint32_t fault = 0;
  std::int32_t error_number = 0;
  std::uint32_t text = 0;
};

struct Request {
  Verb verb = Verb::ping;
  std::string text;
  Secret key;
  KeyKind key_kind = KeyKind::passphrase;
};

struct Answer {
  Outcome outcome = Outcome::done;
  std::uint32_t fault = 0;
  int error_number = 0;
  std::string text;
};

}  // namespace peelfs::control
