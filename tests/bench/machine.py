"""The work folder, processes, mounts and the page cache: what everything else here stands on."""
import contextlib
import ctypes
import ctypes.util
import json
import mmap
import os
import shutil
import signal
import subprocess
import tempfile
import time

MIB, GIB = 1 << 20, 1 << 30
PATIENCE = 60  # seconds until something that does not start is given up
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                       ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]


class Failure(Exception):
    """Something did not work; the text says what, for the report."""


def missing(*tools):
    """@return the first of the tools that is not installed, or None"""
    return next((tool for tool in tools if shutil.which(tool) is None), None)


def run(*command, **options):
    """Runs a command to its end. @return its standard output. @throws Failure with its last words"""
    accept = options.pop("accept", (0,))
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, text=True,
                              **({} if "input" in options else {"stdin": subprocess.DEVNULL}), **options)
    except OSError as error:
        raise Failure(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{command[0]} did not end within {error.timeout:.0f} s") from error
    if done.returncode not in accept:
        raise Failure(f"{os.path.basename(str(command[0]))} failed with {done.returncode}: "
                      + (gist(done.stderr) or gist(done.stdout) or "it said nothing"))
    return done.stdout


def gist(text):
    """@return the line of what a tool said that tells most: the first that says error, or the last"""
    lines = text.strip().splitlines()
    return next((line for line in lines if "error:" in line), lines[-1] if lines else "")


def wait_until(ready, what, process=None):
    """Polls often, because what is waited for is timed. @throws Failure if the process ends before"""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if process is not None and process.poll() is not None:
            raise Failure(f"{what} ended with {process.returncode}{last_words(process)}")
        if time.monotonic() > deadline:
            raise Failure(f"{what} was not ready within {PATIENCE} s{last_words(process)}")
        time.sleep(0.0003)


def last_words(process):
    if process is None or not hasattr(process, "log"):
        return ""
    process.log.seek(0)
    words = gist(process.log.read().decode(errors="replace"))
    return ": " + words if words else ""


def readable(path):
    """Whether the file is there with its contents, as a server shows it once it is up."""
    try:
        with open(path, "rb", buffering=0) as file:
            return len(file.read(4096)) == 4096
    except OSError:
        return False


def spawn(*command, **options):
    """Starts a server in a session of its own, so that Ctrl-C reaches only us, and we end it."""
    log = tempfile.TemporaryFile()  # noqa: SIM115: lives as long as the process
    try:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, start_new_session=True, **options)
    except OSError as error:
        raise Failure(f"{command[0]} cannot be run: {error.strerror}") from error
    process.log = log
    _running.append(process)
    return process


_running = []  # what spawn() has started and nobody has ended


def end(process, ask=True):
    """Waits for the process to end; asks it to, and insists in the end."""
    if ask and process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.log.close()
    if process in _running:
        _running.remove(process)


def mounts_below(folder):
    """@return mount points in the folder, innermost first"""
    with open("/proc/self/mounts", encoding="utf-8") as table:
        found = [line.split()[1].encode().decode("unicode_escape") for line in table]
    return sorted((point for point in found if point.startswith(folder + "/")), reverse=True)


def unmount(point):
    """Ends the mount, if there is one; a busy one is tried again before it is only detached."""
    for _ in range(50):
        if point not in mounts_below(os.path.dirname(point)):
            return
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode == 0:
            return
        if subprocess.run(["fusermount3", "-u", point], capture_output=True,
                          check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def data_runs(file):
    """@return (offset, length) of what is not a hole, in whole pages"""
    end = os.fstat(file.fileno()).st_size
    at = 0
    while at < end:
        try:
            at = os.lseek(file.fileno(), at, os.SEEK_DATA) // 4096 * 4096
        except OSError:  # ENXIO: nothing but a hole
            return
        hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
        yield at, hole - at
        at = hole


def cached_part(path):
    """@return the part of the file's data that is in the page cache, 0 to 1"""
    there = missed = 0
    with open(path, "rb", buffering=0) as file:
        for offset, size in data_runs(file):
            memory = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), offset)
            pages = ctypes.create_string_buffer((size + 4095) // 4096)
            failed = _libc.mincore(memory, size, pages)
            _libc.munmap(memory, size)
            if failed:
                raise Failure(f"cannot see what of {path} is cached")
            there += len(pages)
            missed += pages.raw.translate(_EVEN).count(0)
    return 1 - missed / there if there else 1.0


_EVEN = bytes(value & 1 for value in range(256))


def warm(paths):
    """Brings files into the page cache, unless they are there. @throws Failure if they do not stay"""
    for path in paths:
        # Now and then a reader finds its pages gone again before the file is at its end.
        for _ in range(5):
            part = cached_part(path)
            if part == 1:
                break
            with open(path, "rb", buffering=0) as file:
                for offset, length in data_runs(file):
                    file.seek(offset)
                    while file.tell() < offset + length and file.readinto(_scratch):
                        pass
        else:
            raise Failure(f"{path} does not stay in the page cache: {part:.1%} of it is there; leave "
                          "more memory free, or make the images smaller with --size")


_scratch = bytearray(MIB)


def drop(path):
    """Takes a file's own pages out of the page cache; what it is made from stays there."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def forget(paths):
    """Takes files out of the page cache, written back first."""
    for path in paths:
        with contextlib.suppress(OSError):
            settle(path)
            drop(path)


def settle(path):
    """Waits until a file is on the disk, so that writing it back disturbs nobody later."""
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())


class Machine:
    """Where everything lies: the programs, and the folder for images and mounts.

    Use it in a with statement: whatever is mounted or attached in the folder ends with it.
    """

    def __init__(self, peelfs, programs, data, kept):
        self.peelfs = os.path.realpath(peelfs)
        self.io_loop = os.path.join(programs, "peelfs_bench_io_loop")
        self.ceiling = os.path.join(programs, "peelfs_bench_ceiling")
        for program in (self.peelfs, self.io_loop, self.ceiling):
            if not os.access(program, os.X_OK):
                raise Failure(f"{program} is not there; contrib/bench builds it")
        self.data = os.path.realpath(data)
        self.places = os.path.join(self.data, "places")
        self.kept = kept
        self._count = 0

    def __enter__(self):
        """@throws Failure if the programs are not there"""
        os.makedirs(self.data, exist_ok=True)
        self.clean_up()  # what a killed run left behind
        os.makedirs(self.places, exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not end the cleaning
        self.clean_up()
        if not self.kept:
            shutil.rmtree(self.data, ignore_errors=True)

    def clean_up(self):
        for point in mounts_below(self.data):
            unmount(point)
        for process in list(_running):
            end(process)
        for device, backing in loop_devices():
            if backing.startswith(self.data + "/"):
                detach(device)
        shutil.rmtree(self.places, ignore_errors=True)

    def need_space(self, size):
        """@throws Failure if the disk has no `size` bytes for images, the ones there included"""
        left = shutil.disk_usage(self.data).free
        left += sum(entry.stat().st_blocks * 512 for entry in os.scandir(self.data))
        if left < size:
            raise Failure(f"the disk of {self.data} has {left // MIB} MiB left, and {size // MIB} MiB are "
                          "needed; use --data for another place, or --size for smaller images")

    def remove(self, names):
        """Removes images, unless they are kept for the next run."""
        for name in names if not self.kept else ():
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path(name))

    def path(self, name):
        """@return the absolute path of a file in the data folder"""
        return os.path.join(self.data, name)

    def place(self):
        """@return a new folder for one contender's mount"""
        self._count += 1
        folder = os.path.join(self.places, str(self._count))
        os.makedirs(folder)
        return folder

    def loop(self, path, **options):
        """Runs the measuring loop. @return its results; see io_loop.cc for the options"""
        text = run(self.io_loop, *(f"{key}={value}" for key, value in options.items()), path,
                   timeout=PATIENCE + float(options.get("seconds", 1)))
        return json.loads(text)


def detach(device):
    subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)


def loop_devices():
    """@return (device, file) of every loop device in use"""
    if missing("losetup"):
        return []
    listed = subprocess.run(["losetup", "--json", "--list", "--output", "NAME,BACK-FILE"],
                            capture_output=True, check=False, text=True).stdout
    return [(entry["name"], entry["back-file"] or "")
            for entry in (json.loads(listed)["loopdevices"] if listed.strip() else [])]


def _interrupt(*_):
    raise KeyboardInterrupt
