#!/usr/bin/env python3
"""What a finer delta than whole chunks would save (docs/adr/0025): the weights of a model, each moved by a little as a
round of training moves them, XORed with what they were and packed by zstd, byte by byte as they stand and with the
bytes of all floats sorted by their place (shuffled). Prints the packed part of the new version's bytes.

    tools/tensor_delta.py model.safetensors        (float32; needs zstd)
"""
import array
import json
import math
import random
import struct
import subprocess
import sys


def weights(path):
    data = open(path, "rb").read()
    (header,) = struct.unpack("<Q", data[:8])
    floats = array.array("f")
    for name, tensor in json.loads(data[8:8 + header]).items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            first, last = tensor["data_offsets"]
            floats.frombytes(data[8 + header + first:8 + header + last])
    return floats


def packed(data):
    return len(subprocess.run(["zstd", "-3", "-c"], input=data, capture_output=True, check=True).stdout)


def shuffled(data):
    return b"".join(data[place::4] for place in range(4))


def main():
    before = weights(sys.argv[1])
    rms = math.sqrt(sum(x * x for x in before) / len(before))
    size = 4 * len(before)
    print(f"{len(before)} floats; alone they pack to {packed(before.tobytes()) / size:.2f}")
    chance = random.Random(1)
    for part in (1e-4, 1e-3, 1e-2):
        after = array.array("f", (x + chance.gauss(0, part * rms) for x in before))
        xor = bytes(a ^ b for a, b in zip(before.tobytes(), after.tobytes()))
        print(f"moved by {part:g} of their rms: {packed(xor) / size:.2f}, shuffled {packed(shuffled(xor)) / size:.2f}")


main()
