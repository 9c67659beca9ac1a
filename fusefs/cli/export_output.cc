#include "cli/export_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "host/file_identity.h"
#include "host/output_file.h"
#include "peelfs/error.h"

namespace peelfs::cli {

ExportOutput::ExportOutput(const ExportOptions& options, const std::string& shown_name) {
  target_.name = shown_name;
  if (options.output == "-") {
    target_.fd = STDOUT_FILENO;
    if (::isatty(target_.fd) != 0 && !options.force) {
      throw Error(Fault::usage, "standard output is a terminal, and a device is not text")
          .advice("name a FILE, or insist with --force");
    }
  } else {
    open(options);
  }
  examine(options);
}

ExportOutput::~ExportOutput() {
  take_back();
  if (target_.fd > STDERR_FILENO) ::close(target_.fd);
}

void ExportOutput::finish(std::uint64_t size) {
  if (target_.seekable && ::ftruncate(target_.fd, static_cast<off_t>(size)) != 0) fail("extend");
  sync(size);
  const int fd = target_.fd;
  target_.fd = -1;
  // Some filesystems say only now that the bytes did not fit.
  if (fd > STDERR_FILENO && ::close(fd) != 0) fail("close");
}

void ExportOutput::sync(std::uint64_t position) {
  if (!target_.seekable) return;
  if (length() < position && ::ftruncate(target_.fd, static_cast<off_t>(position)) != 0) {
    fail("extend");
  }
  if (::fsync(target_.fd) != 0) fail("flush");
}

std::uint64_t ExportOutput::length() const {
  struct stat status {};
  if (::fstat(target_.fd, &status) != 0) fail("examine");
  return static_cast<std::uint64_t>(status.st_size);
}

void ExportOutput::open(const ExportOptions& options) {
  const bool reuse = options.force || options.resume;
  // Never O_TRUNC: it may turn out to be one of the sources.
  const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_CREAT;
  // What lies on a disk, perhaps decrypted, is its owner's business only.
  target_.fd = ::open(options.output.c_str(), flags | O_EXCL, 0600);
  if (target_.fd >= 0) made_ = options.output;
  if (target_.fd < 0 && errno == EEXIST && reuse) {
    target_.fd = ::open(options.output.c_str(), flags, 0600);
  } else if (target_.fd < 0 && errno == EEXIST) {
    struct stat status {};
    // A FIFO or /dev/null has nothing that could be lost.
    if (::stat(options.output.c_str(), &status) == 0 &&
        (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
      target_.fd = ::open(options.output.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    } else {
      throw Error(Fault::usage, target_.name + " exists already")
          .advice("name another file, or overwrite it with --force");
    }
  }
  if (target_.fd < 0) throw Error::system(errno, "cannot create " + target_.name);
}

void ExportOutput::examine(const ExportOptions& options) {
  try {
    refuse(options);
  } catch (const Error&) {
    take_back();
    throw;
  }
  if (target_.seekable && !options.resume && ::ftruncate(target_.fd, 0) != 0) fail("empty");
}

void ExportOutput::take_back() {
  if (!made_.empty() && target_.fd >= 0 && identity_of(made_) == identity_of(target_.fd)) {
    ::unlink(made_.c_str());
  }
  made_.clear();
}

void ExportOutput::refuse(const ExportOptions& options) {
  struct stat status {};
  if (::fstat(target_.fd, &status) != 0) fail("examine");
  if (S_ISBLK(status.st_mode)) {
    throw Error(Fault::usage, target_.name + " is a block device; export writes files only")
        .advice("to overwrite a disk on purpose: peelfs cat SOURCE NAME | dd of=" + target_.name +
                " bs=4M");
  }
  target_.seekable = S_ISREG(status.st_mode) && target_.fd > STDERR_FILENO;
  if (!target_.seekable && !options.map_file.empty()) {
    throw Error(Fault::usage, "--map-file needs a regular file to copy to");
  }
  refuse_as_output(target_.fd, target_.name);
  if (!options.map_file.empty() && identity_of(options.map_file) == identity_of(target_.fd)) {
    throw Error(Fault::usage, "the map file and the file to copy to are the same: " + target_.name)
        .advice("name another file for --map-file");
  }
}

void ExportOutput::fail(const char* step) const {
  throw Error::system(errno, std::string("cannot ") + step + " " + target_.name);
}

}  // namespace peelfs::cli
