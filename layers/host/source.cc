#include "host/source.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "host/image_lock.h"
#include "host/in_use.h"

namespace peelfs {

namespace {

namespace fs = std::filesystem;

/// Whether the first bytes look like a disk image, for files in a directory that the person named.
/// Being generous costs only a device file more.
bool looks_like_image(const std::string& path) {
  try {
    const auto device = make_file_device(HostFile::open(path));
    const Buffer head = read_up_to(*device, 0, 4096);
    const ByteReader reader(head, "first sectors");
    for (const std::string_view magic :
         {std::string_view("QFI\xfb"), std::string_view("LUKS\xba\xbe"), std::string_view("KDMV"),
          std::string_view("vhdxfile"), std::string_view("conectix")}) {
      if (reader.has(0, magic)) return true;
    }
    for (const std::size_t sector : {0, 512, 1024, 1536}) {
      if (reader.has(sector, "LABELONE") || reader.has(sector, "EFI PART")) return true;
    }
    return reader.has(510, "\x55\xaa") && device->size() >= 1U << 20U && device->size() % 512 == 0;
  } catch (const Error&) {
    return false;  // not readable: it was not named, so it is no failure
  }
}

std::vector<std::string> images_in(const std::string& directory) {
  std::vector<std::string> images;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    std::error_code failed;
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") || !entry.is_regular_file(failed) || failed) continue;
    if (has_image_suffix(name) || looks_like_image(entry.path().string())) {
      images.push_back(entry.path().string());
    }
  }
  std::sort(images.begin(), images.end());
  return images;
}

/// Where the files lie that a source may name; empty: nowhere.
std::string directory_of(const HostFile& file, const fs::path& path) {
  if (file.is_block_device()) return "";
  return path.has_parent_path() ? path.parent_path().string() : ".";
}

class Opener {
 public:
  explicit Opener(std::span<const std::string> allowed) : allowed_(allowed) {}

  void open(const SourceSpec& spec) {
    std::error_code ignored;
    if (!fs::is_directory(spec.path, ignored)) return open_file(spec);
    if (!spec.name.empty()) {
      throw Error(Fault::usage, "a directory stands for many sources and cannot be named")
          .found(spec.name + "=" + spec.path)
          .advice("name the files in it one by one");
    }
    const std::vector<std::string> images = images_in(spec.path);
    if (images.empty()) {
      throw Error(Fault::missing, "no disk image in the directory " + spec.path)
          .advice("name the files if they are images that peelfs does not know by suffix or magic");
    }
    for (const std::string& image : images) {
      try {
        SourceSpec one = spec;
        one.path = image;
        open_file(one);
      } catch (const Error& error) {
        result_.failures.push_back({image, error});
      }
    }
  }

  OpenedSources result_;

 private:
  void open_file(const SourceSpec& spec) {
    using Access = HostFile::Access;
    auto file = HostFile::open(spec.path, spec.writable ? Access::read_write : Access::read_only);
    for (const Source& other : result_.sources) {
      if (identity_of(*other.file) != identity_of(*file)) continue;
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
    if (!spec.writable && source.writer.empty()) {
      source.writer = host_writer(identity_of(*file), host_);
    }
    const fs::path path(spec.path);
    const std::string file_name = path.filename().string();
    source.name = spec.name.empty() ? file_name : spec.name;
    source.stem = spec.name.empty() ? strip_image_suffix(file_name) : spec.name;
    source.path = spec.path;
    source.raw = spec.raw;
    source.references = make_host_references(directory_of(*file, spec.path), allowed_,
                                             spec.writable || spec.relied_on, spec.writable);
    source.file = std::move(file);
    result_.sources.push_back(std::move(source));
  }

  std::span<const std::string> allowed_;
  const SeenHost host_;
};

}  // namespace

std::shared_ptr<const References> references_for_reading(
    const Source& source, std::span<const std::string> allow_references) {
  return make_host_references(directory_of(*source.file, source.path), allow_references);
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

OpenedSources open_sources(std::span<const SourceSpec> specs,
                           std::span<const std::string> allow_references) {
  Opener opener(allow_references);
  for (const SourceSpec& spec : specs) {
    try {
      opener.open(spec);
    } catch (const Error& error) {
      opener.result_.failures.push_back({spec.path, error});
    } catch (const fs::filesystem_error& error) {
      opener.result_.failures.push_back(
          {spec.path, Error::system(error.code().value(), spec.path)});
    }
  }
  return std::move(opener.result_);
}

}  // namespace peelfs
