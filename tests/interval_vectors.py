# SPDX-License-Identifier: Apache-2.0
"""interval_vectors.py - transfers, and what vLLM's stats classes print for them, by numpy

Prints cases for test_vectors_numpy.c: "case ENGINE FORM COUNT", COUNT lines of a transfer
("DURATION_NS POST_NS BYTES DESCRIPTORS"), a line of figures, and the four sums, times in seconds.
"""
import random
import statistics
import sys

import numpy

from statistic_vectors import buffered_sum, nearest_rank

SEED = 20240608
US = 1000


def micro(limit):
    return US * random.randrange(limit)


def near(value, by):
    return value + random.randrange(-by, by)


MOODS = {  # duration, post, bytes, descriptors
    "microseconds": lambda: (micro(10**7), micro(10**5), random.randrange(2**33),
                             random.randrange(120000)),
    "nanoseconds": lambda: (random.randrange(10**6), random.randrange(10**5),
                            random.randrange(2**25), 5),
    "halves": lambda: (500 * random.randrange(9), 500 * random.randrange(99), 2**19, 1),
    "ties": lambda: (random.choice([US, 2 * US, 3000 * US]), 7 * US, random.choice([2**20, 2**21]), 3),
    "no-time": lambda: (0, 0, random.randrange(2**25), 1),
    "no-bytes": lambda: (micro(10**4), US, 0, 0),
    "nothing": lambda: (0, 0, 0, 0),
    "2-53": lambda: (near(2**53, 4), near(2**53, 4), near(2**53, 4), 2**31),
    "2-63": lambda: (near(2**63, 2**12), 2**62, near(2**63, 2**12), 2**32 - 1),
}
COUNTS = [1, 2, 3, 10, 1000]
MANY = 100000
TURNS = {"halves": 8}  # not each of them shows by which way it was rounded
MANY_MOODS = ["microseconds", "nanoseconds", "ties", "2-63"]


def seconds(ns):
    """vLLM divides NIXL's whole microseconds"""
    return ns / 1e9 if ns % US else ns // US / 1e6


def mean(array):
    return buffered_sum(numpy, array) / len(array)


def p90_ms(array):
    return round(numpy.percentile(array, 90).item() * 1e3, 3)


def columns(rows):
    durations, posts, sizes, descriptors = zip(*rows)
    return (
        numpy.asarray([seconds(ns) for ns in durations]),
        numpy.asarray([seconds(ns) for ns in posts]),
        numpy.asarray(sizes, dtype=numpy.uint64) / 2**20,
        numpy.asarray(descriptors, dtype=numpy.uint32),
    )


def nixl(rows):
    xfer, post, mb, descriptors = columns(rows)
    total_mb = buffered_sum(numpy, mb)
    return {
        "Num successful transfers": len(rows),
        "Avg xfer time (ms)": round(mean(xfer) * 1e3, 3),
        "P90 xfer time (ms)": p90_ms(xfer),
        "Avg post time (ms)": round(mean(post) * 1e3, 3),
        "P90 post time (ms)": p90_ms(post),
        "Avg MB per transfer": round(total_mb / len(rows), 3),
        "Throughput (MB/s)": round(total_mb / buffered_sum(numpy, xfer), 3),
        "Avg number of descriptors": round(descriptors.mean(), 1),
    }


def mooncake(rows):
    xfer, _, mb, descriptors = columns(rows)
    total_mb, time = buffered_sum(numpy, mb), buffered_sum(numpy, xfer)
    return {
        "Num successful transfers": len(rows),
        "Avg xfer time (ms)": round(mean(xfer) * 1e3, 3),
        "P90 xfer time (ms)": p90_ms(xfer),
        "Avg MB per transfer": round(total_mb / len(rows), 3),
        "Throughput (MB/s)": round(total_mb / time if time > 0 else 0.0, 3),
        "Avg number of descriptors": round(descriptors.mean(), 1),
        "Num failed transfers": 0,
        "Num failed recvs": 0,
        "Num KV expired reqs": 0,
    }


def store(rows):
    durations = [seconds(row[0]) for row in rows]
    return {
        "save_put_count": len(rows),
        "save_put_avg_ms": round(statistics.fmean(durations) * 1e3, 3),
        "save_put_p90_ms": round(nearest_rank(durations) * 1e3, 3),
        "save_put_total_keys": sum(row[3] for row in rows),
        "save_put_total_bytes": sum(row[2] for row in rows),
        "save_put_failed_keys": 0,
        "save_put_error_count": 0,
    }


def hf3fs(rows):
    xfer, none = columns(rows)[0], numpy.zeros(1)
    return {
        "Num transfers task": len(rows),
        "Num save task success": len(rows),
        "Num save task failed": 0,
        "Num load task success": 0,
        "Num load task failed": 0,
        "Avg save duration (ms)": round(mean(xfer) * 1e3, 3),
        "P90 save duration (ms)": round(numpy.percentile(xfer, 90) * 1e3, 3),
        "Avg load duration (ms)": round(none.mean() * 1e3, 3),
        "P90 load duration (ms)": round(numpy.percentile(none, 90) * 1e3, 3),
    }


def offload(rows):
    """vLLM's sum of times depends on their order; the exact one is its limit"""
    size = sum(row[2] for row in rows)
    return {
        "vllm:kv_offload_load_bytes": size,
        "vllm:kv_offload_load_time": sum(row[0] for row in rows) / 10**9,
        "vllm:kv_offload_load_size_count": len(rows),
        "vllm:kv_offload_load_size_sum": size,
    }


def show_case(form, mood, count, turn=0):
    rows = [MOODS[mood]() for _ in range(count)]
    print(f"case {form.__name__}-{mood}-{count}-{turn} {form.__name__} {count}")
    for row in rows:
        print(*row)
    with numpy.errstate(all="ignore"):
        print(", ".join(f"{key}={value}" for key, value in form(rows).items()))
    durations, posts, sizes, descriptors = (sum(column) for column in zip(*rows))
    print(durations / 10**9, posts / 10**9, sizes, descriptors)


random.seed(SEED)
FORMS = (nixl, mooncake, store, hf3fs, offload)
for mood in MOODS:
    for count in COUNTS:
        for form in FORMS:
            for turn in range(TURNS.get(mood, 1)):
                show_case(form, mood, count, turn)
for mood in MANY_MOODS:
    show_case(nixl, mood, MANY)
for form in FORMS[1:]:
    show_case(form, "nanoseconds", MANY)
