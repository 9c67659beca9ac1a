// The one error type of peelfs.
//
// A failure that a person can meet says what failed, where, what was found, what was expected and
// what to do next. It is caught in two places only: the scanner (the device stays visible, with the
// reason) and the FUSE edge or the command line (an errno or an exit code, and the message). "This
// is not mine" is a value (std::nullopt), never an exception.
#pragma once

#include <cerrno>
#include <exception>
#include <string>
#include <string_view>

namespace peelfs {

/// What sort of failure it is. The scanner turns it into the state of a device.
enum class Fault {
  damaged,      ///< bytes on a disk contradict their specification
  unsupported,  ///< well-formed, but needs something that peelfs does not do (yet)
  missing,      ///< a member device, a backing file or a host file is not there
  locked,       ///< a key is needed
  denied,       ///< the host refused (permissions), or peelfs refuses by policy
  io,           ///< the host failed to read or write
  usage,        ///< the person asked for something that makes no sense
};

/// @return the word that `peelfs ls` shows for it: "damaged", "unsupported", ...
std::string_view fault_name(Fault fault) noexcept;

/// A failure. Build it in one expression:
///   throw Error(Fault::damaged, "GPT header checksum is wrong")
///       .found(hex(actual)).expected(hex(stored)).advice("the backup header is tried next");
class Error : public std::exception {
 public:
  Error(Fault fault, std::string what);

  /// A failed system call: the errno is kept, and its text becomes part of the message.
  static Error system(int error_number, std::string what);

  Error&& found(std::string text) &&;
  Error&& expected(std::string text) &&;
  /// What the person can do next; a whole clause without a full stop.
  Error&& advice(std::string text) &&;
  /// The errno that the FUSE edge answers; without it one that suits the fault.
  Error&& with_errno(int error_number) &&;

  /// Adds one link to the chain of layers, outermost last ("LV vg/lv", then "os43.qcow2").
  void add_context(std::string_view layer);

  Fault fault() const noexcept { return fault_; }
  int error_number() const noexcept { return errno_; }
  const std::string& advice_text() const noexcept { return advice_; }

  /// One line: "os43.qcow2: LV vg/lv: what (found X, expected Y); advice". Never holds control
  /// characters: text that came from a disk is escaped here.
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  void compose();

  Fault fault_;
  int errno_;
  std::string where_, summary_, found_, expected_, advice_, message_;
};

/// Makes text from a disk or a command line safe for a terminal and a log: control characters, DEL,
/// C1 controls and invalid UTF-8 become \xNN.
std::string printable(std::string_view text);

/// @return "0x" and lower-case hexadecimal digits.
std::string hex(unsigned long long value);

}  // namespace peelfs
