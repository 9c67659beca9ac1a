#!/usr/bin/env python3
"""Measures peelfs and its peers on the same data, in turns. contrib/bench installs what this needs,
builds it, and calls it."""
import argparse
import contextlib
from dataclasses import dataclass, replace
import hashlib
import os
import platform
import random
import re
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chart  # noqa: E402
import contenders  # noqa: E402
import machine as machines  # noqa: E402
import report  # noqa: E402
import subjects  # noqa: E402
from machine import MIB, Failure  # noqa: E402
from results import Results  # noqa: E402


@dataclass(frozen=True)
class Effort:
    """How long it may take."""
    rounds: int
    few: int        # rounds of works that take long
    seconds: float  # of one measurement
    size: int       # of an image
    turn: int = 0   # the number of the round


QUICK = Effort(3, 2, 0.15, 512 * MIB)
# More rounds are better than long ones, where other programs run at times.
FULL = Effort(8, 4, 0.25, 2048 * MIB)


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def digest(path, size):
    """@return a digest of the beginning, the end and random pieces of a file of that size"""
    places = random.Random(3)
    pieces = [(0, 16 * MIB), (size - MIB, MIB)]
    pieces += [(places.randrange(size // 4096 - 16) * 4096, 65536) for _ in range(64)]
    total = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for offset, length in pieces:
            file.seek(offset)
            left = length
            while left > 0:
                part = file.read(left)
                if not part:
                    raise Failure(f"its file ends at {offset + length - left}")
                total.update(part)
                left -= len(part)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return total.hexdigest()


def whole_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Bench:
    def __init__(self, machine, effort, options, results):
        self.machine = machine
        self.effort = effort
        self.options = options
        self.results = results

    def measure_subject(self, subject, available):
        """Makes the subject, starts who can present it, and lets each work run in turns."""
        rows = [(work, [contender for contender in entrants(subject, work, available)
                        if re.search(self.options.only, f"{subject.name}/{work.name}/{contender.name}")])
                for work in subject.works]
        rows = [(work, row) for work, row in rows if row]
        if not rows:
            return
        say(f"{subject.name}: {subject.title}")
        try:
            made = subject.make(subjects.Maker(self.machine, self.effort.size))
        except (Failure, OSError) as failure:
            self.results.fail(subject.name, None, "all", f"the image cannot be made: {failure}")
            return
        self.results.titles[subject.name] = subject.title
        self.results.notes[subject.name] = subject.note
        say(f"{subject.name}: measuring")
        files = [self.machine.path(name) for name in subject.everything()]
        with contextlib.ExitStack() as stack:
            stack.callback(machines.forget, files)
            everyone = dict.fromkeys(contender for work, row in rows for contender in row
                                     if work.mode == "read")
            keep = {contender for work, row in rows for contender in row if not work.fresh}
            presented = self.present(subject, everyone, keep, stack,
                                     made if subject.exact else None)
            wrong = [contender for contender in everyone if contender not in presented]
            for _, row in rows:
                row[:] = [contender for contender in row if contender not in wrong]
            try:
                for turn in range(self.effort.rounds):
                    machines.warm(files)
                    for work, row in rows:
                        if not work.long or turn < self.effort.few:
                            self.one_turn(subject, work, row, presented, turn)
            except Failure as failure:
                self.results.fail(subject.name, None, "all", str(failure))

    def present(self, subject, everyone, keep, stack, expected):
        """Checks what everyone shows.

        @param expected: the digest of the device, where no plain file has the same bytes
        @return contender -> what it shows, of those whose bytes are right; of those who are not in
                `keep` it is gone by then
        """
        presented = {}
        if subject.plain:
            size = os.path.getsize(self.machine.path(subject.plain))
            expected = digest(self.machine.path(subject.plain), size)
        for contender in everyone:
            try:
                shown = contender.start(self.machine, subject, self.machine.place(), "read")
                stack.callback(shown.stop)
                if contender.checked and expected and expected != self.look(subject, shown.path):
                    raise Failure("shows other bytes than are in the image")
                presented[contender] = shown
                if contender.remark:
                    self.results.notes[subject.name] += contender.remark
                if contender not in keep:
                    shown.stop()
            except (Failure, OSError) as failure:
                self.results.fail(subject.name, None, contender.name, str(failure))
        return presented

    def look(self, subject, path):
        """@return the digest of what is shown, made as that of the subject's bytes was"""
        if subject.plain:
            return digest(path, os.path.getsize(self.machine.path(subject.plain)))
        return whole_digest(path)

    def one_turn(self, subject, work, row, presented, turn):
        """One measurement for each contender; who is first changes from round to round."""
        start = turn % len(row) if row else 0
        effort = replace(self.effort, turn=turn)
        for contender in row[start:] + row[:start]:
            if contender.rounds is not None and turn >= contender.rounds:
                continue
            try:
                shown = subject if work.fresh else presented[contender]
                self.results.add(subject, work, contender,
                                 work.measure(self.machine, shown, contender, effort))
            except (Failure, OSError) as failure:
                self.results.fail(subject.name, work.name, contender.name, str(failure))
                row.remove(contender)


def entrants(subject, work, available):
    """@return who takes part in this work on this subject"""
    beside = [contenders.Peelfs(name, view) for name, view in subject.beside.items()]
    return [contender for contender in [*available, *beside]
            if work.mode in contender.modes and contender.presents(subject, work.mode)
            and re.search(contender.works, work.name)]


def installed(results):
    """@return the contenders that can run here; the others are noted with the reason"""
    found = []
    for contender in contenders.ALL:
        reason = contender.why_not()
        if reason:
            results.fail(None, None, contender.name, reason)
        else:
            found.append(contender)
    return found


VERSIONED = ("qemu-storage-daemon", "nbdfuse", "nbdkit")


def version(tool):
    """@return what looks like a version in what the tool says of itself"""
    with contextlib.suppress(Failure):
        found = re.search(r"\d+(\.\d+)+", machines.run(tool, "--version"))
        return found.group() if found else "of no known version"
    return "of no known version"


def about(options, effort):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {"machine": f"{os.cpu_count()} x {model.group(1) if model else platform.machine()}, "
                       f"Linux {platform.release()}",
            "peelfs": f"{options.peelfs}, {version(options.peelfs)}",
            "peers": "; ".join(f"{tool} {version(tool)}" for tool in VERSIONED
                               if not machines.missing(tool)),
            "rounds": f"{effort.rounds} of {effort.seconds} s each, {effort.few} of what takes long; "
                      f"images of {effort.size // MIB} MiB",
            "began": time.strftime("%Y-%m-%d %H:%M:%S")}


def parse():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer rounds: 5 minutes")
    parser.add_argument("--only", metavar="REGEX", default="",
                        help="measure SUBJECT/WORK/CONTENDER that fit; see --list")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--peelfs", metavar="BINARY", required=True)
    parser.add_argument("--before", metavar="BINARY",
                        help="another build of peelfs, which takes turns with it")
    parser.add_argument("--programs", metavar="DIR", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", metavar="DIR", required=True,
                        help="for table.txt, results.json and chart.svg")
    parser.add_argument("--data", metavar="DIR",
                        help="keep the images there for the next run; otherwise below /var/tmp, "
                             "and removed")
    parser.add_argument("--size", type=int, metavar="MIB", help="of the images")
    parser.add_argument("--list", action="store_true", help="what there is to measure")
    options = parser.parse_args()
    try:
        re.compile(options.only)
    except re.error as error:
        parser.error(f"--only {options.only!r} is no regular expression: {error}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    base = QUICK if options.quick else FULL
    return options, Effort(options.rounds or base.rounds, options.rounds or base.few, base.seconds,
                           options.size * MIB if options.size else base.size)


def list_all():
    for subject in subjects.ALL:
        print(f"{subject.name}: {subject.title}")
        for work in subject.works:
            names = [contender.name for contender in entrants(subject, work, contenders.ALL)]
            print(f"  {subject.name}/{work.name}/  {' '.join(names)}")


def main():
    options, effort = parse()
    if options.list:
        with contextlib.suppress(BrokenPipeError):
            list_all()
        return 0
    results = Results(partial=bool(options.only), about=about(options, effort))
    data = options.data or tempfile.mkdtemp(prefix="peelfs-bench-", dir="/var/tmp")
    data = os.path.join(data, f"{effort.size // MIB}M")
    interrupted = False
    try:
        with machines.Machine(options.peelfs, options.programs, data, bool(options.data)) as machine:
            bench = Bench(machine, effort, options, results)
            available = installed(results)
            if options.before:
                available.append(contenders.Peelfs("before", program=options.before))
            # At most: the images of all subjects, or of one with what is left between its steps.
            machine.need_space((16 if options.data else 7) * effort.size)
            for number, subject in enumerate(subjects.ALL):
                bench.measure_subject(subject, available)
                later = {name for other in subjects.ALL[number + 1:] for name in other.everything()}
                machine.remove(set(subject.everything()) - later)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted: this is what there is so far")
    finally:
        if not options.data:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(data))
    if not results.series:
        for line in report.failure_lines(results):
            print(line.strip(), file=sys.stderr)
        say("nothing was measured")
        return 1
    results.about["ended"] = time.strftime("%Y-%m-%d %H:%M:%S")
    os.makedirs(options.out, exist_ok=True)
    table = report.text(results)
    for name, content in (("table.txt", table), ("results.json", report.as_json(results)),
                          ("chart.svg", chart.draw(results))):
        with open(os.path.join(options.out, name), "w", encoding="utf-8") as file:
            file.write(content)
    print(table)
    say(f"written: table.txt, results.json and chart.svg in {options.out}")
    return 130 if interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
