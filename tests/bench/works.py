"""What is timed. A work measures one presented subject, and returns one number."""
from dataclasses import dataclass, field

from machine import Failure

KIB = 1 << 10


@dataclass(frozen=True)
class Loop:
    """The measuring loop on the file; `options` as in io_loop.cc."""
    name: str
    title: str
    unit: str                      # "MB/s" or "ops/s"
    options: dict = field(default_factory=dict)
    more_is_better = True
    mode = "read"

    def measure(self, machine, presented, contender, effort):
        options = dict(self.options, seconds=effort.seconds)
        if not contender.direct:
            # The page cache is what it is about: a direct read would go to the disk.
            options.update(direct=0, cold=0)
        result = machine.loop(presented.path, **options)
        if options.get("cold") and result["resident"] > 0.01:
            raise Failure(f"{result['resident']:.0%} of its pages could not be dropped from the cache")
        if self.unit == "MB/s":
            return result["bytes"] / result["seconds"] / 1e6
        return result["operations"] / result["seconds"]


def sequential(block, direct):
    how = "O_DIRECT" if direct else "buffered"
    options = {"block": block, "direct": 1} if direct else {"block": block, "cold": 1}
    return Loop(f"seq-{block // KIB}K-{'direct' if direct else 'buffered'}",
                f"sequential read {block // KIB}K {how}", "MB/s", options)


def at_random(jobs):
    return Loop(f"random-4K-{jobs}", f"random read 4K, {jobs} job{'s' if jobs > 1 else ''}", "ops/s",
                {"block": 4 * KIB, "order": "random", "direct": 1, "jobs": jobs})


READING = (sequential(1024 * KIB, True), sequential(128 * KIB, True), sequential(1024 * KIB, False),
           sequential(128 * KIB, False), at_random(1), at_random(4))
