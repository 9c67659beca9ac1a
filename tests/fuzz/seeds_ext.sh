#!/bin/sh
# Makes the seeds in corpus/ext: filesystems of 64 KiB that have a file of each sort.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir -p "$tree/dir" "$here/corpus/ext"
for i in 0 1 2 3 4 5; do
  head -c 1000 /dev/zero | tr '\0' "$i" |
    dd of="$tree/dir/a.img" bs=1 seek=$((i * 6144)) conv=notrunc status=none
done
truncate -s 70000 "$tree/dir/a.img"
printf 'QFI\373%050d' 0 > "$tree/base"
printf end | dd of="$tree/b.img" bs=1024 seek=300 status=none
printf tiny > "$tree/tiny"
ln -s dir/a.img "$tree/link"
ln -s loop "$tree/dir/loop"

seed() {
  name=$1
  shift
  truncate -s 64K "$work/image"
  /sbin/mke2fs -q -F -b 1024 -N 24 -d "$tree" "$@" "$work/image" 64
  /sbin/e2fsck -fn "$work/image" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  mv "$work/image" "$here/corpus/ext/$name"
}
seed ext2 -t ext2
seed ext4 -t ext4 -O '^has_journal,^resize_inode,^metadata_csum'
seed ext4-csum -t ext4 -O '^has_journal,^resize_inode'
seed ext4-inline -t ext4 -O '^has_journal,^resize_inode,inline_data' -I 256
seed ext4-metabg -t ext4 -O '^has_journal,^resize_inode,meta_bg,^metadata_csum'
