#include "host/source.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <optional>
#include <system_error>

#include "engine/side_by_side.h"
#include "host/consent.h"
#include "host/directed.h"
#include "host/folder.h"
#include "host/host_call.h"
#include "host/image_lock.h"
#include "host/in_use.h"
#include "host/pinned.h"
#include "peelfs/formats.h"
#include "peelfs/shell.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

using Why = LeftOutEntry::Why;

/// Why an entry of a directory that the person named is no source; nullopt: it is one.
std::optional<Why> why_left_out(const Folder& folder, const std::string& name,
                                const Formats& formats) {
  if (name.starts_with(".")) return Why::hidden;
  Obstacle obstacle;
  const auto pin = folder.find(name, obstacle);
  if (!pin && obstacle.error_number != 0) return Why::unreadable;
  if (!pin) return obstacle.is_link ? Why::link : Why::mounted;
  if (pin->is_directory()) return Why::directory;
  if (!pin->is_file() && !pin->is_block_device()) return Why::other;
  if (pin->is_file() && formats.is_packed_image(name)) return Why::packed;
  if (formats.has_image_suffix(name)) return std::nullopt;
  try {
    const auto file = HostFile::open_pinned(pin->descriptor(), name);
    if (file->is_block_device()) {
      return file->size() != 0 ? std::nullopt : std::optional(Why::other);
    }
    if (formats.image_format(*make_storage_device(file)).empty()) return Why::no_image;
    return std::nullopt;
  } catch (const Error&) {
    return Why::unreadable;  // it was not named, so it is no failure
  }
}

std::string beside(const std::string& directory, const std::string& name) {
  return (fs::path(directory) / name).string();
}

/// The directory from which relative names in an image are looked up.
std::string directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path().string() : ".";
}

/// Takes from the directives how the bytes of a source are read.
void take_directive(Source& source, const std::vector<Directive>& directives,
                    const Formats& formats) {
  const Directive* const one =
      directive_for_source(directives, formats, source.name, source.stem, source.path);
  if (one == nullptr) return;
  if (!names_format(*one, formats) || one->kind == kAsRaw) {
    source.raw = true;  // what it is said to be begins in the file itself
    return;
  }
  if (source.raw) {
    throw Error(Fault::usage, source.path + " is given both as raw and as " + one->kind)
        .advice(
            "leave out 'raw:' or --as: which of them is right changes what is shown, and "
            "where it is written");
  }
  source.as = formats.by_kind(one->kind);
}

class Opener {
 public:
  Opener(std::span<const std::string> allowed, const Formats& formats)
      : consent_(std::make_shared<Consent>(allowed, formats)) {}

  /// What looking at a source on the host came to.
  struct Looked {
    std::shared_ptr<const HostFile> file;  ///< open; null: it is a directory, or left out
    std::optional<Why> why;                ///< of an entry of a directory: why it is left out
    std::exception_ptr failure;
  };

  /// The part that may wait for a disk. Thread-safe.
  static Looked look_at(const SourceSpec& spec) {
    Looked looked;
    try {
      const auto is_directory = [path = spec.path] {
        std::error_code ignored;
        return fs::is_directory(path, ignored);
      };
      if (!spec.from_directory && answer_in_time(spec.path, spec.patience, is_directory)) {
        return looked;
      }
      looked.file = answer_in_time(spec.path, spec.patience, [spec] {
        auto opened = open_source(spec);
        read_first(*opened);
        return opened;
      });
    } catch (...) {
      looked.failure = std::current_exception();
    }
    return looked;
  }

  /// @param looked what look_at() found
  void open(const SourceSpec& spec, Looked looked) {
    if (looked.failure) std::rethrow_exception(looked.failure);
    if (looked.file) return take(spec, std::move(looked.file));
    if (!spec.name.empty()) {
      throw Error(Fault::usage, "a directory stands for many sources and cannot be named")
          .found(spec.name + "=" + spec.path)
          .advice("name the files in it one by one");
    }
    const auto listing = answer_in_time(spec.path, spec.patience, [path = spec.path] {
      auto folder = std::make_shared<const Folder>(path);
      // Through the descriptor: what is listed is what is looked at.
      const std::string listed = "/proc/self/fd/" + std::to_string(folder->descriptor());
      std::vector<std::string> names = names_in(listed, path);
      return std::pair(std::move(folder), std::move(names));
    });
    bool any = false;
    const std::size_t known = result.left_out.size();
    std::vector<SourceSpec> entries;
    for (const std::string& name : listing.second) {
      entries.push_back(spec);
      entries.back().path = beside(spec.path, name);
      entries.back().from_directory = true;
    }
    std::vector<Looked> found(entries.size());
    side_by_side(entries.size(), workers_for(entries), [&](std::size_t i) {
      found[i] = look_at_entry(listing.first, listing.second[i], entries[i]);
    });
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (found[i].why) {
        result.left_out.push_back({entries[i].path, *found[i].why});
        continue;
      }
      any = true;
      try {
        if (found[i].failure) std::rethrow_exception(found[i].failure);
        take(entries[i], std::move(found[i].file));
      } catch (const Error& error) {
        result.failures.push_back({entries[i].path, error});
      }
    }
    if (any) return;
    const auto is_unreadable = [](const LeftOutEntry& one) { return one.why == Why::unreadable; };
    const auto of_this = std::span(result.left_out).subspan(known);
    if (const auto count = std::count_if(of_this.begin(), of_this.end(), is_unreadable);
        count > 0) {
      throw Error(Fault::denied, "no disk image can be read in the directory " + spec.path)
          .found(std::to_string(count) + " of its " + std::to_string(of_this.size()) +
                 " entries cannot be looked at")
          .expected("permission to read them, and to search the directory")
          .advice("who has it is shown by: " + shell_line({"ls", "-la", spec.path}));
    }
    const bool link = std::any_of(result.left_out.begin(), result.left_out.end(),
                                  [](const LeftOutEntry& one) { return one.why == Why::link; });
    throw Error(Fault::missing, "no disk image in the directory " + spec.path)
        .advice(link ? "links in it are not followed: name those that you mean"
                     : "name the files if they are images that peelfs does not know by suffix or "
                       "magic");
  }

  /// How many threads may look at these at once. What is opened for writing is opened in order:
  /// whether the host uses a file, and who locks it first, is no matter for chance.
  static std::size_t workers_for(std::span<const SourceSpec> specs) {
    return std::ranges::any_of(specs, &SourceSpec::writable) ? 1 : kMostWorkers;
  }

  OpenedSources result;

 private:
  Looked look_at_entry(const std::shared_ptr<const Folder>& folder, const std::string& name,
                       const SourceSpec& spec) const {
    Looked looked;
    try {
      looked.why =
          answer_in_time(spec.path, spec.patience, [folder, name, &formats = consent_->formats()] {
            return why_left_out(*folder, name, formats);
          });
    } catch (...) {
      looked.failure = std::current_exception();
      return looked;
    }
    return looked.why ? looked : look_at(spec);
  }

  void take(const SourceSpec& spec, std::shared_ptr<const HostFile> file) {
    for (const Source& other : result.sources) {
      if (other.file->id() != file->id()) continue;
      throw Error(Fault::usage, spec.path + " is the same file as " + other.path)
          .advice("it is shown once, as " + other.stem);
    }
    Source source;
    if (spec.writable) {
      lock_image(*file, ImageUse::written);
    } else if (spec.relied_on) {
      lock_image(*file, ImageUse::relied_on);
    } else {
      source.writer = image_writer(*file);
    }
    if (!spec.writable && source.writer.empty()) source.writer = host_writer(file->id(), host_);
    source.holder = source.writer.empty() ? image_holder(*file) : source.writer + " writes it";
    const fs::path path(spec.path);
    const std::string file_name = path.filename().string();
    source.name = spec.name.empty() ? file_name : spec.name;
    source.stem = spec.name.empty() ? consent_->formats().strip_image_suffix(file_name) : spec.name;
    source.path = spec.path;
    source.raw = spec.raw;
    source.as = spec.as;
    if (spec.directives) take_directive(source, *spec.directives, consent_->formats());
    source.from_directory = spec.from_directory;
    source.consent = consent_;
    source.references =
        make_host_references(directory_of(spec.path), consent_, spec.writable || spec.relied_on,
                             file->is_block_device());
    consent_->add_source(spec.path, file, !spec.from_directory);
    source.file = std::move(file);
    result.sources.push_back(std::move(source));
  }

  /// A disk that hangs may be opened all the same. One that cannot be read is no matter here.
  static void read_first(const HostFile& file) {
    std::array<std::byte, 512> sector;
    const iovec buffer{sector.data(), static_cast<std::size_t>(
                                          std::min<std::uint64_t>(sector.size(), file.size()))};
    if (buffer.iov_len == 0) return;
    try {
      file.read(0, {&buffer, 1});
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): said where its bytes are needed
    }
  }

  static std::shared_ptr<const HostFile> open_source(const SourceSpec& spec) {
    using Access = HostFile::Access;
    const Access access = spec.writable ? Access::read_write : Access::read_only;
    if (!spec.from_directory) return HostFile::open(spec.path, access);
    const fs::path path(spec.path);
    const Folder folder(path.has_parent_path() ? path.parent_path().string() : ".");
    Obstacle obstacle;
    const auto pin = folder.find(path.filename(), obstacle);
    if (pin) return HostFile::open_pinned(pin->descriptor(), spec.path, access);
    if (obstacle.error_number != 0) {
      throw Error::system(obstacle.error_number, "cannot open " + spec.path);
    }
    throw Error(Fault::denied, "cannot open " + spec.path).found(obstacle.why);
  }

  const std::shared_ptr<Consent> consent_;
  const SeenHost host_;
};

}  // namespace

std::shared_ptr<const References> references_for_reading(const Source& source) {
  return make_host_references(directory_of(source.path), source.consent, false,
                              source.file->is_block_device());
}

SourceSpec parse_source(std::string_view argument) {
  SourceSpec spec;
  std::string_view rest = argument;
  const auto is_path = [&] { return rest.starts_with("/") || rest.starts_with("./"); };
  const auto take_raw = [&] {
    if (is_path() || !rest.starts_with("raw:")) return;
    spec.raw = true;
    rest.remove_prefix(4);
  };
  take_raw();
  if (const std::size_t equals = rest.find('=');
      !is_path() && equals != std::string_view::npos &&
      rest.substr(0, equals).find('/') == std::string_view::npos) {
    spec.name = rest.substr(0, equals);
    rest.remove_prefix(equals + 1);
    if (spec.name.empty()) {
      throw Error(Fault::usage, "a source without a name before the '='")
          .found(std::string(argument))
          .expected("NAME=PATH")
          .advice("a file whose name holds '=' is written ./FILE");
    }
    take_raw();
  }
  if (rest.empty()) {
    throw Error(Fault::usage, "a source without a path").found("'" + std::string(argument) + "'");
  }
  spec.path = rest;
  return spec;
}

namespace {

/// "a/b=PATH" is the path of a file, since a name holds no slash; where PATH is there and that file
/// is not, a name was meant.
std::string name_with_slash(const std::string& path) {
  const std::size_t equals = path.find('=');
  if (equals == std::string::npos || path.starts_with("./") || path.starts_with("/")) return {};
  const std::string name = path.substr(0, equals);
  const std::string file = path.substr(equals + 1);
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos || slash + 1 == name.size() || file.empty()) return {};
  if (::access(file.c_str(), F_OK) != 0) return {};
  return "a NAME before '=' holds no '/'; without it: " +
         shell_line({name.substr(slash + 1) + "=" + file});
}

}  // namespace

OpenedSources open_sources(std::span<const SourceSpec> specs,
                           std::span<const std::string> allow_references, const Formats& formats) {
  Opener opener(allow_references, formats);
  std::vector<Opener::Looked> looked(specs.size());
  side_by_side(specs.size(), Opener::workers_for(specs),
               [&](std::size_t i) { looked[i] = Opener::look_at(specs[i]); });
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const SourceSpec& spec = specs[i];
    try {
      opener.open(spec, std::move(looked[i]));
    } catch (const Error& error) {
      const std::string advice =
          error.error_number() == ENOENT ? name_with_slash(spec.path) : std::string();
      opener.result.failures.push_back(
          {spec.path, advice.empty() ? error : Error(error).advice(advice)});
    } catch (const fs::filesystem_error& error) {
      opener.result.failures.push_back({spec.path, Error::system(error.code().value(), spec.path)});
    }
  }
  return std::move(opener.result);
}

}  // namespace peelfs
