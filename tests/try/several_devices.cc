#include "try/several_devices.h"

#include "support/support.h"

namespace peelfs::test {
namespace {

const std::string kTools = "export PATH=$PATH:/usr/sbin:/sbin; set -e; ";

}  // namespace

std::string make_broken_btrfs(const std::string& one, const std::string& two) {
  const CommandResult made = run(kTools + "truncate -s 130M " + one + " " + two +
                                 "; mkfs.btrfs -q -d raid1 -m raid1 " + one + " " + two);
  if (made.exit_code != 0) return made.output;
  must_run("head -c 4096 /dev/urandom | dd of=" + one +
           " bs=4096 seek=16 conv=notrunc status=none");
  return "";
}

// mke2fs takes block devices only as journals, so that the two are introduced to each other by
// hand: the filesystem gets the journal's UUID, the journal the filesystem's, as its only user.
void make_ext4_with_journal(const std::string& filesystem, const std::string& journal,
                            const std::string& scratch) {
  must_run(kTools + "mkdir -p " + scratch + "; cd " + scratch + "; fs=" + filesystem +
           "; j=" + journal + R"sh(
truncate -s 8M $j; truncate -s 32M $fs
mke2fs -q -F -b 1024 -O journal_dev,^metadata_csum $j
mke2fs -q -F -b 1024 -t ext4 -O ^has_journal,^metadata_csum $fs
uuid() { dumpe2fs -h $1 2>/dev/null | sed -n 's/Filesystem UUID: *//p'; }
debugfs -w -R 'feature has_journal' $fs >/dev/null 2>&1
debugfs -w -R "ssv journal_uuid $(uuid $j)" $fs >/dev/null 2>&1
printf '\000\000\000\001' | dd of=$j bs=1 seek=2112 conv=notrunc status=none
uuid $fs | python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read().replace("-", "")))' |
  dd of=$j bs=1 seek=2304 conv=notrunc status=none
for i in $(seq 50); do echo "file $i" >f$i; echo "write f$i f$i"; done >commands
cp $fs new
debugfs -w -f commands new >/dev/null 2>&1
cmp -l $fs new | awk '{ print int(($1 - 1) / 1024) }' | uniq >blocks
while read block; do dd if=new bs=1024 skip=$block count=1 status=none; done <blocks >data
printf 'jo -f %s\njw -b %s data\njc\n' $j $(paste -sd, blocks) >commands
debugfs -w -f commands $fs >/dev/null 2>&1
)sh");
}

int files_in_ext4(const std::string& image) {
  int right = 0;
  for (int i = 1; i <= 50; ++i) {
    const std::string number = std::to_string(i);
    const std::string text =
        run("PATH=$PATH:/usr/sbin:/sbin debugfs -R 'cat f" + number + "' " + image + " 2>/dev/null")
            .output;
    right += text == "file " + number + "\n" ? 1 : 0;
  }
  return right;
}

}  // namespace peelfs::test
