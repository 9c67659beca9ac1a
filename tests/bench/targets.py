"""What peelfs must reach: the best and the median of the rounds, as a ratio to a peer in the same run."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    subject: str
    work: str
    peer: str
    at_least: float

    def reached(self, best, median):
        """@return the verdict for the table"""
        passed = (best >= self.at_least, median >= self.at_least)
        return {(True, True): "yes", (True, False): "best only", (False, True): "median only",
                (False, False): "NO"}[passed]


def _each(subjects, works, peer, at_least):
    return [Target(subject, work, peer, at_least) for subject in subjects for work in works]


FLAT = ("raw", "prealloc")
ALL = [
    *_each(FLAT, ("seq-1024K-direct",), "qemu-storage-daemon", 3),
    *_each(FLAT, ("seq-1024K-direct",), "ceiling", 0.8),
    *_each(FLAT, ("seq-1024K-buffered",), "qemu-storage-daemon", 1.7),
    *_each(FLAT, ("random-4K-1", "random-4K-4"), "qemu-storage-daemon", 2.3),
    *_each(FLAT, ("random-4K-1", "random-4K-4"), "ceiling", 0.9),
    *_each(FLAT, ("seq-1024K-direct", "seq-1024K-buffered"), "nbdfuse+qemu-nbd", 3),
    *_each(FLAT, ("random-4K-1", "random-4K-4"), "nbdfuse+qemu-nbd", 6),
]
