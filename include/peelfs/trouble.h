// What is wrong with a device, or worth saying of it: one list of states in one order of severity,
// and one collector that joins several troubles into the one that is shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peelfs {

class Error;

/// A trouble of a device: `peelfs ls` shows it as STATE and reason.
struct Trouble {
  /// In order of severity, the least first.
  enum class State : std::uint8_t {
    note,         ///< all is there; something is worth knowing
    degraded,     ///< a part cannot be read, or a copy of it is lost
    missing,      ///< a member, a backing file or all of the bytes are not there
    unsupported,  ///< well-formed, but peelfs does not open it (yet)
    denied,       ///< the host refused, or peelfs refuses by policy
    io,           ///< the host failed to read
    damaged,      ///< bytes on the disk contradict their specification
    locked,       ///< a key is needed
  };
  // Short names. ("using enum" breaks g++ 12 in templates.)
  static constexpr State note = State::note;
  static constexpr State degraded = State::degraded;
  static constexpr State missing = State::missing;
  static constexpr State unsupported = State::unsupported;
  static constexpr State denied = State::denied;
  static constexpr State io = State::io;
  static constexpr State damaged = State::damaged;
  static constexpr State locked = State::locked;

  State state = State::note;
  std::string reason;  ///< printable
};

/// @return the word that people and scripts see: "note", "degraded", ...
std::string_view state_name(Trouble::State state) noexcept;
std::ostream& operator<<(std::ostream& stream, Trouble::State state);

/// "damaged: the reason"
std::string text_of(const Trouble& trouble);

/// Turns what was caught into what is shown. Thread-safe.
Trouble trouble_from(const Error& error);

/// Collects what there is to say of one device. The worst state counts for the whole. All reasons
/// are shown, the worst first, each once. A bound keeps hostile metadata from making long texts.
/// Copyable; not thread-safe.
class Troubles {
 public:
  Troubles() = default;
  explicit Troubles(const std::optional<Trouble>& first) { add(first); }

  /// @param reason raw or printable: it is made printable. An empty one is ignored
  void add(Trouble::State state, std::string_view reason);
  void add(const Trouble& trouble) { add(trouble.state, trouble.reason); }
  void add(const std::optional<Trouble>& trouble) {
    if (trouble) add(*trouble);
  }
  void add(const Error& error) { add(trouble_from(error)); }
  /// @param context is put before each reason
  void add(const Troubles& others, std::string_view context = "");
  void note(std::string_view reason) { add(Trouble::note, reason); }
  void damage(std::string_view reason) { add(Trouble::damaged, reason); }
  void damage(const Error& error);  ///< adds it as damage, with any Fault

  /// The troubles of something that has a substitute: what is worse than `degraded` counts as that.
  void add_degraded(const Troubles& others);

  bool empty() const noexcept { return troubles_.empty(); }
  /// Whether the worst is at least this bad.
  bool reach(Trouble::State state) const noexcept;
  /// The one that is shown; nullopt: there is nothing to say.
  std::optional<Trouble> summary() const;

 private:
  static constexpr std::size_t kMost = 12;
  std::vector<Trouble> troubles_;
  std::size_t more_ = 0;  ///< left out, beyond kMost
};

/// Adds a trouble to what is known of a device. What repeats a reason that is known, with or
/// without its context, only counts for the state: a read often meets what the layer has said
/// already.
void join(std::optional<Trouble>& known, const Trouble& more);

}  // namespace peelfs
