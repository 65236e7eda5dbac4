# SPDX-License-Identifier: Apache-2.0
"""peer.h's protocol for peers in Python: transfers, rounds of bursts, the loop that answers."""

import os
import sys
import time

BURSTS = 10  # that are measured, a round
WARM_UP = 2


def transfer_bytes(index):
    return 1600000 * (1 + index % 128)


def transfer_seconds(index):
    return (1000000 + 1000 * index) * 1e-9


def missing(what):
    print("missing", what, flush=True)
    sys.exit()


class Way:
    """A way to record; measure() records a burst and gives what a transfer took in each step, in ns."""

    def __init__(self, transfers, measure, indexes):
        self.transfers = transfers  # in a burst
        self.measure = measure
        self.bytes = sum(map(transfer_bytes, indexes))

    @classmethod
    def of_transfers(cls, count, record):
        """record(bytes, seconds) for each of a burst of so many."""
        transfers = [(transfer_bytes(i), transfer_seconds(i)) for i in range(count)]

        def measure():
            began = time.perf_counter_ns()
            for size, seconds in transfers:
                record(size, seconds)
            return [(time.perf_counter_ns() - began) / count]

        return cls(count, measure, range(count))


def serve(version, ways, arrived):
    """arrived() -> (transfers, bytes), of all that was recorded."""
    recorded = recorded_bytes = 0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("ready", version, flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "round":
            way = ways[rest[0]]
            bursts = [way.measure() for _ in range(WARM_UP + BURSTS)]
            recorded += way.transfers * len(bursts)
            recorded_bytes += way.bytes * len(bursts)
            took = (f"{ns:.1f}" for burst in bursts[WARM_UP:] for ns in burst)
            print(way.transfers, *took, flush=True)
        else:
            transfers, size = arrived()
            print(recorded, int(transfers), recorded_bytes, int(size), flush=True)
