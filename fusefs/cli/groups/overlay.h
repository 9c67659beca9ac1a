// The options that say where overlays lie, and what may be taken for one.
#pragma once

#include <string>
#include <string_view>

#include "cli/parser.h"
#include "overlay/cover.h"

namespace peelfs::cli {

/// Of verbs that are about overlays themselves.
struct OverlayOptions {
  std::string directory;       ///< --overlay DIR; empty: none
  bool accept_shared = false;  ///< --accept-shared
};

/// Of verbs that open sources, and look through their overlays.
struct CoverOptions : OverlayOptions {
  bool accept_source = false;  ///< --accept-source
};

void bind_accept_shared(Parser& parser, bool& accept_shared);
void bind_overlay(Parser& parser, OverlayOptions& options);
void bind_cover(Parser& parser, CoverOptions& options);

/// Takes one of these options from -o.
/// @return false when it is none of them, or a flag that has a value
/// @throws Error(Fault::usage) for a value that makes no sense
bool set_cover_option(CoverOptions& options, std::string_view name, std::string_view value);

/// @throws Error(Fault::usage) when no directory is named, and the verb cannot do without
void require_overlay(const OverlayOptions& options);

/// The overlays are only looked through, if any are named.
overlay::Request look_through(const CoverOptions& options);

inline constexpr const char* kOverlayHelp =
    R"(  --overlay DIR           look through the overlays in DIR (mount: write into them)
)";
inline constexpr const char* kAcceptSourceHelp =
    R"(  --accept-source         as for mount: the overlay's source is what it was, I know
)";
inline constexpr const char* kAcceptSharedHelp =
    R"(  --accept-shared         the directory of overlays, or an overlay, may belong to others
                          or be writable for them, I know
)";
/// The same, of verbs that are about the overlays in DIR.
inline constexpr const char* kAcceptSharedDirHelp =
    R"(  --accept-shared         DIR or an overlay may belong to others or be writable for them
)";

}  // namespace peelfs::cli
