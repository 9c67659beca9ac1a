#!/usr/bin/env python3
"""Makes the seeds in corpus/qcow2 with qemu-img and qemu-io: small images of every sort."""
import os
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = ["--object", "secret,id=s,data=password"]


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make(name, size, options, writes=(), more=(), encrypted=False):
    secret = SECRET if encrypted else []
    if encrypted:
        options += ",encrypt.format=aes,encrypt.key-secret=s"
    run("qemu-img", "create", "-q", *secret, "-f", "qcow2", "-o", options, *more, name, size)
    commands = [part for write in writes for part in ("-c", write)]
    if encrypted:
        run("qemu-io", *secret, *commands, "--image-opts",
            f"driver=qcow2,file.filename={name},encrypt.format=aes,encrypt.key-secret=s")
    elif commands:
        run("qemu-io", *commands, name)


def extended_l2(name):
    """16 KiB clusters: header, L1 table, L2 table, data; without reference counts, to be small."""
    cluster = 16384
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 14, 4 * cluster, 0, 1, cluster,
                         0, 0, 0, 0, 16, 0, 0, 4, 104)
    l1 = struct.pack(">Q", 2 * cluster | 1 << 63)
    l2 = struct.pack(">8Q", 3 * cluster | 1 << 63, 0x0000ff00_0000000f, 0, 0xffff << 32,
                     1 << 62 | 3 * cluster, 0, 0, 0)
    with open(name, "wb") as image:
        for offset, part in ((0, header), (cluster, l1), (2 * cluster, l2),
                             (3 * cluster, b"data" * 512)):
            image.seek(offset)
            image.write(part)


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        with open("text", "wb") as text:
            text.write(b"abc def 123\n" * 4096)
        with open("base", "wb") as base:
            base.truncate(20480)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "link", "16k")
        make("v2", "64k", "compat=0.10,cluster_size=512",
             ["write -c -s text 512 512", "write -P 1 0 512", "write -P 2 32k 2k"])
        make("v3", "64k", "cluster_size=1k",
             ["write -c -s text 4k 1k", "write -c -s text 5k 1k", "write -P 1 0 2k",
              "write -z 8k 4k", "write -P 3 60k 1k"])
        make("zstd", "64k", "cluster_size=4k,compression_type=zstd",
             ["write -c -s text 4k 4k", "write -c -s text 8k 4k", "write -P 1 0 512"])
        make("aes", "16k", "cluster_size=512", ["write -P 1 0 4k"], encrypted=True)
        make("backed", "32k", "cluster_size=512", ["write -P 1 0 4k"], ["-b", "base", "-F", "raw"])
        make("chain", "32k", "cluster_size=512", ["write -P 1 0 4k"], ["-b", "link", "-F", "qcow2"])
        make("datafile", "16k", "cluster_size=512,data_file=data", ["write -P 1 0 4k"])
        make("snapshots", "32k", "cluster_size=512", ["write -P 1 0 4k"])
        run("qemu-img", "snapshot", "-c", "first", "snapshots")
        run("qemu-io", "-c", "write -P 2 0 4k", "-c", "write -z 1k 4k", "snapshots")
        run("qemu-img", "snapshot", "-c", "second", "snapshots")
        extended_l2("extended")
        corpus = os.path.join(HERE, "corpus", "qcow2")
        os.makedirs(corpus, exist_ok=True)
        for name in ("v2", "v3", "zstd", "aes", "backed", "chain", "datafile", "snapshots",
                     "extended"):
            with open(name, "rb") as image, open(os.path.join(corpus, name), "wb") as seed:
                data = image.read()
                assert len(data) < 65536, name
                seed.write(data)


main()
