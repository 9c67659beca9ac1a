"""What peelfs must reach: the best and the median of the rounds, as a ratio to a peer in the same run."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """With several peers, parted by |, it is the slowest of them that counts."""
    subject: str
    work: str
    peer: str
    at_least: float

    def concerns(self, subject, work, peer):
        return (self.subject, self.work) == (subject, work) and peer in self.peer.split("|")

    def ratios(self, results, reference):
        """@return (best, median), or None if a part of it was not measured"""
        ours = results.find(self.subject, self.work, reference)
        peers = [results.find(self.subject, self.work, peer) for peer in self.peer.split("|")]
        if ours is None or None in peers:
            return None
        return tuple(max(ours.ratio_to(peer, statistic) for peer in peers)
                     for statistic in ("best", "median"))

    def verdict(self, best, median):
        passed = (best >= self.at_least, median >= self.at_least)
        return {(True, True): "yes", (True, False): "best only", (False, True): "median only",
                (False, False): "NO"}[passed]


@dataclass(frozen=True)
class Limit(Target):
    """A number that must not be exceeded, in the unit of the work, where less is better."""

    def concerns(self, subject, work, peer):
        return False

    def ratios(self, results, reference):
        ours = results.find(self.subject, self.work, reference)
        limit = float(self.peer.split()[0])
        return ours and (limit / ours.best, limit / ours.median)


def _each(subjects, works, peer, at_least):
    return [Target(subject, work, peer, at_least) for subject in subjects for work in works]


FLAT = ("raw", "prealloc")
LUKS = ("luks2-512", "luks2-4096")
DIRECT, BUFFERED = ("seq-1024K-direct",), ("seq-1024K-buffered",)
RANDOM = ("random-4K-1", "random-4K-4")
READING = DIRECT + BUFFERED + RANDOM
ALL = [
    *_each(FLAT, DIRECT, "qemu-storage-daemon", 3),
    *_each(FLAT, DIRECT, "ceiling", 0.8),
    *_each(FLAT, BUFFERED, "qemu-storage-daemon", 1.7),
    *_each(FLAT, RANDOM, "qemu-storage-daemon", 2.3),
    *_each(FLAT, RANDOM, "ceiling", 0.9),
    *_each(FLAT, DIRECT + BUFFERED, "nbdfuse+qemu-nbd", 3),
    *_each(FLAT, RANDOM, "nbdfuse+qemu-nbd", 6),
    *_each(("nested",), READING, "peelfs on raw", 0.85),
    *_each(("nested-luks",), DIRECT, "cipher|peelfs on raw", 0.8),
    *_each(LUKS, DIRECT + BUFFERED, "qemu-storage-daemon", 2),
    *_each(LUKS, DIRECT + BUFFERED, "nbdfuse+nbdkit", 5),
    *_each(("zlib", "zstd"), DIRECT + BUFFERED, "qemu-storage-daemon", 1.5),
    Target("overlay", "overlay-random-4K-first", "qemu-storage-daemon", 1.5),
    *_each(("nested", "nested-luks"), ("hash-all",), "openssl", 0.9),
    Limit("nested", "mount-to-first-byte", "50 ms", 1),
    Target("variant2", "mount-and-e2fsck", "guestfish", 50),
]
