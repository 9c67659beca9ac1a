#!/usr/bin/env python3
"""Copies a device out of images without peelfs and without the kernel's device-mapper.

  plain_view.py dm OUT TABLE IMAGE...      TABLE as `dmsetup table` prints it, lines ended by ';';
                                           major:minor in ascending order stand for the IMAGEs
  plain_view.py luks OUT IMAGE PASSPHRASE  a LUKS1 or LUKS2 volume with aes-xts-plain64
"""
import os
import re
import subprocess
import sys
import tempfile

SECTOR = 512


def copy_dm(out, table, images):
    lines = [line.split() for line in table.split(";") if line.strip()]
    numbers = sorted({word for line in lines for word in line if re.fullmatch(r"\d+:\d+", word)},
                     key=lambda number: [int(part) for part in number.split(":")])
    members = dict(zip(numbers, [open(path, "rb") for path in images], strict=True))

    def piece(number, sector, sectors):
        members[number].seek(sector * SECTOR)
        data = members[number].read(sectors * SECTOR)
        return data.ljust(sectors * SECTOR, b"\0")

    with open(out, "wb") as result:
        for start, sectors, target, *rest in lines:
            sectors = int(sectors)
            assert result.tell() == int(start) * SECTOR
            if target == "linear":
                result.write(piece(rest[0], int(rest[1]), sectors))
                continue
            assert target == "striped", target
            count, chunk = int(rest[0]), int(rest[1])
            stripes = list(zip(rest[2::2], map(int, rest[3::2])))
            assert len(stripes) == count
            # A stripe at a time into its places.
            whole = [piece(number, sector, sectors // count) for number, sector in stripes]
            size = chunk * SECTOR
            for row in range(0, len(whole[0]), size):
                for stripe in whole:
                    result.write(stripe[row:row + size])


def copy_luks(out, image, passphrase):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    with tempfile.TemporaryDirectory() as folder:
        key_file = os.path.join(folder, "key")
        subprocess.run(["cryptsetup", "luksDump", "-q", "--dump-volume-key", "--volume-key-file", key_file,
                        "--key-file", "-", image], input=passphrase.encode(), check=True,
                       stdout=subprocess.DEVNULL)
        with open(key_file, "rb") as file:
            key = file.read()
    text = subprocess.run(["cryptsetup", "luksDump", image], check=True, capture_output=True, text=True).stdout
    if match := re.search(r"Payload offset:\s+(\d+)", text):
        offset, unit = int(match[1]) * SECTOR, SECTOR
    else:
        segment = text[text.index("Data segments"):]
        offset = int(re.search(r"offset:\s+(\d+)", segment)[1])
        unit = int(re.search(r"sector:\s+(\d+)", segment)[1])
    with open(image, "rb") as file, open(out, "wb") as result:
        file.seek(offset)
        number = 0
        while sector := file.read(unit):
            if len(sector) < unit:
                break
            decryptor = Cipher(algorithms.AES(key), modes.XTS(number.to_bytes(16, "little"))).decryptor()
            result.write(decryptor.update(sector))
            number += unit // SECTOR


def main():
    verb, out, *rest = sys.argv[1:]
    if verb == "dm":
        copy_dm(out, rest[0], rest[1:])
    else:
        copy_luks(out, *rest)


main()
