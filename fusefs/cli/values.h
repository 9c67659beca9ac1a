// What the words of a command line are worth: numbers, sizes, words that are nearly others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peelfs/error.h"

namespace peelfs::cli {

/// @return what is wrong with the command line, to be thrown
Error usage(std::string what);

/// @param name of an option, without dashes @throws Error(Fault::usage) when the value is empty
void need_value(std::string_view name, std::string_view value);
/// The same for an option without a value, when there is one.
void refuse_value(std::string_view name, std::string_view value);

/// A plain decimal number and nothing else.
std::optional<std::uint64_t> parse_number(std::string_view text);

/// Bytes: "4096", "64K", "1M", "2G", "3T", "1P" (powers of 1024; "KiB" is the same, "KB" is 1000).
/// @param what names the option in the message @throws Error(Fault::usage)
std::uint64_t parse_size(std::string_view text, std::string_view what);

/// The one of `known` that is spelled most like `word`; "" when none is close.
std::string_view closest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace peelfs::cli
