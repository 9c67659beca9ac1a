#!/usr/bin/python3
"""Makes the seeds of fuzz_luks: LUKS headers whose key material is all zeroes.

cryptsetup formats a volume; what its key material would decrypt to if it were zeroes is computed here, and
the digest of that key is put into the header, with the passphrase "fuzz". So a header alone, with zeroes
behind it, is a volume that opens. Usage: seeds_luks.py OUTPUT-FOLDER (needs python3-cryptography).
"""
import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

STRIPES = 4000
PASSPHRASE = b"fuzz"


def diffuse(block, name):
    size = hashlib.new(name).digest_size
    out = b""
    for number, at in enumerate(range(0, len(block), size)):
        piece = block[at:at + size]
        out += hashlib.new(name, struct.pack(">I", number) + piece).digest()[:len(piece)]
    return out


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def af_merge(material, size, name):
    block = bytes(size)
    for stripe in range(STRIPES - 1):
        block = diffuse(xor(block, material[stripe * size:][:size]), name)
    return xor(block, material[(STRIPES - 1) * size:][:size])


def decrypt_zeroes(cipher, key, size):
    _, mode, iv_name = cipher.split("-", 2)
    out = b""
    for sector in range((size + 511) // 512):
        iv = sector.to_bytes(16, "little")
        if iv_name == "essiv:sha256":
            salt = hashlib.sha256(key).digest()
            iv = Cipher(algorithms.AES(salt), modes.ECB()).encryptor().update(iv)
        chosen = modes.XTS(iv) if mode == "xts" else modes.CBC(iv)
        out += Cipher(algorithms.AES(key), chosen).decryptor().update(bytes(512))
    return out[:size]


def luks_format(folder, options):
    disk, key = os.path.join(folder, "disk"), os.path.join(folder, "key")
    with open(key, "wb") as file:
        file.write(PASSPHRASE)
    with open(disk, "wb") as file:
        file.truncate(3 << 20)
    command = ["cryptsetup", "luksFormat", "-q", "--pbkdf-force-iterations", "1000"]
    subprocess.run(command + options.split() + [disk, key], check=True)
    with open(disk, "rb") as file:
        return bytearray(file.read(32768))


def luks1(folder, cipher, bits):
    header = luks_format(folder, f"--type luks1 --cipher {cipher} --key-size {bits}")[:592]
    size = bits // 8
    iterations, = struct.unpack(">I", header[212:216])
    slot_key = hashlib.pbkdf2_hmac("sha256", PASSPHRASE, bytes(header[216:248]), iterations, size)
    volume_key = af_merge(decrypt_zeroes(cipher, slot_key, size * STRIPES), size, "sha256")
    iterations, = struct.unpack(">I", header[164:168])
    header[112:132] = hashlib.pbkdf2_hmac("sha256", volume_key, bytes(header[132:164]), iterations, 20)
    return header


def luks2(folder, options, edit=lambda root: None):
    image = luks_format(folder, "--type luks2 --luks2-keyslots-size 512k --offset 2048 --pbkdf pbkdf2 "
                                "--label fuzz " + options)
    root = json.loads(bytes(image[4096:16384]).split(b"\0")[0])
    slot, digest = root["keyslots"]["0"], root["digests"]["0"]
    area, kdf, size = slot["area"], slot["kdf"], slot["key_size"]
    slot_key = hashlib.pbkdf2_hmac(kdf["hash"], PASSPHRASE, base64.b64decode(kdf["salt"]),
                                   kdf["iterations"], area["key_size"])
    volume_key = af_merge(decrypt_zeroes(area["encryption"], slot_key, size * STRIPES), size,
                          slot["af"]["hash"])
    digest["digest"] = base64.b64encode(hashlib.pbkdf2_hmac(
        digest["hash"], volume_key, base64.b64decode(digest["salt"]), digest["iterations"],
        len(base64.b64decode(digest["digest"])))).decode()
    edit(root)
    text = json.dumps(root, separators=(",", ":")).encode()
    for at in (0, 16384):
        image[at + 4096:at + 16384] = text + bytes(12288 - len(text))
        image[at + 448:at + 512] = bytes(64)
        image[at + 448:at + 480] = hashlib.sha256(bytes(image[at:at + 16384])).digest()
    return image


def too_large(root):
    root["segments"]["0"]["size"] = "8388608"


def main():
    output = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        seeds = {
            "luks1-xts": luks1(folder, "aes-xts-plain64", 256),
            "luks1-essiv": luks1(folder, "aes-cbc-essiv:sha256", 128),
            "luks2-512": luks2(folder, "--key-size 256"),
            "luks2-4096": luks2(folder, "--key-size 512 --sector-size 4096"),
            "luks2-too-large": luks2(folder, "--key-size 256", too_large),
        }
    seeds["luks2-secondary"] = bytes(16384) + bytes(seeds["luks2-512"][16384:])
    for name, seed in seeds.items():
        with open(os.path.join(output, name), "wb") as file:
            file.write(seed)


if __name__ == "__main__":
    main()
