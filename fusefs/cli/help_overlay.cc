#include "cli/help.h"

namespace peelfs::cli {
namespace {

constexpr const char* kDiff =
    R"(peelfs diff --overlay DIR [--json] SOURCE... [NAME]
peelfs diff --overlay DIR --hexdump OFFSET[,LENGTH] SOURCE... NAME

Shows what the overlays in DIR change, device by device, in sectors of 512 bytes that
differ (what was written with the bytes it had is no change), and whether only zeroes
were written. For ext2/3/4 and btrfs it says what the changed blocks are: superblock,
inode table, journal, "file /etc/fstab", which tree. What lies behind the end of a device
that was resized counts as zero there. Partitions and logical volumes that are new, gone,
of another size or lie elsewhere have a line that says so. Warns when an overlay that was
written together with these is left out. What is encrypted with a key that was changed
(cryptsetup luksChangeKey) needs the old and the new one: give both.

  -J, --json              every range, for programs
  -v, --verbose           every range and every name, for people
  --timeout SECONDS       give up when a source does not answer so long while it is opened (60)
  --hexdump OFFSET[,LENGTH]  the bytes there before (-) and after (+); 512 of them, or
                          LENGTH, in bytes (64K, 1M ... as well)

Exit status: 0 compared, changed or not (of what is locked the encrypted bytes are
compared); 1 something cannot be read, or opens with another key only, and so cannot be
compared; 2 nothing compared.

Examples:
  peelfs diff --overlay changes disk.qcow2
  peelfs diff --overlay changes disk.qcow2 diskp1 --hexdump 1024,64
)";

constexpr const char* kCommit =
    R"(peelfs commit --overlay DIR [OPTION...] SOURCE...

Brings what the overlays in DIR hold into their sources, reads it back from the disk and
compares it, and removes the overlays. Nothing else of a source is touched. It needs no
keys: what is encrypted stays as it is.

Refused, with nothing written: a source that is not what it was when its overlay was
made; sources and overlays that are mounted or that a guest has open; a part of the
sources that were written together in one mount (the legs of a mirror, the disks of a
volume group), unless the others' overlays hold nothing: name them all; an overlay that
was resized ('qemu-img resize'), whose source would lose what is behind its end; an
overlay with checkpoints or a guest's saved states in it, which would be lost.

If it is stopped, by a kill or a power cut, the overlay is still there and says so: a
mount refuses it, because its source is neither old nor new. The same command again
finishes it.

  --accept-part           commit these although what was written together with them is
                          left out; what lies across them may be torn
  --drop-snapshots        internal snapshots (checkpoints, the saved state of a running
                          machine) go with the overlay
  --grow                  make a source as large as its overlay was made: a file, raw or
                          qcow2; a block device must have been made larger before
  --accept-source         what was named may be a copy of the overlay's source, or have
                          another time of last change
  --accept-shared         DIR or an overlay may belong to others or be writable for them
  --allow-reference PATH  a data file that an image names may be written
  -v, --verbose; -q, --quiet (no progress, no report)

Exit status: 0 all committed; 2 not: either nothing was written, or the message says
that the commit has to be finished.

Example:
  peelfs umount /mnt/p && peelfs commit --overlay changes disk.qcow2
)";

constexpr const char* kDrop =
    R"(peelfs drop --overlay DIR [--accept-part] [--half-committed] [SOURCE...]

Removes the overlays of the sources, or all that are in DIR, with everything that was
written to them. The sources stay as they are, since they were never written. Refused
while one is mounted, or half committed, and a part of what was written together in one
mount, as with commit.

  --accept-part           drop these all the same
  --half-committed        also one whose commit was interrupted: its source stays as it
                          is, neither old nor new
  --accept-shared         DIR or an overlay may belong to others or be writable for them

Exit status: 0 removed; 2 not.
)";

constexpr const char* kCheckpoint = R"(peelfs checkpoint --overlay DIR NAME
peelfs checkpoint --overlay DIR --list

Keeps the present state of all overlays in DIR under NAME, for 'peelfs revert'. It is an
internal snapshot of each qcow2 image ('qemu-img snapshot -l' shows it). They must not
be mounted.

  --list                  the checkpoints there are, oldest first of each overlay
  --accept-shared         DIR or an overlay may belong to others or be writable for them

Exit status: 0 done; 2 not, and then no overlay has a new checkpoint; where there was no
space for it, none has changed at all.

Example:
  peelfs checkpoint --overlay changes before-repair
)";

constexpr const char* kRevert = R"(peelfs revert --overlay DIR [--accept-part] NAME

Makes all overlays in DIR what they were at the checkpoint NAME. What was written since
is lost; the checkpoint stays. They must not be mounted. Refused when one that was
written together with them is not in DIR any more.

  --accept-part           revert these all the same
  --accept-shared         DIR or an overlay may belong to others or be writable for them

Exit status: 0 done; 2 not (the message says which overlays are reverted, if any).
)";

constexpr const char* kTry =
    R"(peelfs try [--commit | --drop | --keep DIR] [--ok CODES] SOURCE... NAME -- COMMAND... {} ...

Runs COMMAND on the device NAME, with the device's path in the place of {}. What it
writes goes into an overlay; the sources are only read. Then shows what has changed, and
asks: commit it into the sources, drop it, or keep it; the word or its first letter
answers. Committing is only offered, and only done, if the command ended with 0, or an
fsck with 1 ("errors corrected"), also behind nice, timeout, env and their like.

  --commit, --drop        do not ask
  --keep DIR              do not ask: the overlay is, and stays, in DIR
  --ok CODES              other exit codes that are good: 1,4 or 0-3
Without a terminal to ask on it is kept, and where is said ($TMPDIR or /var/tmp). It is
kept there, too, when peelfs is killed, and the mount ends.

COMMAND runs in namespaces of its own: it sees no block device of the host, cannot write
the sources, inherits only standard input, output and error, and what it leaves running
ends with it. Its tools find the devices of the mount by UUID, the members of a btrfs and
external journals too: name the sources of all of them. Where the kernel grants no
namespaces, a filesystem that may lie on several devices is refused.

Exit status: that of COMMAND (128 + signal); 125 peelfs failed, 126 COMMAND cannot be run,
127 there is no such COMMAND. Messages and the changes go to standard error.

Examples:
  peelfs try damaged.img lvg1-data -- btrfs check --repair {}
  peelfs try --commit disk.qcow2 diskp1 -- e2fsck -fy {}
)";

}  // namespace

const char* overlay_help(Verb verb) {
  switch (verb) {
    case Verb::diff:
      return kDiff;
    case Verb::commit:
      return kCommit;
    case Verb::drop:
      return kDrop;
    case Verb::checkpoint:
      return kCheckpoint;
    case Verb::revert:
      return kRevert;
    default:
      return kTry;
  }
}

}  // namespace peelfs::cli
