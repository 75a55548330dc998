"""Writes dequantize.bin, what tests/kernels/dequantize_test.cpp compares bits with.

Needs numpy and the `gguf` package (written with gguf's quants.dequantize as the authority; F8_E4M3,
which gguf does not have, is computed here from the format's definition). Run from any folder:

    python tests/goldens/make_dequantize_goldens.py

Format, little-endian: records of u32 type code, u32 byte count, u32 element count, the raw bytes, the
expected float32 bits. Deterministic: a fixed seed, random block bytes, finite scales of every kind.
"""

import pathlib
import struct

import gguf
import numpy as np

SEED = 20240607
BLOCKS_OF_32 = 48
BLOCKS_OF_256 = 12
FLOATS = 512

# Byte positions of the f16 fields in a block.
HALF_FIELDS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}
# Zero, both signs, the smallest subnormal, a middle and the largest one, the smallest normal, the largest.
SPECIAL_HALVES = (0x0000, 0x8000, 0x0001, 0x8001, 0x0155, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF)


def finite_half(generator, index):
    if index < len(SPECIAL_HALVES):
        return SPECIAL_HALVES[index]
    bits = int(generator.integers(0, 0x7C00))
    return bits | (0x8000 if generator.integers(0, 2) else 0)


def blocks(generator, name):
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = BLOCKS_OF_32 if elements == 32 else BLOCKS_OF_256
    raw = generator.integers(0, 256, size=(count, size), dtype=np.uint8)
    for block in range(count):
        for number, field in enumerate(HALF_FIELDS[name]):
            # The second field runs through the special values shifted, so that pairs differ.
            half = finite_half(generator, (block + 3 * number) % count)
            raw[block, field:field + 2] = np.frombuffer(struct.pack("<H", half), dtype=np.uint8)
    raw = raw.reshape(1, -1)
    return int(kind), raw, gguf.quants.dequantize(raw, kind)


def floats(generator, name):
    kind = gguf.GGMLQuantizationType[name]
    words = generator.integers(0, 1 << 16, size=FLOATS, dtype=np.uint16)
    if name == "F16":  # a NaN's payload is not part of the contract
        nan = (words & 0x7FFF) > 0x7C00
        words[nan] &= 0x83FF
        words[: len(SPECIAL_HALVES)] = SPECIAL_HALVES
    if name == "F32":
        words = generator.integers(0, 1 << 32, size=FLOATS, dtype=np.uint32)
    raw = words.view(np.uint8).reshape(1, -1)
    return int(kind), raw, gguf.quants.dequantize(raw, kind)


def f8_e4m3():
    values = []
    for byte in range(256):
        sign = -1.0 if byte & 0x80 else 1.0
        exponent, mantissa = (byte >> 3) & 15, byte & 7
        if (byte & 0x7F) == 0x7F:
            values.append(struct.unpack("<f", struct.pack("<I", 0x7FC00000 | (byte & 0x80) << 24))[0])
        elif exponent == 0:
            values.append(sign * mantissa / 8 * 2.0**-6)
        else:
            values.append(sign * (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    return 1000, np.arange(256, dtype=np.uint8), np.array(values, dtype=np.float32)


def main():
    generator = np.random.default_rng(SEED)
    records = [blocks(generator, name) for name in HALF_FIELDS]
    records += [floats(generator, name) for name in ("F32", "F16", "BF16")]
    records.append(f8_e4m3())
    path = pathlib.Path(__file__).parent / "dequantize.bin"
    with path.open("wb") as out:
        for code, raw, expected in records:
            raw = np.ascontiguousarray(raw).view(np.uint8).ravel()
            expected = np.ascontiguousarray(expected, dtype=np.float32).ravel()
            out.write(struct.pack("<III", code, raw.size, expected.size))
            out.write(raw.tobytes())
            out.write(expected.tobytes())
    print(f"{path.name}: {path.stat().st_size} bytes, {len(records)} types")


if __name__ == "__main__":
    main()
