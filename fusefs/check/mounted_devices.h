// What a mount shows, for a comparison: a replay of a journal may change it.
#pragma once

#include <optional>
#include <set>
#include <string>

namespace peelfs::check {

/// The devices of a mount, with what is on each: "os43p2 (ext4)".
/// @return nullopt: they could not be read
std::optional<std::set<std::string>> devices_in(const std::string& mountpoint);

/// @return what a person is told of the difference, a clause; empty: there is none
std::string difference(const std::optional<std::set<std::string>>& before,
                       const std::optional<std::set<std::string>>& after);

}  // namespace peelfs::check
