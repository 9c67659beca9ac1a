// `peelfs export`: one device into a file.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "host/file_identity.h"
#include "host/output_file.h"
#include "peel/copy.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// The file that is written, closed at the end of the scope.
class Output {
 public:
  Output(const Command& command, const std::string& shown_name) {
    target_.name = shown_name;
    if (command.output == "-") {
      target_.fd = STDOUT_FILENO;
      if (::isatty(target_.fd) != 0 && !command.force) {
        throw Error(Fault::usage, "standard output is a terminal, and a device is not text")
            .advice("name a FILE, or insist with --force");
      }
    } else {
      open(command);
    }
    examine(command);
  }
  ~Output() {
    take_back();
    if (target_.fd > STDERR_FILENO) ::close(target_.fd);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  const Target& target() const { return target_; }

  /// From now on it stays, also when the copy fails.
  void keep() { made_.clear(); }

  /// Makes the size right (a hole at the end is not written), and the bytes durable.
  void finish(std::uint64_t size) {
    if (target_.seekable && ::ftruncate(target_.fd, static_cast<off_t>(size)) != 0) fail("extend");
    sync(size);
    const int fd = target_.fd;
    target_.fd = -1;
    // Some filesystems say only now that the bytes did not fit.
    if (fd > STDERR_FILENO && ::close(fd) != 0) fail("close");
  }

  /// What was copied up to `position` is durable then, and the file at least as long: also where
  /// holes at its end were not written.
  void sync(std::uint64_t position) {
    if (!target_.seekable) return;
    if (length() < position && ::ftruncate(target_.fd, static_cast<off_t>(position)) != 0) {
      fail("extend");
    }
    if (::fsync(target_.fd) != 0) fail("flush");
  }

  std::uint64_t length() const {
    struct stat status {};
    if (::fstat(target_.fd, &status) != 0) fail("examine");
    return static_cast<std::uint64_t>(status.st_size);
  }

 private:
  void open(const Command& command) {
    const bool reuse = command.force || command.resume;
    // Never O_TRUNC: it may turn out to be one of the sources.
    const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_CREAT;
    // What lies on a disk, perhaps decrypted, is its owner's business only.
    target_.fd = ::open(command.output.c_str(), flags | O_EXCL, 0600);
    if (target_.fd >= 0) made_ = command.output;
    if (target_.fd < 0 && errno == EEXIST && reuse) {
      target_.fd = ::open(command.output.c_str(), flags, 0600);
    } else if (target_.fd < 0 && errno == EEXIST) {
      struct stat status {};
      // A FIFO or /dev/null has nothing that could be lost.
      if (::stat(command.output.c_str(), &status) == 0 &&
          (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
        target_.fd = ::open(command.output.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
      } else {
        throw Error(Fault::usage, target_.name + " exists already")
            .advice("name another file, or overwrite it with --force");
      }
    }
    if (target_.fd < 0) throw Error::system(errno, "cannot create " + target_.name);
  }

  void examine(const Command& command) {
    try {
      refuse(command);
    } catch (const Error&) {
      take_back();
      throw;
    }
    if (target_.seekable && !command.resume && ::ftruncate(target_.fd, 0) != 0) fail("empty");
  }

  /// Takes away what was made here, if it is still that.
  void take_back() {
    if (!made_.empty() && target_.fd >= 0 && identity_of(made_) == identity_of(target_.fd)) {
      ::unlink(made_.c_str());
    }
    made_.clear();
  }

  void refuse(const Command& command) {
    struct stat status {};
    if (::fstat(target_.fd, &status) != 0) fail("examine");
    if (S_ISBLK(status.st_mode)) {
      throw Error(Fault::usage, target_.name + " is a block device; export writes files only")
          .advice("to overwrite a disk on purpose: peelfs cat SOURCE NAME | dd of=" + target_.name +
                  " bs=4M");
    }
    target_.seekable = S_ISREG(status.st_mode) && target_.fd > STDERR_FILENO;
    if (!target_.seekable && !command.map_file.empty()) {
      throw Error(Fault::usage, "--map-file needs a regular file to copy to");
    }
    refuse_as_output(target_.fd, target_.name);
    if (!command.map_file.empty() && identity_of(command.map_file) == identity_of(target_.fd)) {
      throw Error(Fault::usage,
                  "the map file and the file to copy to are the same: " + target_.name)
          .advice("name another file for --map-file");
    }
  }

  [[noreturn]] void fail(const char* step) const {
    throw Error::system(errno, std::string("cannot ") + step + " " + target_.name);
  }

  Target target_;
  std::string made_;  ///< the path, when the file was made here and is not yet to stay
};

void report_bad(const CopyResult& result, const Command& command) {
  constexpr std::size_t kMostLines = 100;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < result.bad.size(); ++i) {
    const BadPlace& place = result.bad[i];
    bytes += place.length;
    if (i >= kMostLines) continue;
    warn("unreadable: offset " + std::to_string(place.start) + ", " + std::to_string(place.length) +
         " bytes: " + place.reason);
  }
  if (result.bad.size() > kMostLines) {
    warn("... and " + std::to_string(result.bad.size() - kMostLines) +
         " more places; --map-file FILE records them all");
  }
  if (!command.stop_on_error) {
    warn(std::to_string(bytes) + " bytes in " + std::to_string(result.bad.size()) +
         (result.bad.size() == 1 ? " place" : " places") +
         " could not be read; they are zeroes in the copy");
  }
}

/// Keeps the mapfile near to what is on the disk, so that little is lost with the machine.
class MapKeeper {
 public:
  MapKeeper(const Command& command, Output& output, const CopyMap& map)
      : path_(command.map_file), output_(output), map_(map) {}

  void now(std::uint64_t position) {
    output_.sync(position);  // first: the map must not run ahead of the data
    if (!path_.empty()) map_.save(path_, position);
    saved_ = Clock::now();
  }
  void sometimes(std::uint64_t position) {
    if (!path_.empty() && Clock::now() - saved_ > std::chrono::seconds(30)) now(position);
  }

 private:
  using Clock = std::chrono::steady_clock;
  const std::string path_;
  Output& output_;
  const CopyMap& map_;
  Clock::time_point saved_ = Clock::now();
};

std::string how_far(const Command& command, const CopyMap& map, std::uint64_t size) {
  std::string text = printable(command.output) + " is incomplete: it has " +
                     human_size(map.total(CopyMap::State::done)) + " of " + human_size(size);
  if (!command.map_file.empty()) {
    text += "; the same command with --resume goes on from here";
  }
  return text;
}

/// A file that is shorter than what its map says is there has lost something, or is another file.
void check_resumed(const Command& command, const Output& output, const CopyMap& map) {
  std::uint64_t end = 0;
  for (const CopyMap::Range& range : map.ranges()) {
    if (range.state != CopyMap::State::untried) end = range.start + range.length;
  }
  if (output.length() >= end) return;
  throw Error(Fault::usage, printable(command.output) + " is shorter than its map file says")
      .found(std::to_string(output.length()) + " bytes")
      .expected("at least " + std::to_string(end))
      .advice("leave --resume out to begin anew");
}

/// The copy itself, once everything is open. @return an exit code
int copy(const Command& command, const Catalog::Entry& entry, Output& output, CopyMap& map) {
  const BlockDevice& device = *entry.node->device;
  MapKeeper keeper(command, output, map);
  Progress progress(shown(entry.name), device.size(), !command.quiet);
  const Interruptible interruptible;

  CopyOptions options;
  options.sparse = command.sparse;
  options.stop_on_error = command.stop_on_error;
  options.interrupted = [] { return Interruptible::signal() != 0; };
  options.progress = [&](std::uint64_t position, std::uint64_t done) {
    progress.update(done);
    keeper.sometimes(position);
  };
  CopyResult result;
  try {
    result = copy_device(device, output.target(), options, map);
  } catch (const Error& error) {
    progress.clear();
    if (error.error_number() == EPIPE) reader_is_gone();
    warn(error.what());
    warn(how_far(command, map, device.size()));
    keeper.now(0);
    return exit_code::incomplete;
  }
  progress.clear();
  if (!result.bad.empty()) report_bad(result, command);
  if (!result.finished) {
    warn(how_far(command, map, device.size()));
    keeper.now(result.position);
    if (Interruptible::signal() != 0) Interruptible::obey();
    return exit_code::incomplete;
  }
  keeper.now(result.position);
  output.finish(device.size());
  return result.bad.empty() ? exit_code::ok : exit_code::incomplete;
}

}  // namespace

int run_export(const Command& command) {
  const auto peeling = open_session(command);
  report_warnings(command, *peeling);
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, command.name);
  const std::uint64_t size = entry.node->device->size();

  // Before the output is touched: a wrong map file must not cost anything.
  if (!command.map_file.empty()) {
    refuse_as_map_file(command.map_file, command.force || command.resume);
  }
  CopyMap map = command.resume ? CopyMap::load(command.map_file, size) : CopyMap(size);
  if (command.resume && ::access(command.output.c_str(), F_OK) != 0) {
    throw Error(Fault::missing, "--resume: " + printable(command.output) + " is not there any more")
        .advice("leave --resume out to begin anew");
  }
  Output output(command, command.output == "-" ? "standard output" : printable(command.output));
  if (command.resume) check_resumed(command, output, map);
  // Where no map can be written is said now, and not behind hours of copying.
  if (!command.map_file.empty()) map.save(command.map_file, 0);
  output.keep();
  try {
    return code_for(*peeling, copy(command, entry, output, map));
  } catch (const Error& error) {
    warn(error.what());
    return exit_code::incomplete;
  }
}

}  // namespace peelfs::cli
