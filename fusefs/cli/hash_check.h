// `peelfs hash --check`: compares devices with a list of digests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/digest_list.h"
#include "cli/hash_devices.h"

namespace peelfs::cli {

/// A list that was read, and what the devices are found to be.
class HashCheck {
 public:
  /// Reads the list. @param path "-": standard input
  /// @param expected see parse_digest_line()
  /// @throws Error(Fault::usage) when no line of it is a digest, or it cannot be read
  HashCheck(const std::string& path, const std::vector<const DigestAlgorithm*>& expected);

  /// All that the list names.
  const std::vector<const DigestAlgorithm*>& algorithms() const { return algorithms_; }

  /// Looks for the devices of the list. @return what is to be hashed
  std::vector<HashSubject> plan(const HashDevices& devices, const Catalog& catalog);
  /// @param result of what plan() has returned
  void compare(const HashDevices& devices, const HashResult& result);

  /// "NAME: OK" and "NAME: FAILED", a line each, in the order of the list. @param quiet without
  /// those that are right
  std::string lines(bool quiet) const;
  std::string json(const std::vector<std::string>& warnings) const;
  /// What else there is to say.
  std::vector<std::string> complaints() const;
  /// Whether every line is one, names a device, and has its digest.
  bool is_good() const;
  /// Devices that the list does not name.
  std::vector<std::string> unnamed(const std::vector<HashDevice>& devices) const;

 private:
  enum class Outcome : std::uint8_t { right, wrong, missing, unreadable };
  struct Entry {
    std::size_t line = 0;  ///< its number, from 1
    DigestLine says;
    std::string device;              ///< without the place of a piece
    std::optional<ByteRange> piece;  ///< nullopt: the whole
    std::optional<HashDevice> found;
    std::size_t subject = 0, place = 0;  ///< among those that plan() returned
    bool planned = false;
    Outcome outcome = Outcome::missing;
    std::string digest;  ///< that it has
    std::string reason;  ///< why it has none
  };
  void find(Entry& entry, const HashDevices& devices, const Catalog& catalog) const;

  const std::string name_;
  std::vector<Entry> entries_;
  std::vector<std::pair<std::size_t, std::string>> malformed_;  ///< line, and its beginning
  std::size_t malformed_count_ = 0;
  std::vector<const DigestAlgorithm*> algorithms_;
};

}  // namespace peelfs::cli
