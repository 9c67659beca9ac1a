"""LUKS containers around known bytes, without device-mapper.

qemu, nbdkit and libluksde know LUKS1 only. A LUKS2 container with 512-byte sectors and a LUKS1
container with the same volume key hold the same bytes, so that each can be measured on its own."""
import os

import data
from machine import MIB, Failure, run

PASSPHRASE = "bench"
HEADER = 16 * MIB
CIPHER = "aes-xts-plain64"


def write_key(path):
    with open(path, "w", encoding="ascii") as file:
        file.write(PASSPHRASE)


def write_volume_key(path):
    with open(path, "wb") as file:
        file.write(os.urandom(64))


def format_container(path, size, kind, key, volume_key, sector=512):
    """Makes a container of that many bytes behind a header of 16 MiB; nothing is encrypted yet."""
    with open(path, "wb") as file:
        file.truncate(HEADER + size)
    run("cryptsetup", "luksFormat", "--batch-mode", "--type", kind, "--cipher", CIPHER, "--key-size",
        "512", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--offset", HEADER // 512,
        "--volume-key-file", volume_key, *(["--sector-size", sector] if kind == "luks2" else []), path,
        key)


def luks1(path, plain, key, volume_key):
    format_container(path, os.path.getsize(plain), "luks1", key, volume_key)
    run("qemu-img", "convert", "-n", "--object", f"secret,id=key,file={key}", "-f", "raw",
        "--target-image-opts", plain, f"driver=luks,key-secret=key,file.driver=file,file.filename={path}")


def luks2_from(path, twin, key, volume_key):
    """A LUKS2 container with the bytes of the LUKS1 container `twin`."""
    size = os.path.getsize(twin) - HEADER
    format_container(path, size, "luks2", key, volume_key)
    with open(twin, "rb") as source, open(path, "r+b") as target:
        data.copy_range(source, target, size, HEADER, HEADER)


def luks2(path, plain, key, volume_key, sector):
    """Encrypts sectors that qemu does not know. The number in a tweak counts 512 bytes, as
    dm-crypt's does for LUKS2."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise Failure("python3-cryptography is not installed") from error
    format_container(path, os.path.getsize(plain), "luks2", key, volume_key, sector)
    with open(volume_key, "rb") as file:
        algorithm = algorithms.AES(file.read())
    with open(plain, "rb") as source, open(path, "r+b") as target:
        target.seek(HEADER)
        number = 0
        while chunk := source.read(MIB):
            encrypted = bytearray()
            for at in range(0, len(chunk), sector):
                tweak = (number + at // 512).to_bytes(16, "little")
                encrypted += Cipher(algorithm, modes.XTS(tweak)).encryptor().update(
                    chunk[at:at + sector])
            target.write(encrypted)
            number += len(chunk) // 512
