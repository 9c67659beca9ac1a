#include "overlay/overlay.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "host/file_identity.h"
#include "host/folder.h"
#include "host/host_call.h"
#include "host/image_lock.h"
#include "overlay/own_file.h"
#include "overlay/set.h"
#include "overlay/tables.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "peelfs/shell.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {

namespace {

constexpr std::string_view kCommittingWord = "committing";

/// The overlay's disk of an exact size, with the sector that tables count in.
class ExactDisk : public BlockDevice {
 public:
  ExactDisk(DevicePtr disk, std::uint64_t size, std::uint32_t sector_size, std::string description)
      : BlockDevice(size, sector_size),
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

/// Looks at the file before it is opened for writing: if it is no overlay (the source itself, say),
/// it must not be written.
std::shared_ptr<const HostFile> open_for_looking(const std::string& path, const Source& source) {
  auto file = open_overlay_file(path);
  if (file->id() == source.file->id()) {
    throw Error(Fault::usage, path + " cannot be the overlay: it is the source itself")
        .advice("take a directory for overlays in which no sources lie");
  }
  return file;
}

std::optional<Fingerprint> stored_fingerprint(const BlockDevice& image) {
  const auto text = qcow2::read_extension(image, kFingerprintExtension);
  if (!text) return std::nullopt;
  return decode_fingerprint(*text);
}

Error not_ours(const std::string& path, const std::string& found) {
  return Error(Fault::usage, path + " is no overlay that peelfs has made")
      .found(found)
      .advice("take another directory, or move that file away");
}

std::vector<Sample> take_again(const BlockDevice& disk, const std::vector<Sample>& stored) {
  std::vector<Sample> samples;
  const std::uint64_t size = disk.size();
  for (const Sample& sample : stored) {
    if (sample.offset > size || sample.length > size - sample.offset) continue;  // another size
    samples.push_back(take_sample(disk, sample.offset, sample.length));
  }
  return samples;
}

/// The source as it is now, looked at where the overlay remembers it.
Fingerprint fingerprint_now(const Source& source, const Base& base, const Fingerprint& stored) {
  Fingerprint current = describe_source(source, base);
  current.samples = take_again(*base.disk, stored.samples);
  current.tables = take_again(*base.disk, stored.tables);
  return current;
}

/// The size of the overlay's disk as its users see it. The format rounds up to 512 bytes: the bytes
/// between the source's end and there do not count, unless one of them was written.
std::uint64_t exact_size(const BlockDevice& disk, std::uint64_t covered) {
  if (disk.size() != round_up(covered, 512) || disk.size() == covered) return disk.size();
  const Buffer tail = read_bytes(disk, covered, disk.size() - covered);
  const bool zero =
      std::all_of(tail.begin(), tail.end(), [](std::byte one) { return one == std::byte{0}; });
  return zero ? covered : disk.size();
}

/// Whether an overlay holds no changes, so that it fits any source: 'qemu-img commit' leaves it
/// empty. Snapshots belong to the source that they were taken over.
bool is_empty(const std::string& path) {
  return !holds_changes(path) && !has_snapshots(path);
}

/// Whether an overlay holds nothing, and would be made as it is over the source as that is now.
bool goes_on_with(const std::string& path, const Base& base, const Fingerprint& stored,
                  const Fingerprint& current) {
  if (current.format != stored.format || current.path != stored.path || !is_empty(path)) {
    return false;
  }
  const DevicePtr disk =
      qcow2::open_overlay(make_storage_device(open_overlay_file(path)), nullptr, path);
  return disk->size() == round_up(base.disk->size(), 512);
}

/// The reason to refuse a copy of the source that an overlay was made for: the original is still
/// there. Empty: none; the source may have been moved.
std::string still_there(const Source& source, const Fingerprint& stored) {
  if (stored.block_device || source.file->is_block_device()) return "";
  struct stat status {};
  const HostCall call(stored.path);
  if (::stat(stored.path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  if (FileId{false, status.st_dev, status.st_ino} == source.file->id()) return "";
  return "it was made for " + printable(stored.path) + ", which is still there, and " +
         printable(absolute_path(source.path)) + " is another file";
}

/// @return a remark
std::string check_source(const std::string& path, const Source& source, const std::string& format,
                         const Fingerprint& stored, Fingerprint current, bool accept,
                         bool accept_grown) {
  if (accept_grown && current.size > stored.size) current.size = stored.size;
  Difference difference = compare(stored, current);
  if (difference.what.empty()) difference = {still_there(source, stored), false};
  if (difference.what.empty()) {
    if (stored.path == current.path) return "";
    return "overlay " + path + " was made when its source was " + printable(stored.path) +
           "; before qemu uses it: " +
           shell_line(
               {"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", format, "-b", current.path, path});
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
        .advice(
            "if you know that its contents are what they were, and that it is the one that you "
            "mean, say --accept-source")
        .with_errno(ESTALE);
  }
  return "overlay " + path + ": accepted as asked, although " + difference.what;
}

/// One of an older peelfs learns of the files that its source names; the rest stays as it was.
void learn_parts(OpenedOverlay& overlay, const Fingerprint& stored, const Fingerprint& current) {
  Fingerprint more = stored;
  more.parts = current.parts;
  try {
    qcow2::write_extension(*overlay.image, {kFingerprintExtension, encode(more)});
  } catch (const Error& error) {
    if (error.fault() == Fault::io) throw;
    const std::string why =
        "overlay " + overlay.path +
        " has no room for a note of the files that its source names: " + error.what();
    overlay.remark += (overlay.remark.empty() ? "" : "; ") + why;
  }
}

/// Whether a stored sample lies where the overlay holds nothing.
bool untouched(const OpenedOverlay& overlay, const Sample& sample) {
  const std::uint64_t size = overlay.disk->size();
  if (sample.offset > size || sample.length > size - sample.offset) return false;
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
                          const Fingerprint& stored, bool accept) {
  if (const std::string other = accept ? "" : still_there(source, stored); !other.empty()) {
    throw Error(Fault::denied, "overlay " + overlay.path + " may not belong to " + source.path)
        .found(other)
        .advice(
            "it is half committed: name the source that the commit was begun with, or say "
            "--accept-source")
        .with_errno(ESTALE);
  }
  Fingerprint rest = stored;
  const auto touched = [&](const Sample& sample) { return !untouched(overlay, sample); };
  std::erase_if(rest.samples, touched);
  std::erase_if(rest.tables, touched);
  Fingerprint current = fingerprint_now(source, overlay.base, rest);
  current.size = rest.size;  // the commit may have made it larger
  const Difference difference = compare(rest, current);
  if (difference.what.empty() || !difference.certain) return;
  throw Error(Fault::denied, "overlay " + overlay.path + " does not belong to " + source.path)
      .found(difference.what)
      .advice("it is half committed into another source: name that one")
      .with_errno(ESTALE);
}

}  // namespace

Fingerprint required_fingerprint(const BlockDevice& image, const std::string& path) {
  try {
    if (auto stored = stored_fingerprint(image)) return *std::move(stored);
  } catch (const Error& error) {
    if (error.fault() == Fault::io) throw;
    throw not_ours(path, error.what());
  }
  throw not_ours(path, "a qcow2 image without peelfs' note of its source");
}

bool has_grown(const std::string& path) {
  try {
    const DevicePtr image = make_storage_device(open_overlay_file(path));
    const auto stored = stored_fingerprint(*image);
    const DevicePtr disk = qcow2::open_overlay(image, nullptr, path);
    return stored && exact_size(*disk, stored->size) > stored->size;
  } catch (const Error&) {
    return false;
  }
}

bool has_snapshots(const std::string& path) {
  try {
    return !qcow2::list_snapshots(*make_storage_device(open_overlay_file(path))).empty();
  } catch (const Error&) {
    return true;
  }
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
    const DevicePtr bytes = make_storage_device(file)->growable();
    qcow2::NewImage image;
    image.size = base.disk->size();
    image.backing_file = absolute_path(source.path);
    image.backing_format = base.format;
    image.extensions.push_back({kFingerprintExtension, encode(take_fingerprint(source, base))});
    qcow2::create_image(*bytes, image);
    bytes->flush();
    rename_to_new(draft, path);
  } catch (Error& error) {
    ::unlink(draft.c_str());
    error.add_context("cannot make the overlay of " + source.path);
    throw;
  }
}

void set_base(OpenedOverlay& overlay, const Source& source, Base base) {
  overlay.device.reset();
  overlay.disk.reset();
  overlay.base = std::move(base);
  const BlockDevice& covered = *overlay.base.disk;
  overlay.disk = qcow2::open_overlay(overlay.image, overlay.base.disk, overlay.path);
  overlay.device = std::make_shared<ExactDisk>(
      overlay.disk, exact_size(*overlay.disk, overlay.covered), covered.sector_size(),
      printable(source.path) + " with overlay " + overlay.path);
}

OpenedOverlay open_overlay(const std::string& path, const Source& source, Base base, Mode mode,
                           bool accept_source, bool accept_grown) {
  OpenedOverlay result;
  result.path = path;
  result.base = std::move(base);
  result.file = open_for_looking(path, source);
  const Fingerprint stored = required_fingerprint(*make_storage_device(result.file), path);
  if (mode != Mode::read) {
    const FileId seen = result.file->id();
    result.file = open_overlay_file(path, HostFile::Access::read_write);
    if (result.file->id() != seen) {
      throw Error(Fault::denied, path + " was replaced while it was opened").with_errno(EAGAIN);
    }
  }
  lock_image(*result.file, mode == Mode::read ? ImageUse::relied_on : ImageUse::written);
  result.image = make_storage_device(result.file);

  // Asked under the lock: a commit may have begun since.
  result.committing = is_committing(*result.image);
  if (result.committing && mode != Mode::commit) {
    throw Error(Fault::denied, "overlay " + path + " is being committed")
        .found("a commit that was interrupted: its source is neither old nor new")
        .advice("finish it with: " + finish_command({path}, commit_words(source, result.base)))
        .with_errno(EBUSY);
  }
  result.covered = stored.size;
  if (result.committing) {
    // The commit may have made it larger.
    if (stored.size > result.base.disk->size() || stored.format != result.base.format) {
      throw Error(Fault::denied, "overlay " + path + " does not belong to " + source.path)
          .found(result.base.format + ", " + std::to_string(result.base.disk->size()) + " bytes")
          .expected(stored.format + ", " + std::to_string(stored.size) + " bytes or more")
          .with_errno(ESTALE);
    }
  } else {
    Fingerprint current = fingerprint_now(source, result.base, stored);
    const bool accepted =
        !compare(stored, current).what.empty() || !still_there(source, stored).empty();
    if (accepted && goes_on_with(path, result.base, stored, current)) {
      current = take_fingerprint(source, result.base);
      result.covered = current.size;
      result.remark = "overlay " + path + " is empty, and " + printable(source.path) +
                      " has changed since it was made: it covers the source as that is now";
    } else {
      result.remark = check_source(path, source, result.base.format, stored, current, accept_source,
                                   accept_grown);
    }
    if (accepted && mode == Mode::write) {
      qcow2::write_extension(*result.image, {kFingerprintExtension, encode(current)});
    }
    const bool learns = !stored.parts && !result.base.parts.empty();
    if (learns && !accepted && mode == Mode::write) learn_parts(result, stored, current);
  }
  set_base(result, source, std::move(result.base));
  if (result.committing) check_half_committed(result, source, stored, accept_source);
  return result;
}

void remember(const OpenedOverlay& overlay, const std::vector<ByteRange>& places) {
  auto stored = stored_fingerprint(*overlay.image);
  if (!stored) return;
  const std::size_t known = stored->tables.size();
  std::vector<ByteRange> covered = places;
  std::erase_if(covered,
                [&](const ByteRange& place) {  // behind the end of the source
                  return place.offset + place.length > overlay.base.disk->size();
                });
  for (const ByteRange& place : not_yet_sampled(covered, *stored)) {
    try {
      stored->tables.push_back(take_sample(*overlay.base.disk, place.offset, place.length));
    } catch (const Error&) {
      continue;  // a place that cannot be read now cannot be compared later
    }
  }
  if (stored->tables.size() != known) {
    qcow2::write_extension(*overlay.image, {kFingerprintExtension, encode(*stored)});
  }
}

void mark_committing(const OpenedOverlay& overlay) {
  if (is_committing(*overlay.image)) return;
  const Bytes word = as_bytes(kCommittingWord);
  qcow2::write_extension(*overlay.image, {kStateExtension, {word.begin(), word.end()}});
}

std::vector<std::string> commit_words(const Source& source, const Base& base) {
  std::vector<std::string> words;
  for (const Part& part : base.parts) {
    if (part.role == "data-file") words.insert(words.end(), {"--allow-reference", part.name});
  }
  words.push_back(source_argument(source));
  return words;
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
    return stored_fingerprint(*make_storage_device(open_overlay_file(path))).has_value();
  } catch (const Error&) {
    return false;
  }
}

bool is_committing(const BlockDevice& image) {
  const auto state = qcow2::read_extension(image, kStateExtension);
  return state && as_text(*state) == kCommittingWord;
}

}  // namespace peelfs::overlay
