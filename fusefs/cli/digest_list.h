// Lines of digests, as md5sum, sha256sum, b2sum, cksum and openssl write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/digest.h"
#include "peelfs/byte_range.h"

namespace peelfs::cli {

enum class DigestFormat : std::uint8_t {
  plain,   ///< "DIGEST  NAME"
  tagged,  ///< "SHA256 (NAME) = DIGEST"
};

/// With its newline. A name that holds a backslash, a newline or a carriage return is escaped as
/// coreutils do it: a backslash stands before the whole line then.
std::string digest_line(const DigestAlgorithm& algorithm, std::string_view digest,
                        std::string_view name, DigestFormat format);

/// What such a line says.
struct DigestLine {
  const DigestAlgorithm* algorithm = nullptr;
  std::string digest;  ///< in lower case
  std::string name;
};

/// @param line without its newline
/// @param expected of a plain line, which does not tell its algorithm: the first of these whose
///   digests are as long; of none the first of all that there are
/// @return nullopt: it is no such line, or of an algorithm that is not known
std::optional<DigestLine> parse_digest_line(std::string_view line,
                                            std::span<const DigestAlgorithm* const> expected);

/// "NAME offset 0-1048575", what a piece is called: as md5deep does.
std::string piece_name(std::string_view name, const ByteRange& piece);

struct PieceName {
  std::string name;
  ByteRange piece;
};
/// @return nullopt: it is the name of no piece
std::optional<PieceName> parse_piece_name(std::string_view text);

}  // namespace peelfs::cli
