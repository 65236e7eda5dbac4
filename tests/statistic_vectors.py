# SPDX-License-Identifier: Apache-2.0
"""statistic_vectors.py - what Python (argument "python") or numpy ("numpy") makes of numbers

Prints cases for test_statistic.c, a line each: "values COUNT" and then COUNT lines of a value,
"OPERATION ARGUMENT RESULT" of those values, or "OPERATION VALUE ARGUMENT RESULT". Numbers are hex
floats, texts hex bytes.
"""
import math
import random
import statistics
import struct
import sys

SEED = 20240607
MOODS = {
    "times": lambda: random.randrange(1, 10**7) / 1e6,
    "nanoseconds": lambda: random.randrange(1, 10**10) / 1e9,
    "ties": lambda: random.choice([0.001, 0.002, 0.003]),
    "zeros": lambda: 0.0,
    "some zeros": lambda: random.choice([0.0, random.random()]),
    "bytes": lambda: random.randrange(2**34) / 2**20,
    "2^53": lambda: float(2**53 + random.randrange(-4, 5)),
    "2^63": lambda: float(2**63 + random.randrange(-(2**20), 2**20)) / 2**20,
    "far apart": lambda: math.ldexp(random.random(), random.randrange(-60, 60)),
}
COUNTS = [1, 2, 3, 7, 8, 9, 10, 11, 127, 128, 129, 136, 1000, 100000]


def buffered_sum(numpy, array):
    """numpy.sum up to 2.2; later ones add up in one go what need not be converted"""
    if tuple(map(int, numpy.__version__.split(".")[:2])) < (2, 3):
        return array.sum()
    return sum(array[i : i + 8192].sum() for i in range(0, len(array), 8192))


def show(operation, *fields):
    print(operation, *(field.hex() for field in fields))


def arrays():
    for mood in MOODS.values():
        for count in COUNTS:
            yield [mood() for _ in range(count)]


def show_values(values):
    print("values", len(values))
    print("\n".join(value.hex() for value in values))


def any_double():
    return abs(struct.unpack("d", random.randbytes(8))[0])


def singles():
    yield from (0.0, 0.5, 1.5, 2.5, 0.0005, 0.0015, 1.0005, 2.675)
    yield from (1e16, 1e15, 9999999999999998.0, 1e-4, 9.9e-5, 5e-324)
    yield from (sign * math.ldexp(1, power) for power in range(-1074, 1024) for sign in (1, -1))
    for _ in range(20000):
        yield random.randrange(10**9) / 1e3 + 0.0005
        yield random.randrange(10**7) / 1e6 * 1e3
        yield math.ldexp(random.random(), random.randrange(-20, 60))
        double = any_double()
        if math.isfinite(double):
            yield double


def nearest_rank(values):
    return sorted(values)[min(max(int(0.9 * len(values) - 1e-12), 0), len(values) - 1)]


def texts():
    yield from ("", "a", "1:fs", "it's", 'say "x"', "it's \"x\"", "\\")
    yield from ("\t\n\r\0\x1f\x7f\x80\xa0\xad\xff", "ü€\U0001f600\ue000\u2028")
    pool = "ab'\"\\\n\0 \x85é\u200b\u3042\U0001f600\U000e0001"
    for _ in range(2000):
        yield "".join(random.choices(pool, k=random.randrange(12)))


def python():
    for values in arrays():
        show_values(values)
        show("fmean", 0.0, statistics.fmean(values))
        show("nearest", 0.0, nearest_rank(values))
    for value in singles():
        show("round_python", value, float(3), round(value, 3))
        show("round_python", value, float(1), round(value, 1))
        show("repr", value, repr(value).encode())
    for value in (math.inf, -math.inf, math.nan):
        show("repr", value, repr(value).encode())
    for text in texts():
        # the dot is not shown; without it an empty text were no field
        show("quote", text.encode() + b".", repr(text).encode())


def numpy():
    import numpy

    for values in arrays():
        show_values(values)
        array = numpy.array(values)
        show("sum", 0.0, buffered_sum(numpy, array).item())
        show("mean", 0.0, buffered_sum(numpy, array).item() / len(array))
        for percent in (90, 50, 99.9, 0, 100):
            show("percentile", float(percent), numpy.percentile(array, percent).item())
    for value in singles():
        with numpy.errstate(all="ignore"):
            show("round_numpy", value, float(3), float(round(numpy.float64(value), 3)))
            show("round_numpy", value, float(1), float(round(numpy.float64(value), 1)))


if __name__ == "__main__":
    random.seed(SEED)
    {"python": python, "numpy": numpy}[sys.argv[1]]()
