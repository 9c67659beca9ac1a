"""Volume groups without LVM's tools, which work on kernel devices only. What contrib/make-sample
knows of LVM's checksums and identifiers is taken from there."""
import importlib.machinery
import importlib.util
import os
import struct

import data
from machine import MIB

_path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib/make-sample")
_loader = importlib.machinery.SourceFileLoader("make_sample", _path)
_spec = importlib.util.spec_from_loader("make_sample", _loader)
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

SECTOR = 512
EXTENT = MIB
AREA, AREA_SIZE = 4096, 2 * MIB - 4096
DATA_START = 2 * MIB
STRIPE = 65536


def segment(first, count, stripes):
    """@param stripes: [(name of the physical volume, first extent)]"""
    # In lines, as LVM writes it: libvslvm reads no other.
    listed = ",\n".join(f'"{name}", {start}' for name, start in stripes)
    size = f"stripe_size = {STRIPE // SECTOR}\n" if len(stripes) > 1 else ""
    return (f"segment1 {{\nstart_extent = {first}\nextent_count = {count}\ntype = \"striped\"\n"
            f"stripe_count = {len(stripes)}\n{size}stripes = [\n{listed}\n]\n}}\n")


def metadata(group, sizes, volumes):
    """@param sizes: of the physical volumes pv0, pv1...; @param volumes: [(name, extents, stripes)]"""
    physical = "".join(
        f'pv{number} {{\nid = "{identifier(f"{group} pv{number}")}"\ndevice = "/dev/none"\n'
        f'status = ["ALLOCATABLE"]\nflags = []\ndev_size = {size // SECTOR}\n'
        f'pe_start = {DATA_START // SECTOR}\npe_count = {(size - DATA_START) // EXTENT}\n}}\n'
        for number, size in enumerate(sizes))
    logical = "".join(
        f'{name} {{\nid = "{identifier(f"{group} {name}")}"\n'
        f'status = ["READ", "WRITE", "VISIBLE"]\nflags = []\nsegment_count = 1\n'
        f'{segment(0, extents, stripes)}}}\n' for name, extents, stripes in volumes)
    return (f'{group} {{\nid = "{identifier(group)}"\nseqno = 1\nformat = "lvm2"\n'
            f'status = ["RESIZEABLE", "READ", "WRITE"]\nflags = []\nextent_size = {EXTENT // SECTOR}\n'
            f'max_lv = 0\nmax_pv = 0\nmetadata_copies = 0\nphysical_volumes {{\n{physical}}}\n'
            f'logical_volumes {{\n{logical}}}\n}}\n'
            'contents = "Text Format Volume Group"\nversion = 1\ndescription = ""\n'
            'creation_host = "bench"\ncreation_time = 1700000000\n').encode() + b"\0"


def identifier(seed):
    return sample.dashed(sample.lvm_uuid(seed))


def write_headers(disk, group, number, size, text):
    """Makes the open file the physical volume with that number."""
    header = sample.lvm_uuid(f"{group} pv{number}").encode()
    header += struct.pack("<Q8Q", size, DATA_START, 0, 0, 0, AREA, AREA_SIZE, 0, 0)
    header += struct.pack("<2I2Q", 2, 1, 0, 0)
    rest = (struct.pack("<I8s", 32, b"LVM2 001") + header).ljust(SECTOR - 20, b"\0")
    label = struct.pack("<8sQI", b"LABELONE", 1, sample.lvm_crc(rest)) + rest
    area = b"\x20LVM2\x20x[5A%r0N*>" + struct.pack("<I2Q", 1, AREA, AREA_SIZE)
    area += struct.pack("<2Q2I", SECTOR, len(text), sample.lvm_crc(text), 0)
    area = area.ljust(SECTOR - 4, b"\0")
    area = struct.pack("<I", sample.lvm_crc(area)) + area
    for at, content in ((SECTOR, label), (AREA, area), (AREA + SECTOR, text)):
        os.pwrite(disk.fileno(), content, at)


def striped(paths, group, volume, plain):
    """A logical volume that holds the file, striped over one physical volume for each path."""
    extents = -(-os.path.getsize(plain) // EXTENT // len(paths))
    size = DATA_START + extents * EXTENT
    stripes = [(f"pv{number}", 0) for number in range(len(paths))]
    text = metadata(group, [size] * len(paths), [(volume, extents * len(paths), stripes)])
    with open(plain, "rb") as source:
        for number, path in enumerate(paths):
            with open(path, "wb") as disk:
                disk.truncate(size)
                write_headers(disk, group, number, size, text)
                step = STRIPE if len(paths) > 1 else MIB
                places = range(number * step, os.path.getsize(plain), step * len(paths))
                for at, offset in enumerate(places):
                    data.copy_range(source, disk, min(step, os.path.getsize(plain) - offset), offset,
                                    DATA_START + at * step)


def linear(path, group, volume, plain):
    striped([path], group, volume, plain)


def many(paths, group, count):
    """A group of `count` volumes lv0000, lv0001... of one extent each, all zeroes, that take turns on
    one physical volume for each path."""
    size = DATA_START + -(-count // len(paths)) * EXTENT
    volumes = [(f"lv{number:04}", 1, [(f"pv{number % len(paths)}", number // len(paths))])
               for number in range(count)]
    text = metadata(group, [size] * len(paths), volumes)
    for number, path in enumerate(paths):
        with open(path, "wb") as disk:
            disk.truncate(size)
            write_headers(disk, group, number, size, text)
