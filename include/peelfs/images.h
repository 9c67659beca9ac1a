// The face of the library: a program that links peelfs opens disk images here, sees what is in
// them, and reads it. Nothing is written. contrib/example shows it in thirty lines.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "peelfs/block_device.h"
#include "peelfs/cancel.h"
#include "peelfs/keys.h"
#include "peelfs/layer.h"
#include "peelfs/trouble.h"

namespace peelfs {

/// Sources that are open, and everything that was found in them. Movable. Const member functions
/// are safe from any thread; unlock() may be called while others read.
class Images {
 public:
  struct Device {
    std::string name;  ///< unique, as `peelfs ls` shows it
    std::string kind;  ///< "disk", "part", "lvm", "crypt", "file", "snapshot"
    /// What is on it: "ext4", "LVM2_member", "gpt"; empty where nothing is known.
    std::string format;
    std::string label, uuid;           ///< raw, as on the disk: escape them before you show them
    std::vector<std::string> parents;  ///< names of the devices that it lies on; none: a source
    std::optional<Trouble> trouble;    ///< why its branch ends, or what else there is to say
    DevicePtr bytes;                   ///< never null; peelfs/io.h reads it
  };

  struct Request {
    /// As on the command line: PATH, NAME=PATH, raw:PATH; a directory stands for the images in it.
    std::vector<std::string> sources;
    /// Files, or directories of them, that images may name besides those below their own directory.
    std::vector<std::string> allow_references;
    /// For the device with that name or UUID; an empty name: tried on every locked device.
    std::vector<std::pair<std::string, Credential>> keys;
    /// What devices are to be opened as, at most one for each.
    std::vector<Directive> directives = {};
    Limits limits;
    /// How long a source may leave a question unanswered while it is opened; 0: for ever.
    std::chrono::seconds patience{60};
    /// Ends the run from another thread: the constructor returns soon, with what was found so far,
    /// and cancelled() is true. It holds for unlock(), too. Null: nothing ends it.
    std::shared_ptr<const Cancel> cancel = nullptr;
    /// Called by the constructor, several times, with the devices that were found so far. Their
    /// names may change until it is done, and one may turn out to be a part of another that is
    /// found later. What it throws leaves the constructor. Null: nothing is called.
    std::function<void(const std::vector<Device>&)> found = nullptr;
  };

  /// Opens the sources, read-only, and peels them with the keys.
  /// @throws Error when no source could be opened; see warnings() for those that could not.
  ///   Error(Fault::usage) for a directive that makes no sense
  explicit Images(Request request);
  ~Images();
  Images(Images&& other) noexcept;
  Images& operator=(Images&& other) noexcept;

  /// Sorted by name. A device stays readable as long as the caller keeps it.
  std::vector<Device> devices() const;
  /// By name, UUID, LABEL=, UUID=, PARTUUID=, PARTLABEL= or a path below by-path.
  std::optional<Device> find(std::string_view what) const;

  /// Tries a key on a locked device; what lies in it is among devices() then.
  /// @return nullopt when it is open, otherwise why not
  /// @throws Error(Fault::usage) when there is no such device, or it is not locked
  std::optional<std::string> unlock(const std::string& name, Credential key);

  /// Whether the run was cancelled before all was looked at. Devices that were not looked into have
  /// a trouble that says so.
  bool cancelled() const;

  /// Sources that could not be opened, and what else a person should know.
  std::vector<std::string> warnings() const;
  /// The document that `peelfs ls --json` prints.
  std::string json() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace peelfs
