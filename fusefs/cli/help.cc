#include "cli/help.h"

namespace peelfs::cli {
namespace {

constexpr const char* kProgram =
    R"(peelfs shows every layer of disk images as flat device files: partitions, LVM
volumes, LUKS plaintext, qcow2 disks and snapshots, and image files inside of
filesystems, nested as deep as they come. No root, no kernel devices.

  peelfs ls SOURCE...                   show what is inside, as a tree
  peelfs [mount] SOURCE... MOUNTPOINT   make every device in it a file below MOUNTPOINT
  peelfs umount MOUNTPOINT              end that, once everything is released
  peelfs unlock MOUNTPOINT [NAME]       open an encrypted device of a mount
  peelfs cat SOURCE... NAME             the bytes of one device on standard output
  peelfs export SOURCE... NAME FILE     one device into a (sparse) file
  peelfs map SOURCE... NAME             where each byte of a device lives

Trying changes, which go into an overlay in DIR while the sources stay as they are:
  peelfs try SOURCE... NAME -- fsck {}  run a command on a device, look, then decide
  peelfs --overlay DIR SOURCE... MOUNTPOINT   a mount that can be written
  peelfs diff --overlay DIR SOURCE...   what would change
  peelfs commit --overlay DIR SOURCE... bring it into the sources
  peelfs drop --overlay DIR             forget it
  peelfs checkpoint, peelfs revert      a state of it to come back to

SOURCE is a disk image, a block device, or a directory of images. NAME=PATH names it,
raw:PATH takes its bytes as they are. Name all disks of a volume group together.
Nothing is written to a source but by 'commit', 'try' when told so, and mount --rw.

Begin with:
  peelfs ls disk.qcow2                  what is in it?
  mkdir /tmp/p && peelfs disk.qcow2 /tmp/p
  fsck.ext4 -fn /tmp/p/diskp1           run any tool on a partition
  peelfs umount /tmp/p

More: peelfs VERB --help, man peelfs. -v says more, -q less, --version which one it is.
)";

constexpr const char* kSourceOptions = R"(
Sources and keys:
  --key-file PATH         try this file's bytes on every locked device ("-": standard
                          input); a newline at its end counts, as with cryptsetup
  --key NAME=file:PATH    a key for one device, by its name or UUID; also NAME=fd:NUMBER
                          and NAME=env:VARIABLE. Without NAME=, tried on every device
  --header NAME=PATH      the detached LUKS header of a device
  --allow-reference PATH  a file (or a directory of them) that images may name as backing
                          or data file, besides images below their own directory; a data
                          file is written only if it is named so, or as a source
  --depth N               how many image files within one another to open (3)
  --no-search             do not look for image files in filesystems: --depth 0
  --no-prompt             never ask for a passphrase
  --overlay DIR           look through the overlays in DIR (mount: write into them)
  --accept-source         as for mount: the overlay's source is what it was, I know
  --accept-shared         the directory of overlays, or an overlay, may belong to others
                          or be writable for them, I know
  --kdf-memory SIZE       memory that a LUKS header may ask for (4G, at most half of the RAM)
  --kdf-iterations N      iterations that one may ask for (100000000)
  --kdf-seconds N         time that trying keys may take in all (600)
  --run-files N           files that are looked at for images in all (2000000)
  --identify-bytes SIZE   bytes read in all to find out what devices are (32G)
  -v, --verbose           say more
  -q, --quiet             no warnings
What is still locked, and on the way to what was asked for, is asked for on the terminal,
if standard input is one: three times each; an empty line leaves it locked.
)";

constexpr const char* kMount =
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
    key-file=PATH, key=..., header=..., allow-reference=..., depth=N, no-search,
    no-prompt, kdf-memory=..., kdf-iterations=..., kdf-seconds=..., run-files=...,
    identify-bytes=...      as the options of those names below
)";

constexpr const char* kMountRest = R"(
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

constexpr const char* kLs = R"(peelfs ls [-b] [--json] SOURCE...

Shows the devices inside as a tree: NAME TYPE SIZE FSTYPE LABEL UUID, and in STATE why a
branch ends: locked, damaged, missing, degraded, unsupported, denied, io, or a note.
A device on several others stands below each; what is in it is shown once. Backing and
data files of an image have a line below it. What a directory holds besides disk images
is counted (-v: named): links in it are not followed.

  -b, --bytes             sizes in bytes
  --timeout SECONDS       give up when a source leaves a question unanswered so long (60)
  -J, --json              JSON in the shape of lsblk -J, for programs
)";

constexpr const char* kLsRest = R"(
Exit status: 0 all shown; 1 shown, but a source could not be opened, or a device is
damaged, degraded, missing or unreadable (locked and unsupported ones are no failure);
2 nothing shown.

Examples:
  peelfs ls disk.img
  peelfs ls --json /dev/sdb /dev/sdc | jq '.blockdevices[].children'
)";

constexpr const char* kCat = R"(peelfs cat [--offset N] [--length N] SOURCE... NAME

Writes the bytes of the device NAME to standard output. NAME is one of `peelfs ls`,
UUID=..., LABEL=..., PARTUUID=..., PARTLABEL=..., or a path below by-path.

  --offset N, --length N  a part of it only, in bytes (64K, 1M, 2G ... as well)
  --force                 even if standard output is a terminal
  --timeout SECONDS       give up when a source leaves a read unanswered so long (60)
)";

constexpr const char* kCatRest = R"(
Exit status: 0 all written; 1 it ends early, at a byte that cannot be read (see export,
which goes on behind it); 2 nothing written.

Examples:
  peelfs cat disk.qcow2 diskp1 | sha256sum
  peelfs cat --length 1M disk.img LABEL=root | file -
)";

constexpr const char* kExport = R"(peelfs export [options] SOURCE... NAME FILE

Copies the device NAME into FILE ("-": standard output). What is not stored anywhere
becomes a hole. What cannot be read becomes zeroes, down to single sectors, and is
listed with its offset. The copy is on the disk when peelfs returns.

  --force                 overwrite FILE (never one of the sources)
  --sparse auto           holes where nothing is stored; always: also for blocks of
                          zeroes; never: no holes
  --map-file MAP          record what is copied and what is bad, as GNU ddrescue does
  --resume                go on from MAP: copy what is missing, try bad places again
  --stop-on-error         end at the first byte that cannot be read
  --timeout SECONDS       give up when a source does not answer so long while it is opened
                          (60); copying takes as long as a failing disk needs
)";

constexpr const char* kExportRest = R"(
Exit status: 0 every byte copied; 1 copied with bad places, or not to the end;
2 nothing copied. Ctrl-C leaves FILE incomplete, and says so.

Examples:
  peelfs export vm.qcow2 vmp2 root.img
  peelfs export --map-file m /dev/sdb vg0-home home.img    # and again with --resume
)";

constexpr const char* kMap = R"(peelfs map [--json] SOURCE... NAME

Lists where every byte of the device NAME lives: in which file and at which offset
(data; hole where that file stores nothing), nowhere (zero), or computed (decrypted,
uncompressed). Exactly, through all layers.

  --timeout SECONDS       give up when a source leaves a question unanswered so long (60)
  -J, --json              JSON with the keys of qemu-img map
)";

constexpr const char* kMapRest = R"(
Exit status: 0 all known; 1 some of it lies behind damaged tables; 2 nothing listed.

Example:
  peelfs map disk.qcow2 diskp1
)";

constexpr const char* kUmount = R"(peelfs umount [-l] [--timeout SECONDS] MOUNTPOINT...

Ends a mount, and returns only when its process has released every source.

  -l, --lazy              detach it at once, though files in it are in use or its process
                          hangs; it ends with the last of them
  --timeout SECONDS       how long to wait until all is flushed and released (60)

Exit status: 0 all ended; 1 some; 2 none.
)";

constexpr const char* kUnlock = R"(peelfs unlock [--key-file PATH | --key ...] MOUNTPOINT [NAME]

Opens an encrypted device of a mount; what is inside appears there. NAME is its name,
UUID=..., LABEL=...; without it, each device that is locked. Asks for the passphrase
unless a key is given.

  --key-file PATH         the key is this file's bytes ("-": standard input)
  --key [NAME=]file:PATH  the same; also fd:NUMBER and env:VARIABLE
  --no-prompt             never ask
  -q, --quiet             say nothing when nothing is locked

Exit status: 0 all open; 1 some; 2 none, or NAME is not locked.

Examples:
  peelfs unlock /mnt/p volssd10-kvmos
  pass show kvmos | head -c -1 | peelfs unlock --key-file - /mnt/p volssd10-kvmos
)";

/// @param begin of a line, the last one that begins so
std::string without_line(std::string text, const char* begin) {
  const std::size_t at = text.rfind(begin);
  std::size_t end = text.find('\n', at) + 1;
  while (text.compare(end, 8, "        ") == 0) end = text.find('\n', end) + 1;
  return text.erase(at, end - at);
}

}  // namespace

std::string help_text(Verb verb) {
  const auto with_sources = [](const char* before, const char* after) {
    return std::string(before) + kSourceOptions + after;
  };
  switch (verb) {
    case Verb::mount:
      return without_line(with_sources(kMount, kMountRest), "  --accept-source ");
    case Verb::ls:
      return with_sources(kLs, kLsRest);
    case Verb::cat:
      return with_sources(kCat, kCatRest);
    case Verb::export_:
      return with_sources(kExport, kExportRest);
    case Verb::map:
      return with_sources(kMap, kMapRest);
    case Verb::diff:
      return with_sources(overlay_help(verb), "");
    case Verb::try_:
      // Its overlay is its own.
      return without_line(without_line(with_sources(overlay_help(verb), ""), "  --overlay DIR "),
                          "  --accept-source ");
    case Verb::commit:
    case Verb::drop:
    case Verb::checkpoint:
    case Verb::revert:
      return overlay_help(verb);
    case Verb::umount:
      return kUmount;
    case Verb::unlock:
      return kUnlock;
    default:
      return kProgram;
  }
}

}  // namespace peelfs::cli
