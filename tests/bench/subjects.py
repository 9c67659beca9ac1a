"""What is measured: images, each with the same bytes inside as a plain file beside it.

A new layer adds one line to ALL (and to data.py what makes its image). Names of files are below the
data folder; in `nbdkit` and `libyal` DATA stands for that folder. A contender shows every subject
for which its field is given.
"""
from dataclasses import dataclass, field
import os
from typing import Any, Callable, Optional

import data
import works
from machine import MIB


@dataclass(frozen=True)
class View:
    """A device as peelfs shows it: the sources, its name in the mount, and the file with the key."""
    device: str
    sources: tuple
    key: Optional[str] = None

    def arguments(self, machine):
        return [machine.path(source) for source in self.sources]


@dataclass(frozen=True)
class Flat:
    """The bytes lie in one piece of a file; a length of None goes to its end."""
    file: str
    offset: int = 0
    length: Optional[int] = None

    def within(self, machine):
        path = machine.path(self.file)
        return path, self.offset, self.length or os.path.getsize(path) - self.offset


@dataclass(frozen=True)
class Subject:
    name: str
    title: str
    plain: Optional[str]                  # the same bytes as a plain file
    files: tuple                          # what must be in the page cache
    make: Callable[[Any], None]           # Maker -> None; makes what is missing
    peelfs: View
    qemu: Optional[dict] = None           # block node
    qemu_key: Optional[str] = None        # file with the passphrase, for key-secret=key
    nbdkit: Optional[list] = None         # arguments behind --unix
    libyal: Optional[list] = None         # command, without the mount point
    flat: Optional[Flat] = None
    beside: dict = field(default_factory=dict)  # peelfs on something else: name -> View
    works: tuple = works.READING


class Maker:
    """Makes files in the data folder, once each."""

    def __init__(self, machine, size):
        self.machine = machine
        self.size = size

    def once(self, name, make):
        """Calls make(path) unless the file is there from before. @return its path"""
        path = self.machine.path(name)
        if not os.path.exists(path):
            unfinished = path + ".unfinished"
            make(unfinished)
            os.rename(unfinished, path)
        return path

    def random(self):
        return self.once("plain.raw", lambda path: data.fill(path, self.size))


def image(name, driver="qcow2"):
    return {"driver": driver, "file": {"driver": "file", "filename": name}}


def qcow2_subject(name, title, make, plain="plain.raw", **others):
    """A qcow2 image NAME.qcow2, which make(path, plain) makes."""
    file = name + ".qcow2"

    def build(maker):
        maker.once(file, lambda path: make(path, PLAIN[plain](maker)))
    return Subject(name, title, plain, (file, plain), build, View(name, (file,)), qemu=image(file),
                   libyal=["qcowmount", "DATA/" + file], **others)


PLAIN = {"plain.raw": Maker.random}

ALL = [
    Subject("raw", "raw image", "plain.raw", ("plain.raw",), Maker.random,
            View("plain", ("plain.raw",)), qemu=image("plain.raw", "raw"),
            nbdkit=["file", "DATA/plain.raw"], flat=Flat("plain.raw")),
    qcow2_subject("prealloc", "qcow2, preallocated", data.preallocated),
]
