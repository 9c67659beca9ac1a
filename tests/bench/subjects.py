"""What is measured: images, each with the same bytes inside as a plain file beside it.

A new layer adds one line to ALL, and to a module like data.py what makes its image. Names of files
are below the data folder; in `nbdkit` and `libyal` DATA stands for that folder. A contender shows
every subject for which its field is given.
"""
from dataclasses import dataclass, field
import json
import os
import shutil
import tempfile
from typing import Any, Callable, Optional

import data
import luks
import lvm
import works
from machine import GIB, MIB, Failure, run


@dataclass(frozen=True)
class View:
    """A device as peelfs shows it: its name in the mount, the sources, and the file with the key."""
    device: str
    sources: tuple
    key: Optional[str] = None
    same: bool = True                     # the bytes are those of the subject

    def arguments(self, machine):
        return [machine.path(source) for source in self.sources]


@dataclass(frozen=True)
class Flat:
    """The bytes lie in one piece of a file."""
    file: str
    offset: int = 0
    behind: int = 0                       # bytes of the file that come after the piece

    def within(self, machine):
        path = machine.path(self.file)
        return path, self.offset, os.path.getsize(path) - self.offset - self.behind


@dataclass(frozen=True)
class Subject:
    name: str
    title: str
    make: Callable[[Any], None]           # Maker -> None; makes what is missing
    plain: Optional[str]                  # the same bytes as a plain file; None: there is none
    files: tuple                          # what must be in the page cache, besides `plain`
    peelfs: View
    qemu: Optional[dict] = None           # block node
    qemu_key: Optional[str] = None        # file with the passphrase, for key-secret=key
    nbdkit: Optional[list] = None         # arguments behind --unix
    libyal: Optional[list] = None         # command, without the mount point
    flat: Optional[Flat] = None
    guestfish: Optional[list] = None      # scripts for guestfish, see contenders.Guestfish
    cipher_sector: Optional[int] = None   # AES-256-XTS over sectors of that many bytes
    beside: dict = field(default_factory=dict)  # peelfs on something else: name -> View
    works: tuple = works.READING_SHORT
    exact: bool = False                   # make() returns the SHA-256 of the device
    fresh: bool = False                   # make() is called again for each who writes into it
    note: str = ""                        # what a reader of the table must know

    def everything(self):
        return [*self.files, *([self.plain] if self.plain else [])]

    def renew(self, machine):
        """Before somebody writes in place."""
        if self.fresh:
            for name in self.files:
                os.remove(machine.path(name))
            self.make(Maker(machine, 0))


class Maker:
    """Makes files in the data folder, once each. Every method returns the path."""

    def __init__(self, machine, size):
        self.machine = machine
        self.size = size

    def once(self, name, make):
        """Calls make(path) unless the file is there from before."""
        path = self.machine.path(name)
        if not os.path.exists(path):
            # The name must keep its ending, which tools look at.
            unfinished = self.machine.path("unfinished-" + name)
            make(unfinished)
            os.rename(unfinished, path)
        return path

    def random(self):
        return self.once("plain.raw", lambda path: data.fill(path, self.size))

    def scratch(self):
        return self.once("scratch.raw", lambda path: data.fill(path, self.size))

    def compressible(self):
        return self.once("text.raw", lambda path: data.fill(path, self.size // 4, True))

    def filesystem(self):
        return self.once("files.raw", self._filesystem)

    def _filesystem(self, path):
        folder = self.machine.path("unfinished-tree")
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        data.tree(folder, self.size // 16)
        data.ext4_with(path, self.size // 2, folder, "files")
        shutil.rmtree(folder)

    def keys(self):
        """@return the files with the passphrase and with the volume key"""
        return self.once("key", luks.write_key), self.once("volumekey", luks.write_volume_key)

    def luks1(self):
        return self.once("luks1.img", lambda path: luks.luks1(path, self.random(), *self.keys()))

    def luks2_512(self):
        twin = self.luks1()
        return self.once("luks512.img", lambda path: luks.luks2_from(path, twin, *self.keys()))

    def luks2_4096(self):
        return self.once("luks4096.img",
                         lambda path: luks.luks2(path, self.random(), *self.keys(), 4096))

    def gpt(self):
        return self.once("gpt.img", lambda path: data.gpt_disk(path, self.random()))

    def backing_chain(self):
        self.together(CHAIN, lambda paths: data.chain(paths, self.random()))

    def striped(self):
        self.together(STRIPES, lambda paths: lvm.striped(paths, "bench", "striped", self.random()))

    def together(self, names, make):
        """Calls make(paths) unless the last of the files is there from before."""
        paths = [self.machine.path(name) for name in names]
        if not os.path.exists(paths[-1]):
            make(paths)

    def many(self, names, count):
        self.together(names, lambda paths: lvm.many(paths, "bench", count))

    def disks(self):
        self.together(DISKS, lambda paths: data.disks(paths, 16 * MIB))

    def scattered(self):
        """Two images of the same kind, one a thousand times as large as the other."""
        for name, size in (("small", GIB), ("huge", 1024 * GIB)):
            plain = self.once(name + ".raw", lambda path, size=size: data.ends(path, size))
            self.once(name + ".qcow2", lambda path, plain=plain: data.scattered(path, plain))

    def thin(self):
        return self.once("thin.qcow2", lambda path: run("qemu-img", "create", "-q", "-f", "qcow2", path,
                                                        16 * GIB))

    def nested(self, name, encrypted):
        """disk > MBR > LVM > [LUKS2 >] ext4 > qcow2 > MBR > LVM, as the fixture variant2, but large"""
        plain, keys = self.random(), self.keys()
        work = self.machine.path("unfinished-nested")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work + "/files/images")
        at = lambda step: os.path.join(work, step)  # noqa: E731

        def build(path):
            lvm.linear(at("pv"), "guest", "root", plain)
            data.mbr_disk(at("disk"), at("pv"), "8e")
            os.remove(at("pv"))
            data.qcow2(at("files/images/os.qcow2"), at("disk"))
            os.remove(at("disk"))
            data.ext4_with(at("ext4"), self.size + self.size // 8 + 64 * MIB, at("files"), "images")
            shutil.rmtree(at("files"))
            if encrypted:
                luks.luks2(at("luks"), at("ext4"), *keys, 4096)
                os.remove(at("ext4"))
            lvm.linear(at("host"), "host", "kvmos", at("luks" if encrypted else "ext4"))
            data.mbr_disk(path, at("host"), "8e")
        try:
            return self.once(name, build)
        finally:
            shutil.rmtree(work)

    def fixture(self, name, device, key):
        """An image that a real kernel made, one device of it as a plain file, and the passphrase."""
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../images")
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
            record = json.load(file)["fixtures"][name]
        packed = os.path.join(folder, record["images"][0]["file"])

        def unpack(path):
            with tempfile.NamedTemporaryFile() as common:
                run("zstd", "-q", "-d", "-f", os.path.join(folder, "common.zst"), "-o", common.name)
                run("zstd", "-q", "-d", "--long=27", "-D", common.name, packed, "-o", path)
        self.once(name + ".raw", unpack)

        def write_passphrase(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(record["keys"]["passphrase"])
        self.once(key, write_passphrase)
        return record["oracle"][device]["sha256"]


def image(name, driver="qcow2"):
    return {"driver": driver, "file": {"driver": "file", "filename": name}}


def in_luks(name):
    return {**image(name, "luks"), "key-secret": "key"}


def qcow2(name, title, make, plain="plain.raw", maker=Maker.random, **others):
    """A qcow2 image NAME.qcow2, which make(path, path of the plain file) makes."""
    file = name + ".qcow2"
    return Subject(name, title, lambda into: into.once(file, lambda path: make(path, maker(into))),
                   plain, (file,), View(name, (file,)), qemu=image(file),
                   libyal=["qcowmount", "DATA/" + file], **others)


CHAIN = ("chain1.qcow2", "chain2.qcow2", "chain3.qcow2", "chain4.qcow2")
STRIPES = ("pv1.img", "pv2.img", "pv3.img", "pv4.img")
VOLUMES = tuple(f"many{number:02}.img" for number in range(64))
DISKS = tuple(f"disk{number:03}.img" for number in range(200))
RAW = View("plain", ("plain.raw",))
TWIN = ("(The peers read a LUKS1 container, since they know no LUKS2: the same volume key, cipher and\n"
        "bytes, in sectors of 512.)")
# As peers of a LUKS2 container: what else is needed to read its twin.
ON_TWIN = {"qemu": in_luks("luks1.img"), "qemu_key": "key", "note": TWIN,
           "nbdkit": ["--filter=luks", "file", "DATA/luks1.img", "passphrase=+DATA/key"],
           "libyal": ["luksdemount", "-p", luks.PASSPHRASE, "DATA/luks1.img"]}


# What is nested in a file needs an appliance of its own.
VARIANT2_CHECK = [
    ("variant2.raw", "variant2.key", ["cryptsetup-open /dev/volssd10/kvmos crypt",
                                      "mount-ro /dev/mapper/crypt /", "download /images/os43.qcow2 OUT"]),
    ("OUT", None, ["e2fsck /dev/lvg1/lvroot correct:true"])]


def compressed(name, title, *options):
    return qcow2(name, title, lambda path, plain: data.qcow2(path, plain, "-c", *options), "text.raw",
                 Maker.compressible)


ALL = [
    Subject("raw", "raw image", Maker.random, "plain.raw", (), RAW, qemu=image("plain.raw", "raw"),
            nbdkit=["file", "DATA/plain.raw"], flat=Flat("plain.raw"),
            works=works.READING + works.FIRST_BYTE),
    Subject("disk", "raw image that is not in the page cache", Maker.random, "plain.raw", (), RAW,
            qemu=image("plain.raw", "raw"), nbdkit=["file", "DATA/plain.raw"], flat=Flat("plain.raw"),
            works=works.FROM_DISK),
    Subject("gpt", "partition in a raw disk (GPT)", Maker.gpt, "plain.raw", ("gpt.img",),
            View("gptp1", ("gpt.img",)), qemu={**image("gpt.img", "raw"), "offset": MIB},
            nbdkit=["--filter=partition", "file", "DATA/gpt.img", "partition=1"],
            flat=Flat("gpt.img", MIB, MIB)),
    qcow2("prealloc", "qcow2, preallocated", data.preallocated, works=works.READING + works.FIRST_BYTE),
    qcow2("fragmented", "qcow2, clusters in random order", data.fragmented),
    compressed("zlib", "qcow2, compressed with zlib"),
    compressed("zstd", "qcow2, compressed with zstd", "-o", "compression_type=zstd"),
    qcow2("extl2", "qcow2, extended L2", lambda path, plain: data.preallocated(
        path, plain, ",extended_l2=on")),
    Subject("chain4", "qcow2, 4 deep, data in each", Maker.backing_chain, "plain.raw", CHAIN,
            View("chain4", CHAIN[-1:]), qemu=image(CHAIN[-1]),
            works=works.READING_SHORT + works.FIRST_BYTE + works.HASHING),
    Subject("luks2-512", "LUKS2, sectors of 512", Maker.luks2_512, "plain.raw",
            ("luks512.img", "luks1.img"), View("luks512_crypt", ("luks512.img",), "key"),
            cipher_sector=512, **ON_TWIN),
    Subject("luks2-4096", "LUKS2, sectors of 4096", lambda maker: (maker.luks2_4096(), maker.luks1()),
            "plain.raw", ("luks4096.img", "luks1.img"),
            View("luks4096_crypt", ("luks4096.img",), "key"), cipher_sector=4096, **ON_TWIN),
    Subject("lvm", "LVM, striped over 4 disks", Maker.striped, "plain.raw", STRIPES,
            View("bench-striped", STRIPES)),
    Subject("nested", "disk > MBR > LVM > ext4 > qcow2 > MBR > LVM",
            lambda maker: maker.nested("nested.img", False), "plain.raw", ("nested.img",),
            View("guest-root", ("nested.img",)), beside={"peelfs on raw": RAW},
            works=works.READING_SHORT + works.FIRST_BYTE + works.HASHING),
    Subject("nested-luks", "disk > MBR > LVM > LUKS2 > ext4 > qcow2 > MBR > LVM",
            lambda maker: maker.nested("nestedluks.img", True), "plain.raw", ("nestedluks.img",),
            View("guest-root", ("nestedluks.img",), "key"), beside={"peelfs on raw": RAW},
            cipher_sector=4096, works=works.READING_SHORT + works.HASHING),
    qcow2("ext4", "ext4 full of files, in qcow2", data.qcow2, "files.raw", Maker.filesystem,
          flat=None, works=works.FILES),
    Subject("overlay", "raw image, written into an overlay", Maker.random, "plain.raw", (), RAW,
            qemu=image("plain.raw", "raw"), flat=Flat("plain.raw"), works=works.writing("overlay")),
    Subject("in-place", "raw image, written in place", Maker.scratch, "scratch.raw", (),
            View("scratch", ("scratch.raw",)), qemu=image("scratch.raw", "raw"),
            flat=Flat("scratch.raw"), works=works.writing("in-place")),
    Subject("variant2", "the fixture variant2, with its key derivation",
            lambda maker: maker.fixture("variant2", "lvg1-lvroot", "variant2.key"), None,
            ("variant2.raw",), View("lvg1-lvroot", ("variant2.raw",), "variant2.key"),
            guestfish=VARIANT2_CHECK, works=works.FIRST_BYTE + works.CHECKING, exact=True),
    Subject("thin", "qcow2 that is empty, written in place", Maker.thin, None, ("thin.qcow2",),
            View("thin", ("thin.qcow2",)), qemu=image("thin.qcow2"), fresh=True,
            works=works.writing("in-place")),
    Subject("huge", "qcow2 of 1 TiB, all allocated, clusters in random order", Maker.scattered, "huge.raw",
            ("huge.qcow2", "small.qcow2", "small.raw"), View("huge", ("huge.qcow2",)),
            qemu=image("huge.qcow2"),
            beside={"peelfs on 1 GiB": View("small", ("small.qcow2",), same=False)},
            works=works.AT_RANDOM + works.FIRST_BYTE),
    Subject("lvs1000", "1,000 logical volumes", lambda maker: maker.many(("many.img",), 1000), None,
            ("many.img",), View("bench-lv0000", ("many.img",)),
            libyal=["vslvmmount", "DATA/many.img"], works=works.listing(1000)),
    Subject("lvs2000", "2,000 logical volumes on 64 disks", lambda maker: maker.many(VOLUMES, 2000), None,
            VOLUMES, View("bench-lv1999", VOLUMES), works=works.listing(2064)),
    Subject("disks200", "200 disks with a partition each", Maker.disks, None, DISKS,
            View("disk199p1", DISKS), works=works.listing(400)),
]
