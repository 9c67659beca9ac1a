"""What is timed: each work, and which subjects' rows are made of which."""
from dataclasses import dataclass, field
import contextlib
import os
import shutil
import time

from machine import MIB, Failure, cached_part, drop, run, settle

KIB = 1 << 10
LONGEST_WRITE = 1  # seconds; who is slow writes less


class Work:
    """What the rounds run.

    Unless it is fresh, measure(machine, presented, contender, effort) works on a subject that is
    there already. A fresh one gets the subject instead, and has it presented anew each time. Both
    return a tuple with a number for each part.
    """
    unit = "ms"
    more_is_better = False
    mode = "read"      # how the subject must be presented: "read", "overlay", "in-place"; "hash": not at all
    parts = ("",)      # what the names of the numbers end with
    fresh = False
    long = False       # takes part in fewer rounds


@dataclass(frozen=True)
class Loop(Work):
    """The measuring loop on the file; `options` as in io_loop.cc."""
    name: str
    unit: str                      # "MB/s" or "ops/s"
    options: dict = field(default_factory=dict)
    more_is_better = True

    def measure(self, machine, presented, contender, effort):
        options = dict(self.options, seconds=effort.seconds, seed=effort.turn + 1)
        if not contender.direct:
            # The page cache is what it is about: a direct read would go to the disk.
            options.update(direct=0, cold=0)
        result = contender.loop(machine, presented, options)
        if options.get("cold") and result["resident"] > 0.01:
            raise Failure(f"{result['resident']:.0%} of its pages could not be dropped from the cache")
        return (rate(result, self.unit),)


def rate(result, unit):
    amount = result["bytes"] / 1e6 if unit == "MB/s" else result["operations"]
    return amount / result["seconds"]


@dataclass(frozen=True)
class FromDisk(Work):
    """The loop on a new mount of what is not in the page cache, neither as presented nor as it lies
    there. A mount that was there before may have pages of its source mapped, which then stay."""
    loop: Loop
    more_is_better = True
    fresh = True

    @property
    def name(self):
        return f"disk-{self.loop.name}"

    @property
    def unit(self):
        return self.loop.unit

    def measure(self, machine, subject, contender, effort):
        sources = [machine.path(name) for name in subject.everything()]
        for path in sources:
            drop(path)
        with presenting(machine, subject, contender, "read") as shown:
            there = max(cached_part(path) for path in sources)
            if there > 0.05:
                raise Failure(f"{there:.0%} of the image stay in the page cache")
            return self.loop.measure(machine, shown, contender, effort)


def sequential(block, direct):
    options = {"block": block, "direct": 1} if direct else {"block": block, "cold": 1}
    return Loop(f"seq-{block // KIB}K-{'direct' if direct else 'buffered'}", "MB/s", options)


def at_random(jobs):
    return Loop(f"random-4K-{jobs}", "ops/s",
                {"block": 4 * KIB, "order": "random", "direct": 1, "jobs": jobs})


@contextlib.contextmanager
def presenting(machine, subject, contender, mode):
    """The subject, presented in a place of its own, which is gone afterwards."""
    place = machine.place()
    if mode == "in-place":
        subject.renew(machine)
    shown = contender.start(machine, subject, place, mode)
    try:
        yield shown
    finally:
        shown.stop()
        shutil.rmtree(place, ignore_errors=True)
        if mode == "in-place":
            for path in subject.everything():
                settle(machine.path(path))


@dataclass(frozen=True)
class Write(Work):
    """Writes each place once, then all of them again: into a new overlay, or in place. Every write
    reaches the server: O_DIRECT, except for a plain file. What was written is read back, untimed."""
    name: str
    options: dict
    amount: int                    # operations at full size
    unit: str
    mode: str
    more_is_better = True
    parts = ("-first", "-again")
    fresh = True
    long = True

    def measure(self, machine, subject, contender, effort):
        block = self.options["block"]
        # A quarter of the pieces that there are, or less.
        pieces = effort.size // max(block, self.options.get("stride", 0))
        options = dict(self.options, direct=int(contender.direct), seed=7)
        limit = min(self.amount, pieces // 4) * block
        with presenting(machine, subject, contender, self.mode) as shown:
            first = contender.loop(machine, shown, dict(options, work="write", limit=limit,
                                                        seconds=LONGEST_WRITE))
            # The same places again, however far it came.
            options.update(limit=first["bytes"], seconds=10 * LONGEST_WRITE)
            again = contender.loop(machine, shown, dict(options, work="write"))
            if contender.checked:
                contender.loop(machine, shown, dict(options, work="verify"))
        return rate(first, self.unit), rate(again, self.unit)


def writing(mode):
    touch = {"block": 4 * KIB, "order": "touch", "stride": 64 * KIB}
    return (Write(f"{mode}-random-4K", touch, 8192, "ops/s", mode),
            Write(f"{mode}-random-4K-fsync", dict(touch, sync=1), 256, "ops/s", mode),
            Write(f"{mode}-seq-1M", {"block": MIB}, 256, "MB/s", mode), MakeFilesystem(mode))


@dataclass(frozen=True)
class Command(Work):
    """A command on the file, from its start to its end; OUT is a file that is removed again."""
    name: str
    command: tuple                 # FILE and OUT are replaced
    accept: tuple = (0,)
    long = True

    def measure(self, machine, presented, contender, effort):
        place = machine.place()
        out = os.path.join(place, "out")
        if contender.direct:
            drop(presented.path)
        words = [{"FILE": presented.path, "OUT": out}.get(word, word) for word in self.command]
        begin = time.monotonic()
        run(*words, accept=self.accept, timeout=300)
        taken = time.monotonic() - begin
        shutil.rmtree(place)
        return (taken * 1000,)


@dataclass(frozen=True)
class MakeFilesystem(Work):
    mode: str
    fresh = True
    long = True

    @property
    def name(self):
        return f"{self.mode}-mkfs.ext4"

    def measure(self, machine, subject, contender, effort):
        with presenting(machine, subject, contender, self.mode) as shown:
            begin = time.monotonic()
            run("mkfs.ext4", "-q", "-F", "-E", "nodiscard", shown.path, timeout=300)
            taken = time.monotonic() - begin
            if contender.checked:
                run("e2fsck", "-fn", shown.path, timeout=300)
            with open(shown.path, "r+b") as file:
                file.write(bytes(64 * KIB))  # no filesystem for who comes next to look at
        return (taken * 1000,)


@dataclass(frozen=True)
class FirstByte(Work):
    """From the command that mounts to the first bytes that are read."""
    name = "mount-to-first-byte"
    fresh = True
    long = True

    def measure(self, machine, subject, contender, effort):
        begin = time.monotonic()
        with presenting(machine, subject, contender, "read"):
            taken = time.monotonic() - begin
        return (taken * 1000,)


@dataclass(frozen=True)
class MountedCommand(Work):
    """A command on a new mount, as Contender.command() runs it."""
    name: str
    command: tuple
    with_mount: bool               # whether the time of mounting counts
    lines: int = 0                 # that it must print, at least
    fresh = True
    long = True

    def measure(self, machine, subject, contender, effort):
        begin = time.monotonic()
        with presenting(machine, subject, contender, "read") as shown:
            if not self.with_mount:
                begin = time.monotonic()
            said = contender.command(shown, self.command)
            taken = time.monotonic() - begin
        if said.count("\n") < self.lines:
            raise Failure(f"{self.command[0]} printed {said.count(chr(10))} lines, and not {self.lines}")
        return (taken * 1000,)


@dataclass(frozen=True)
class HashAll(Work):
    """SHA-256 of all devices of the subject, as Contender.hash() computes it."""
    name: str = "hash-all"
    unit = "MB/s"
    more_is_better = True
    mode = "hash"
    fresh = True
    long = True

    def measure(self, machine, subject, contender, effort):
        begin = time.monotonic()
        hashed = contender.hash(machine, subject)
        return (hashed / 1e6 / (time.monotonic() - begin),)


READING_SHORT = (sequential(1024 * KIB, True), sequential(1024 * KIB, False), at_random(1), at_random(4))
READING = (sequential(1024 * KIB, True), sequential(128 * KIB, True), sequential(1024 * KIB, False),
           sequential(128 * KIB, False), at_random(1), at_random(4))
FROM_DISK = tuple(map(FromDisk, (sequential(1024 * KIB, True), sequential(1024 * KIB, False),
                                 at_random(1), at_random(16))))
AT_RANDOM = (at_random(1), at_random(4))
FIRST_BYTE = (FirstByte(),)
FILES = (Command("e2fsck", ("e2fsck", "-fn", "FILE")),
         Command("cp-sparse", ("cp", "--sparse=always", "FILE", "OUT")),
         Command("qemu-img-convert", ("qemu-img", "convert", "-f", "raw", "-O", "raw", "FILE", "OUT")))
HASHING = (HashAll(),)
CHECKING = (MountedCommand("mount-and-e2fsck", ("e2fsck", "-fn", "FILE"), True),)


def listing(lines):
    return MountedCommand("ls", ("ls", "-l", "FOLDER"), False, lines), FirstByte()
