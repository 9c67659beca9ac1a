"""How each tool presents a subject as one flat file.

A contender is a class with
  name                       in the table
  tools                      programs that it needs
  modes                      what it can do: "read", "overlay" (writes go elsewhere), "in-place",
                             "hash" (digests of everything, without showing it)
  direct                     False: its file is read through the page cache, because nothing lies
                             between it and the disk
  rounds                     takes part in so many rounds only, because it is slow; None: in all
  remark                     what the reader of the table must know, or ""; valid after start()
  checked                    False: its bytes are not those of the subject
  works                      regular expression: the works that it takes part in
  presents(subject, mode)    whether it can show this subject at all
  start(machine, subject, place, mode)   mounts in the folder `place`; returns a Presented
and belongs into ALL.
"""
import functools
import json
import os
import re
import subprocess

from machine import Failure, detach, end, missing, readable, run, spawn, unmount, wait_until

COMMAND_PATIENCE = 300  # seconds


class Presented:
    """A subject that is there as a file. stop() undoes it, and may be called again."""

    def __init__(self, path, *steps):
        self.path = path
        self._steps = list(steps)

    def also(self, *steps):
        self._steps.extend(steps)

    def stop(self):
        while self._steps:
            self._steps.pop()()


class Contender:
    name = ""
    tools = ()
    modes = ("read",)
    direct = True
    checked = True
    works = ""
    rounds = None
    remark = ""

    def why_not(self):
        """@return why it cannot be run here at all, or None"""
        tool = missing(*self.tools)
        return f"{tool} is not installed" if tool else None

    def presents(self, subject, mode):
        raise NotImplementedError

    def start(self, machine, subject, place, mode):
        raise NotImplementedError

    def loop(self, machine, presented, options):
        """Runs the measuring loop on what start() has returned."""
        return machine.loop(presented.path, **options)

    def hash(self, machine, subject):
        """Computes SHA-256 of all devices. @return how many bytes those are"""
        raise NotImplementedError

    def command(self, presented, words):
        """Runs a command on it: FILE stands for the file, FOLDER for where it lies.

        @return its output
        """
        names = {"FILE": presented.path, "FOLDER": os.path.dirname(presented.path)}
        return run(*(names.get(word, word) for word in words), timeout=COMMAND_PATIENCE)


def serve(command, point, path, what, before=()):
    """Starts a server that stays in the foreground, and waits for its file."""
    process = spawn(*command)
    presented = Presented(path, *before, lambda: end(process), lambda: unmount(point))
    try:
        wait_until(lambda: readable(path), what, process)
    except BaseException:
        presented.stop()
        raise
    return presented


class Peelfs(Contender):
    """@param view: shows that, whatever the subject is; see Subject.beside
    @param program: that build instead of the one that is measured"""

    modes = ("read", "overlay", "in-place", "hash")

    def __init__(self, name="peelfs", view=None, program=None):
        self.name = name
        self._view = view
        self._program = program
        self.checked = view is None or view.same

    def __eq__(self, other):
        return isinstance(other, Peelfs) and (self.name, self._view) == (other.name, other._view)

    def __hash__(self):
        return hash((self.name, self._view))

    def presents(self, subject, mode):
        return mode in self.modes and (self._view is None or mode == "read")

    def start(self, machine, subject, place, mode):
        view = self._view or subject.peelfs
        program = self._program or machine.peelfs
        point = os.path.join(place, "mount")
        os.mkdir(point)
        options = ["--quiet", "--no-prompt"]
        if view.key:
            options += ["--key-file", machine.path(view.key)]
        if mode == "overlay":
            options += ["--overlay", os.path.join(place, "overlay")]
        if mode == "in-place":
            options += ["--rw"]
        presented = Presented(os.path.join(point, view.device), lambda: unmount(point))

        def leave():
            # Waits until the sources are released; the other step is for when this does not work.
            subprocess.run([program, "umount", point], capture_output=True, check=False)
        presented.also(leave)
        try:
            run(program, "mount", *options, *view.arguments(machine), point)
            if not readable(presented.path):
                raise Failure(f"peelfs shows no {view.device}; there are: "
                              + " ".join(sorted(os.listdir(point))))
        except BaseException:
            presented.stop()
            raise
        return presented


    def hash(self, machine, subject):
        view = subject.peelfs
        key = ["--key-file", machine.path(view.key)] if view.key else []
        said = json.loads(run(self._program or machine.peelfs, "hash", "--json", "--quiet",
                              "--no-prompt", "--all", *key, *view.arguments(machine)))
        digests = {device["name"]: device["digests"] for device in said["devices"]}
        expected = subject_digest(machine.path(subject.plain))
        if digests[view.device]["sha256"] != expected or None in digests.values():
            raise Failure("its digests are wrong, or not there")
        return sum(device["size"] for device in said["devices"])


@functools.lru_cache
def subject_digest(path):
    return run("sha256sum", path).split()[0]


class Openssl(Contender):
    """`openssl dgst -sha256` of the subject's bytes in a plain file, once on each processor."""
    name = "openssl"
    tools = ("openssl",)
    checked = False
    modes = ("hash",)

    def presents(self, subject, mode):
        return mode in self.modes and subject.plain is not None

    def hash(self, machine, subject):
        path = machine.path(subject.plain)
        at_once = [subprocess.Popen(["openssl", "dgst", "-sha256", path], stdout=subprocess.DEVNULL)
                   for _ in range(os.cpu_count())]
        if any([process.wait() for process in at_once]):
            raise Failure("openssl failed")
        return len(at_once) * os.path.getsize(path)


class File(Contender):
    """The same bytes as a plain file: no tool can be faster."""
    name = "file"
    direct = False
    works = "^(?!mount-)"
    modes = ("read", "in-place")

    def presents(self, subject, mode):
        return mode in self.modes and subject.plain is not None and subject.flat is not None

    def start(self, machine, subject, place, mode):
        return Presented(machine.path(subject.plain))


class Loop(Contender):
    name = "loop"
    tools = ("losetup",)
    modes = ("read", "in-place")

    def presents(self, subject, mode):
        return mode in self.modes and subject.flat is not None

    def start(self, machine, subject, place, mode):
        path, offset, length = subject.flat.within(machine)
        device = run("losetup", "--find", "--show", *(["--read-only"] if mode == "read" else []),
                     "--offset", offset, "--sizelimit", length, path).strip()
        return Presented(device, lambda: detach(device))


class Ceiling(Contender):
    """Replies without reading: what FUSE itself costs here."""
    name = "ceiling"
    checked = False
    modes = ("read", "in-place", "overlay")
    works = "^(seq|random|overlay-(seq|random)|in-place-(seq|random)|mount-to)"  # no filesystem in it
    kind = "constant"

    def presents(self, subject, mode):
        return mode in self.modes and subject.plain is not None

    def start(self, machine, subject, place, mode):
        point = os.path.join(place, "mount")
        os.mkdir(point)
        plain = machine.path(subject.plain)
        what = os.path.getsize(plain) if self.kind == "constant" else plain
        return serve([machine.ceiling, self.kind, what, point], point, os.path.join(point, "disk"),
                     self.name)


class Naive(Ceiling):
    """pread and reply: the FUSE loop that everyone writes first."""
    name = "naive"
    checked = True
    modes = ("read", "in-place")
    works = ""
    kind = "pread"


def image_options(node, prefix=""):
    """A tree of block nodes as --image-opts wants it."""
    words = []
    for key, value in node.items():
        if isinstance(value, dict):
            words += image_options(value, prefix + key + ".")
        else:
            words.append(f"{prefix}{key}=" + str(value).replace(",", ",,"))
    return words


def qemu_objects(machine, subject):
    if subject.qemu_key is None:
        return []
    return ["--object", f"secret,id=key,file={machine.path(subject.qemu_key)}"]


def qemu_node(machine, subject, place, mode):
    """The subject as qemu's block layer opens it; for an overlay a new one is made."""
    if mode != "overlay":
        return resolved(subject.qemu, machine)
    base = subject.flat.within(machine)[0]
    overlay = os.path.join(place, "overlay.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay)
    return {"driver": "qcow2", "file": {"driver": "file", "filename": overlay}}


def resolved(node, machine):
    return {key: resolved(value, machine) if isinstance(value, dict)
            else machine.path(value) if key == "filename" else value for key, value in node.items()}


class StorageDaemon(Contender):
    name = "qemu-storage-daemon"
    tools = ("qemu-storage-daemon", "qemu-img")
    modes = ("read", "overlay", "in-place")

    def presents(self, subject, mode):
        return subject.qemu is not None and (mode != "overlay" or subject.flat is not None)

    def start(self, machine, subject, place, mode):
        point = os.path.join(place, "disk")
        with open(point, "wb"):
            pass
        node = dict(qemu_node(machine, subject, place, mode))
        node["read-only"] = "on" if mode == "read" else "off"
        blockdev = ",".join(image_options(node) + ["node-name=disk"])
        writable = "off" if mode == "read" else "on"
        return serve(["qemu-storage-daemon", *qemu_objects(machine, subject), "--blockdev", blockdev,
                      "--export", f"fuse,id=export,node-name=disk,mountpoint={point},"
                                  f"writable={writable}"], point, point, self.name)


def nbdfuse(server, place, what, mode):
    """Serves a disk over NBD on a socket, and mounts that."""
    point = os.path.join(place, "mount")
    os.mkdir(point)
    socket = os.path.join(place, "socket")
    process = spawn(*[word.replace("SOCKET", socket) for word in server])
    try:
        wait_until(lambda: os.path.exists(socket), server[0], process)
    except BaseException:
        end(process)
        raise
    return serve(["nbdfuse", *(["-r"] if mode == "read" else []), os.path.join(point, "disk"),
                  "--unix", socket], point, os.path.join(point, "disk"), what,
                 before=(lambda: end(process),))


class QemuNbd(Contender):
    name = "nbdfuse+qemu-nbd"
    tools = ("nbdfuse", "qemu-nbd", "qemu-img")
    modes = ("read", "overlay", "in-place")

    def presents(self, subject, mode):
        return subject.qemu is not None and (mode != "overlay" or subject.flat is not None)

    def start(self, machine, subject, place, mode):
        node = qemu_node(machine, subject, place, mode)
        return nbdfuse(["qemu-nbd", "--socket=SOCKET", "--persistent", "--shared=8",
                        *(["--read-only"] if mode == "read" else []),
                        *qemu_objects(machine, subject), "--image-opts",
                        ",".join(image_options(node))], place, self.name, mode)


class Nbdkit(Contender):
    name = "nbdfuse+nbdkit"
    tools = ("nbdfuse", "nbdkit")

    def presents(self, subject, mode):
        return mode in self.modes and subject.nbdkit is not None

    def start(self, machine, subject, place, mode):
        words = [word.replace("DATA", machine.data) for word in subject.nbdkit]
        return nbdfuse(["nbdkit", "--foreground", "--readonly", "--unix", "SOCKET", *words], place,
                       self.name, mode)


def background(command, point, shown):
    """Runs a tool that goes into the background once it has mounted.

    @param shown: () -> the path of the one file that it shows, or None
    """
    presented = Presented(None, lambda: unmount(point))
    try:
        run(*command)
        wait_until(lambda: shown() is not None and readable(shown()), command[0])
    except BaseException:
        presented.stop()
        raise
    presented.path = shown()
    return presented


def first_file(point, ending=""):
    names = sorted(name for name in os.listdir(point) if name.endswith(ending))
    return os.path.join(point, names[0]) if names else None


class Xmount(Contender):
    name = "xmount"
    tools = ("xmount",)
    modes = ("read", "overlay")

    def presents(self, subject, mode):
        return mode in self.modes and subject.flat is not None

    def start(self, machine, subject, place, mode):
        point = os.path.join(place, "mount")
        os.mkdir(point)
        path, offset, length = subject.flat.within(machine)
        options = ["--offset", offset, "--sizelimit", length] if offset else []
        if mode == "overlay":
            options += ["--cache", os.path.join(place, "cache")]
        return background(["xmount", *options, "--in", "raw", path, "--out", "raw", point], point,
                          lambda: first_file(point, ".dd"))


class Libyal(Contender):
    """qcowmount, luksdemount, vslvmmount: the subject says which, and with what."""
    name = "libyal"

    def presents(self, subject, mode):
        return mode in self.modes and subject.libyal is not None

    def start(self, machine, subject, place, mode):
        words = [word.replace("DATA", machine.data) for word in subject.libyal]
        tool = missing(words[0])
        if tool:
            raise Failure(f"{tool} is not installed")
        point = os.path.join(place, "mount")
        os.mkdir(point)
        return background([*words, point], point, lambda: first_file(point))


class Cipher(Contender):
    """What one thread decrypts in memory: OpenSSL's AES-256-XTS over sectors of the subject's size."""
    name = "cipher"
    tools = ("openssl",)
    checked = False
    works = "^seq-1024K-direct$"

    def presents(self, subject, mode):
        return mode in self.modes and subject.cipher_sector is not None

    def start(self, machine, subject, place, mode):
        return Presented(subject.cipher_sector)

    def loop(self, machine, presented, options):
        said = run("openssl", "speed", "-mr", "-evp", "aes-256-xts", "-decrypt", "-bytes",
                   presented.path, "-seconds", 1)
        found = re.search(r"^\+F:.*:([0-9.]+)$", said, re.MULTILINE)
        if not found:
            raise Failure("openssl speed says no speed")
        return {"bytes": float(found.group(1)), "operations": 0, "seconds": 1}


class Guestfish(Contender):
    """Does the same in virtual machines: no file, but scripts, each for one appliance.

    Subject.guestfish is a list of (image, file with a passphrase or None, lines); OUT in it is a file
    that one appliance writes and the next one takes.
    """
    name = "guestfish"
    tools = ("guestfish",)
    checked = False
    works = "^mount-and-e2fsck$"
    rounds = 1
    _accelerated = None  # whether its virtual machine runs with KVM; None: not tried yet

    def presents(self, subject, mode):
        return mode in self.modes and subject.guestfish is not None

    def _try_kvm(self):
        """Also builds the appliance, which guestfish keeps."""
        self._accelerated = True
        try:
            self._guestfish(["-a", "/dev/null", "run"])
        except Failure:
            self._accelerated = False
            self._guestfish(["-a", "/dev/null", "run"])
            self.remark = "(guestfish runs without KVM, with which its appliance does not start here.)"

    def _guestfish(self, words, **options):
        environment = dict(os.environ)
        if not self._accelerated:
            environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
        return run("guestfish", *words, env=environment, timeout=COMMAND_PATIENCE, **options)

    def start(self, machine, subject, place, mode):
        if self._accelerated is None:
            self._try_kvm()
        out = os.path.join(place, "out")
        scripts = [(out if image == "OUT" else machine.path(image), key and machine.path(key),
                    [line.replace("OUT", out) for line in lines])
                   for image, key, lines in subject.guestfish]
        return Presented(scripts)

    def command(self, presented, words):
        said = ""
        for image, key, lines in presented.path:
            # Commands are arguments, so that standard input is free for the passphrase.
            script = [word for line in ["run", *lines] for word in [":", *line.split()]][1:]
            if key is None:
                said += self._guestfish(["--ro", "-a", image, *script])
                continue
            with open(key, encoding="utf-8") as file:
                said += self._guestfish(["--ro", "--keys-from-stdin", "-a", image, *script],
                                        input=file.read() + "\n")
        return said


# In the order of the table.
ALL = [Peelfs(), Ceiling(), Naive(), File(), Cipher(), Openssl(), StorageDaemon(), QemuNbd(), Nbdkit(),
       Loop(), Xmount(), Libyal(), Guestfish()]
