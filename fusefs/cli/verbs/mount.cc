#include "cli/verbs/mount.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "cli/mount_notes.h"
#include "cli/operands.h"
#include "cli/secrets.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/values.h"
#include "host/source.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

constexpr const char* kBefore =
    R"(peelfs [mount] [-f] [--overlay DIR | --overlay-temp | --rw] [-o OPTIONS] SOURCE... MOUNTPOINT

Makes every device inside of the sources a file below the directory MOUNTPOINT, and
returns when it is ready to use. Also there: by-uuid, by-label, by-partuuid,
by-partlabel and by-path, as in /dev/disk, and .peelfs/status.json.

  --overlay DIR           writable, and every write goes to DIR/NAME.qcow2, one for each
                          source: qcow2 images with the source as backing file, which
                          qemu-img and virtual machines understand. The sources are only
                          read. A later mount with the same DIR goes on
  --overlay-temp          the same, thrown away at unmount
  --accept-source         the overlay belongs to this source although its time of last
                          change (or its path, of a block device) is another
  --rw                    writable in place: every write goes into the sources. Without
                          one of these everything is read-only. Devices whose contents
                          are shown as devices of their own are read-only all the same:
                          write those, or see writable=NAME
  --timeout SECONDS       leave a source out that does not answer so long (60)
  -f, --foreground        stay in the foreground, messages on standard error
  -o, --options OPTIONS   with commas between them (\, is a comma within one):
    writable=NAME           the device NAME, too, although what is in it is shown (an LVM
                            or LUKS member, an image file); may be given again
    rw, in-place            as --rw; fstab needs in-place: mount(8) adds rw to anything
    ro                      read-only, whatever else is said; shows an overlay as it is
    overlay=DIR, overlay-temp, accept-source, accept-shared   as above
    allow_other             other users may read it, too
    threads=N               that serve one source, at most (twice the processors, at least 16)
    log-file=PATH           messages go there, not to syslog
    debug                   log every request
    no-auto-unmount         leave the mount point occupied if peelfs is killed
    fsname=TEXT             the first column of mount(8); otherwise the sources
    max_read=N              bytes in one request of the kernel
    nodev, nosuid, noexec, noatime, ... as for mount(8)
    key-file=PATH, key=..., volume-key=..., header=..., as=..., allow-reference=...,
    depth=N, no-search, no-prompt, kdf-memory=..., kdf-iterations=..., kdf-seconds=...,
    run-files=..., identify-bytes=...   as the options of those names below
)";
constexpr const char* kAfter = R"(
In /etc/fstab, with | between sources:
  /srv/a.img|/srv/b.img  /mnt/p  fuse.peelfs  noauto,user,key-file=/etc/keys/a  0  0

Exit status, as mount(8): 0 mounted; 1 wrong usage or not permitted; 2 out of
resources; 32 nothing mounted; 64 mounted, but a source could not be opened.

Examples:
  peelfs /dev/vg0/guest os43.qcow2 /mnt/p
  peelfs old=/dev/sdb raw:dump.bin /mnt/p
  peelfs -o key-file=/etc/keys/kvmos /dev/vg0/kvmos /mnt/p
  peelfs --overlay changes disk.qcow2 /mnt/p && fsck.ext4 -f /mnt/p/diskp1
)";
// --accept-source is told among the mount's own options.
constexpr std::array<const char*, 6> kHelp{kBefore,           kSourceHelp, kOverlayHelp,
                                           kAcceptSharedHelp, kLimitHelp,  kAfter};

void bind(Parser& parser, MountVerbOptions& options) {
  bind_look(parser, options);
  parser.flag("-f,--foreground", options.mount.foreground);
  parser.flag("--rw", options.in_place);
  parser.flag("--overlay-temp", options.overlay_temp);
  parser.option("-o,--options",
                [&options](const std::string& text) { set_mount_options(options, text, false); });
}

void take(MountVerbOptions& options, std::vector<std::string> operands) {
  if (operands.size() == 1) {
    throw usage("only one operand, '" + printable(operands[0]) + "'")
        .expected("SOURCE... and, last, the directory to mount on")
        .advice("to look inside without mounting: " + shell_line({"peelfs", "ls", operands[0]}));
  }
  options.mount.mountpoint = take_last(operands, "the directory to mount on");
  take_sources(options.from.sources, std::move(operands), "the directory to mount on");
}

/// Two ways of writing at once, or writing and not writing, are a mistake to be told before
/// anything is opened.
void check(const MountVerbOptions& options) {
  if (options.in_place && options.has_overlay()) {
    throw usage("'rw' and an overlay exclude each other")
        .advice("'rw' writes into the sources, an overlay keeps them as they are");
  }
  if (options.overlay_temp && !options.cover.directory.empty()) {
    throw usage("--overlay DIR and --overlay-temp exclude each other")
        .advice("the one stays, the other is thrown away at unmount");
  }
  if (options.read_only && (options.in_place || options.overlay_temp)) {
    throw usage("'ro' and writing exclude each other")
        .found(options.in_place ? "ro and rw" : "ro and overlay-temp");
  }
}

void check_mountpoint(const MountVerbOptions& options) {
  const std::string& path = options.mount.mountpoint;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int problem = errno;
    Error error = Error::system(problem, "cannot mount on " + path);
    if (problem == ENOTCONN) {
      throw std::move(error).advice("a dead mount is left there; end it with: " +
                                    shell_line({"fusermount3", "-u", path}));
    }
    if (problem == ENOENT) {
      throw std::move(error).advice(
          "the last operand is the directory to mount on; make it with: " +
          shell_line({"mkdir", path}));
    }
    throw error;
  }
  if (!S_ISDIR(status.st_mode)) {
    std::vector<std::string> line{"peelfs", "ls"};
    line.insert(line.end(), options.from.sources.begin(), options.from.sources.end());
    line.push_back(path);
    throw Error(Fault::usage, path + " is not a directory, so nothing can be mounted on it")
        .expected("SOURCE... and, last, the directory to mount on")
        .advice("to look inside without mounting: " + shell_line(line));
  }
}

/// What is in the directory is hidden as long as the mount is over it: that may be a slip.
void warn_of_contents(const MountVerbOptions& options) {
  const std::string& path = options.mount.mountpoint;
  std::error_code failure;
  if (options.quiet || std::filesystem::is_empty(path, failure) || failure) return;
  warn(printable(path) + " is not empty: what is in it is hidden until " +
       shell_line({"peelfs", "umount", path}));
}

/// A mount writes into its overlays, and makes them.
overlay::Request overlay_request(const MountVerbOptions& options) {
  overlay::Request request = look_through(options.cover);
  if (!request.directory.empty() && !options.read_only) {
    request.kind = overlay::Request::Kind::persistent;
  }
  if (options.overlay_temp) request.kind = overlay::Request::Kind::temporary;
  return request;
}

std::shared_ptr<Peeling> open_for_mount(const MountVerbOptions& options) {
  Opening opening = opening_of(options);
  opening.overlay = overlay_request(options);
  opening.writable = options.in_place;
  opening.patience->code = mount_exit::kFailed;
  std::shared_ptr<Peeling> peeling;
  try {
    peeling = open_session(opening);
  } catch (const Error& error) {
    // An overlay of something else is no wrong usage: mount(8)'s code for a failure.
    if (error.error_number() != ESTALE) throw;
    throw Error(Fault::io, error.what()).with_errno(ESTALE);
  }
  note_for_mount(options, *peeling);
  return peeling;
}

int run(const MountVerbOptions& options) {
  for (const std::string& source : options.from.sources) parse_source(source);  // complains early
  check_mountpoint(options);
  if (options.fake) return mount_exit::kOk;
  warn_of_contents(options);
  MountOptions mount = options.mount;
  if (mount.fsname.empty()) mount.fsname = source_text(options.from.sources);
  mount.debug = mount.debug || options.verbose;
  mount.read_only = !options.writes();
  MountVerbOptions inside = options;
  take_from_environment(inside.from.keys.origins);
  return run_mount(mount, [&inside] { return open_for_mount(inside); });
}

}  // namespace

extern const VerbRow kMountVerb{
    .word = "mount",
    .line =
        "  peelfs [mount] SOURCE... MOUNTPOINT   make every device in it a file below MOUNTPOINT\n",
    .help = kHelp,
    .failures = FailureCodes::of_mount,
    .actions = actions_of<MountVerbOptions, bind, take, run, check>(),
};

}  // namespace peelfs::cli
