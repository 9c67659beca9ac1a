#include "overlay/overlay.h"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <optional>

#include "host/folder.h"
#include "host/image_lock.h"
#include "overlay/tables.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {

namespace {

constexpr std::string_view committing_word = "committing";

/// The overlay's disk as the source was: its exact size, and the sector that tables count in.
class ExactDisk : public BlockDevice {
 public:
  ExactDisk(DevicePtr disk, const BlockDevice& source, std::string description)
      : BlockDevice(source.size(), source.sector_size()),
        disk_(std::move(disk)),
        description_(std::move(description)) {}
  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    return Extent::in_device(*disk_, offset, length);
  }
  Extent map_write(std::uint64_t offset, std::uint64_t length, WriteKind) const override {
    return Extent::in_device(*disk_, offset, length);
  }
  bool writable() const noexcept override { return disk_->writable(); }
  void flush() const override { disk_->flush(); }
  std::uint64_t allocated_bytes() const override {
    return std::min(size(), disk_->allocated_bytes());
  }
  std::string describe() const override { return description_; }

 private:
  const DevicePtr disk_;
  const std::string description_;
};

std::string escaped(const std::string& name) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string result;
  for (const char character : name) {
    const auto byte = static_cast<unsigned char>(character);
    const bool plain =
        byte > 0x20 && byte != 0x7f &&
        std::string_view("/\\%:*?\"'<>|").find(character) == std::string_view::npos &&
        (character != '.' || !result.empty());
    if (plain) {
      result += character;
    } else {
      result += '%';
      result += digits[byte >> 4U];
      result += digits[byte & 15U];
    }
  }
  return result;
}

std::string unescaped(const std::string& name) {
  std::string result;
  for (std::size_t at = 0; at < name.size(); ++at) {
    unsigned byte = 0;
    const char* const digits = name.data() + at + 1;
    if (name[at] == '%' && at + 2 < name.size() &&
        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      result += static_cast<char>(byte);
      at += 2;
    } else {
      result += name[at];
    }
  }
  return result;
}

/// Looked at before it is opened for writing: whatever else lies there, a source perhaps, must not
/// be.
std::shared_ptr<const HostFile> open_for_looking(const std::string& path, const Source& source) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
    throw Error(Fault::denied, path + " is a symbolic link, and an overlay is not followed")
        .advice("name the directory that the overlay lies in");
  }
  auto file = HostFile::open(path);
  if (file->is_block_device() || (file->device_number() == source.file->device_number() &&
                                  file->inode() == source.file->inode())) {
    throw Error(Fault::usage,
                path + " cannot be the overlay: it is " +
                    (file->is_block_device() ? "a block device" : "the source itself"))
        .advice("take a directory for overlays in which no sources lie");
  }
  return file;
}

std::optional<Fingerprint> stored_fingerprint(const BlockDevice& image) {
  const auto text = qcow2::read_extension(image, fingerprint_extension);
  if (!text) return std::nullopt;
  return decode_fingerprint(*text);
}

Error not_ours(const std::string& path, const std::string& found) {
  return Error(Fault::usage, path + " is no overlay that peelfs has made")
      .found(found)
      .advice("take another directory, or move that file away");
}

Fingerprint required_fingerprint(const BlockDevice& image, const std::string& path) {
  try {
    if (auto stored = stored_fingerprint(image)) return *std::move(stored);
  } catch (const Error& error) {
    if (error.fault() == Fault::io) throw;
    throw not_ours(path, error.what());
  }
  throw not_ours(path, "a qcow2 image without peelfs' note of its source");
}

/// The source as it is now, looked at where the overlay remembers it.
Fingerprint fingerprint_now(const Source& source, const Base& base, const Fingerprint& stored) {
  Fingerprint current = take_fingerprint(source, *base.disk, base.format);
  for (const Sample& sample : stored.tables) {
    const std::uint64_t size = base.disk->size();
    if (sample.offset > size || sample.length > size - sample.offset) continue;  // another size
    current.tables.push_back(take_sample(*base.disk, sample.offset, sample.length));
  }
  return current;
}

/// @return a remark
std::string check_source(const std::string& path, const Source& source, const Base& base,
                         const Fingerprint& stored, Fingerprint& current, bool accept) {
  current = fingerprint_now(source, base, stored);
  const Difference difference = compare(stored, current);
  if (difference.what.empty()) {
    if (stored.path == current.path) return "";
    return "overlay " + path + " was made when its source was " + printable(stored.path) +
           "; before qemu uses it: " +
           shell_line({"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", base.format, "-b",
                       current.path, path});
  }
  if (difference.certain) {
    throw Error(Fault::denied, "overlay " + path + " does not belong to " + source.path)
        .found(difference.what)
        .advice(
            "what it holds lies over other bytes than these: drop it (peelfs drop), or bring "
            "the old source back")
        .with_errno(ESTALE);
  }
  if (!accept) {
    throw Error(Fault::denied, "overlay " + path + " may not belong to " + source.path)
        .found(difference.what)
        .advice("if you know that its contents are what they were, say --accept-source")
        .with_errno(ESTALE);
  }
  return "overlay " + path + ": accepted as asked, although " + difference.what;
}

/// Whether a stored sample lies where the overlay holds nothing.
bool untouched(const OpenedOverlay& overlay, const Sample& sample) {
  for (std::uint64_t done = 0; done < sample.length;) {
    const qcow2::OverlayRun run =
        qcow2::overlay_status(*overlay.disk, sample.offset + done, sample.length - done);
    if (run.status != qcow2::OverlayStatus::unchanged) return false;
    done += run.length;
  }
  return true;
}

/// A source that is half committed is still known by the bytes that the commit leaves alone.
void check_half_committed(const OpenedOverlay& overlay, const Source& source,
                          const Fingerprint& stored) {
  Fingerprint rest = stored;
  const auto touched = [&](const Sample& sample) { return !untouched(overlay, sample); };
  std::erase_if(rest.samples, touched);
  std::erase_if(rest.tables, touched);
  const Difference difference = compare(rest, fingerprint_now(source, overlay.base, rest));
  if (difference.what.empty() || !difference.certain) return;
  throw Error(Fault::denied, "overlay " + overlay.path + " does not belong to " + source.path)
      .found(difference.what)
      .advice("it is half committed into another source: name that one")
      .with_errno(ESTALE);
}

}  // namespace

std::string overlay_path(const std::string& directory, const Source& source) {
  return directory + (directory.ends_with('/') ? "" : "/") + escaped(source.stem) + ".qcow2";
}

bool overlay_exists(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT) return false;
  throw Error::system(errno, "cannot look for the overlay " + path);
}

void create_overlay(const std::string& path, const Source& source, const Base& base) {
  const std::string draft = path + "." + std::to_string(::getpid()) + ".new";
  try {
    const auto file = HostFile::create(draft);
    const DevicePtr bytes = make_file_device(file)->growable();
    qcow2::NewImage image;
    image.size = base.disk->size();
    image.backing_file = absolute_path(source.path);
    image.backing_format = base.format;
    image.extensions.push_back(
        {fingerprint_extension, encode(take_fingerprint(source, *base.disk, base.format))});
    qcow2::create_image(*bytes, image);
    bytes->flush();
    rename_to_new(draft, path);
  } catch (Error& error) {
    ::unlink(draft.c_str());
    error.add_context("cannot make the overlay of " + source.path);
    throw;
  }
}

OpenedOverlay open_overlay(const std::string& path, const Source& source, Base base, Mode mode,
                           bool accept_source) {
  OpenedOverlay result;
  result.path = path;
  result.base = std::move(base);
  result.file = open_for_looking(path, source);
  const Fingerprint stored = required_fingerprint(*make_file_device(result.file), path);
  if (mode != Mode::read) {
    const ino_t inode = result.file->inode();
    result.file = HostFile::open(path, HostFile::Access::read_write);
    if (result.file->inode() != inode) {
      throw Error(Fault::denied, path + " was replaced while it was opened").with_errno(EAGAIN);
    }
  }
  lock_image(*result.file, mode == Mode::read ? ImageUse::relied_on : ImageUse::written);
  result.image = make_file_device(result.file);

  // Asked under the lock: a commit may have begun since.
  result.committing = is_committing(*result.image);
  if (result.committing && mode != Mode::commit) {
    throw Error(Fault::denied, "overlay " + path + " is being committed")
        .found("a commit that was interrupted: its source is neither old nor new")
        .advice("finish it with: " + commit_command({path}, {source_argument(source)}))
        .with_errno(EBUSY);
  }
  if (result.committing) {
    if (stored.size != result.base.disk->size() || stored.format != result.base.format) {
      throw Error(Fault::denied, "overlay " + path + " does not belong to " + source.path)
          .found(result.base.format + ", " + std::to_string(result.base.disk->size()) + " bytes")
          .expected(stored.format + ", " + std::to_string(stored.size) + " bytes")
          .with_errno(ESTALE);
    }
  } else {
    Fingerprint current;
    result.remark = check_source(path, source, result.base, stored, current, accept_source);
    const bool accepted = !compare(stored, current).what.empty();
    if (accepted && mode == Mode::write) {
      qcow2::write_extension(*result.image, {fingerprint_extension, encode(current)});
    }
  }
  result.disk = qcow2::open_overlay(result.image, result.base.disk, path);
  if (result.disk->size() < result.base.disk->size()) {
    throw Error(Fault::damaged, "overlay " + path + " is smaller than its source")
        .found(std::to_string(result.disk->size()) + " bytes")
        .expected(std::to_string(result.base.disk->size()));
  }
  if (result.committing) check_half_committed(result, source, stored);
  result.device = std::make_shared<ExactDisk>(result.disk, *result.base.disk,
                                              printable(source.path) + " with overlay " + path);
  return result;
}

void remember(const OpenedOverlay& overlay, const std::vector<ByteRange>& places) {
  auto stored = stored_fingerprint(*overlay.image);
  if (!stored) return;
  const std::size_t known = stored->tables.size();
  for (const ByteRange& place : not_yet_sampled(places, *stored)) {
    try {
      stored->tables.push_back(take_sample(*overlay.base.disk, place.offset, place.length));
    } catch (const Error&) {
      continue;  // what cannot be read now tells nothing later
    }
  }
  if (stored->tables.size() != known) {
    qcow2::write_extension(*overlay.image, {fingerprint_extension, encode(*stored)});
  }
}

void mark_committing(const OpenedOverlay& overlay) {
  if (is_committing(*overlay.image)) return;
  const Bytes word = as_bytes(committing_word);
  qcow2::write_extension(*overlay.image, {state_extension, {word.begin(), word.end()}});
}

std::string source_argument(const Source& source) {
  const std::string file_name = std::filesystem::path(source.path).filename().string();
  const bool named = source.stem != strip_image_suffix(file_name);
  const std::string before = (named ? source.stem + "=" : "") + (source.raw ? "raw:" : "");
  return before + (before.empty() && source.path.starts_with('-') ? "./" : "") + source.path;
}

std::string commit_command(const std::vector<std::string>& paths,
                           const std::vector<std::string>& words) {
  const std::string directory = std::filesystem::path(paths.front()).parent_path().string();
  std::vector<std::string> line{"peelfs", "commit", "--overlay",
                                directory.empty() ? "." : directory};
  line.insert(line.end(), words.begin(), words.end());
  return shell_line(line);
}

std::string argument_for(const std::string& path) {
  const Fingerprint stored = required_fingerprint(*make_file_device(HostFile::open(path)), path);
  Source source;
  source.path = stored.path;
  source.stem = unescaped(std::filesystem::path(path).stem().string());
  // What was covered as raw bytes must be again, even if it looks like an image.
  source.raw = stored.format == "raw" && has_image_suffix(stored.path) &&
               !stored.path.ends_with(".img") && !stored.path.ends_with(".raw");
  return source_argument(source);
}

std::string source_of(const BlockDevice& image) {
  try {
    const auto stored = stored_fingerprint(image);
    return stored ? stored->path : "";
  } catch (const Error&) {
    return "";
  }
}

bool is_overlay(const std::string& path) {
  try {
    return stored_fingerprint(*make_file_device(HostFile::open(path))).has_value();
  } catch (const Error&) {
    return false;
  }
}

bool is_committing(const BlockDevice& image) {
  const auto state = qcow2::read_extension(image, state_extension);
  return state && as_text(*state) == committing_word;
}

}  // namespace peelfs::overlay
