"""The bytes that images are filled with, and the ways to lay them out in images."""
import array
import os
import random
import struct
import sys

from machine import MIB, data_runs, run

BLOCK = 4096
COPIED = 1 << 63  # of an entry in a qcow2 table: the only reference to its cluster


def fill(path, size, compressible=False):
    """Writes a file that has no two equal blocks; compressible ones go into half of their size."""
    with open(path, "wb") as file:
        for at in range(0, size, MIB):
            if not compressible:
                file.write(os.urandom(MIB))
                continue
            noise = os.urandom(MIB // 2)
            chunk = bytearray()
            for block in range(0, MIB, BLOCK):
                text = struct.pack("<Q", at + block) * (BLOCK // 16)
                chunk += noise[block // 2:(block + BLOCK) // 2] + text
            file.write(chunk)


def copy_range(source, target, length, from_offset=0, to_offset=0):
    """Copies bytes between open files in the kernel."""
    while length > 0:
        done = os.copy_file_range(source.fileno(), target.fileno(), length, from_offset, to_offset)
        if done == 0:
            raise EOFError(f"the file ends {length} bytes early")
        length, from_offset, to_offset = length - done, from_offset + done, to_offset + done


def place_in(path, size, plain, offset):
    """Makes a disk of `size` bytes in which the file `plain` lies at `offset`."""
    with open(path, "wb") as disk, open(plain, "rb") as source:
        disk.truncate(size)
        copy_range(source, disk, os.path.getsize(plain), 0, offset)


def gpt_disk(path, plain):
    """A disk with one GPT partition, at 1 MiB, that holds the file. @return its offset"""
    place_in(path, os.path.getsize(plain) + 2 * MIB, plain, MIB)
    run("sfdisk", "-q", path,
        input=f"label: gpt\nstart=2048, size={os.path.getsize(plain) // 512}, type=L\n")
    return MIB


def mbr_disk(path, plain, kind):
    """As gpt_disk, with an MBR; `kind` is the partition's type."""
    place_in(path, os.path.getsize(plain) + MIB, plain, MIB)
    run("sfdisk", "-q", path, input=f"label: dos\nstart=2048, type={kind}\n")


def qcow2(path, plain, *options):
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, plain, path)


def preallocated(path, plain, options=""):
    """Every cluster lies where it would lie in a raw image, and is filled."""
    size = os.path.getsize(plain)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata" + options, path, size)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", plain, path)


def fragmented(path, plain, cluster=65536):
    """Clusters are allocated in random order, and then filled where they are."""
    size = os.path.getsize(plain)
    run("qemu-img", "create", "-q", "-f", "qcow2", path, size)
    order = list(range(size // cluster))
    random.Random(1).shuffle(order)
    run("qemu-io", "-f", "qcow2", "--cache", "unsafe", path,
        input="".join(f"write -q {number * cluster} {cluster}\n" for number in order))
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", plain, path)


def scattered(path, plain, cluster=65536):
    """As fragmented(), for a sparse file of any size, a power of two: every cluster is allocated, so
    that the tables are as large as they can be, and those that `plain` has no data in are holes of the
    image. Written by hand, because qemu-io would need hours."""
    size = os.path.getsize(plain)
    count, entries = size // cluster, cluster // 8
    tables = -(-count // entries)
    l1_clusters = -(-tables * 8 // cluster)
    blocks = 0
    while (1 + 1 + blocks + l1_clusters + tables + count) * 2 > blocks * cluster:
        blocks += 1
    refcounts = 2
    l1_table = refcounts + blocks
    l2_tables = l1_table + l1_clusters
    first = l2_tables + tables
    if blocks > entries:
        raise ValueError("the refcount table would need more than one cluster")

    def host(number):
        return first + (number * 0x9E3779B1 & count - 1)  # odd: each place once

    with open(path, "wb") as image, open(plain, "rb") as source:
        image.write(struct.pack(">4sIQ2IQ2I2Q2I4Q2I", b"QFI\xfb", 3, 0, 0, cluster.bit_length() - 1, size,
                                0, tables, l1_table * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104))
        image.seek(cluster)
        image.write(struct.pack(f">{blocks}Q", *range(refcounts * cluster, l1_table * cluster, cluster)))
        image.seek(refcounts * cluster)
        image.write(b"\0\1" * (first + count))
        image.seek(l1_table * cluster)
        image.write(struct.pack(f">{tables}Q", *(at * cluster | COPIED
                                                 for at in range(l2_tables, first))))
        image.seek(l2_tables * cluster)
        for begin in range(0, count, entries):
            table = array.array("Q", (host(number) * cluster | COPIED
                                      for number in range(begin, min(begin + entries, count))))
            if sys.byteorder == "little":
                table.byteswap()
            table.tofile(image)
        image.truncate((first + count) * cluster)
        for offset, length in data_runs(source):
            for at in range(offset, offset + length, cluster):
                copy_range(source, image, cluster, at, host(at // cluster) * cluster)


def ends(path, size):
    """A sparse file with data in its first 16 MiB and its last one."""
    with open(path, "wb") as file:
        file.write(os.urandom(16 * MIB))
        file.seek(size - MIB)
        file.write(os.urandom(MIB))


def disks(paths, size):
    """Disks with one partition each, in which an ext4 lies: all the same one."""
    first = paths[0]
    with open(first + ".part", "wb") as part:
        part.truncate(size - MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", first + ".part")
    mbr_disk(first, first + ".part", "83")
    os.remove(first + ".part")
    for path in paths[1:]:
        with open(first, "rb") as source, open(path, "wb") as disk:
            disk.truncate(os.path.getsize(first))
            for offset, length in data_runs(source):
                copy_range(source, disk, length, offset, offset)


def chain(paths, plain, cluster=65536):
    """Images each the backing file of the next; each holds another part, in runs of 1-32 clusters."""
    size = os.path.getsize(plain)
    numbers = random.Random(2)
    below = None
    parts = [[] for _ in paths]
    at = 0
    while at < size:
        length = min(numbers.randint(1, 32) * cluster, size - at)
        numbers.choice(parts).append((at, length))
        at += length
    for path, part in zip(paths, parts):
        sparse = path + ".raw"
        with open(sparse, "wb") as target, open(plain, "rb") as source:
            target.truncate(size)
            for offset, length in part:
                copy_range(source, target, length, offset, offset)
        qcow2(path, sparse)
        os.remove(sparse)
        if below:
            run("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", os.path.basename(below), path)
        below = path


def ext4_with(path, size, folder, label):
    """A filesystem that holds what is in the folder."""
    with open(path, "wb") as file:
        file.truncate(size)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", folder, path)


def tree(folder, total):
    """Files of all sizes, `total` bytes together, most of them small."""
    numbers = random.Random(4)
    left = total
    number = 0
    while left > 0:
        size = min(left, int(2 ** numbers.uniform(8, 22)))
        where = os.path.join(folder, f"{number % 97:02}", f"{number % 31:02}")
        os.makedirs(where, exist_ok=True)
        with open(os.path.join(where, f"file{number}"), "wb") as file:
            file.write(os.urandom(size))
        left -= size
        number += 1
