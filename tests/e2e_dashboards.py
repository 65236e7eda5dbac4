# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus answers what dashboards ask, and the answers are what was recorded.

    /usr/bin/python3 tests/e2e_dashboards.py FOLDER

Records are made in two batches, with a scrape after each; the queries' window is from the one to the
other, so that each rate is the second batch by the window's length. What that has to give is worked
out here from what was recorded, with client_python and PromQL's rules for rate and histogram_quantile.
"""
import math
import random
import sys
import time
from itertools import chain

from support_e2e import Exporter, Failed, Prometheus, Worker, wait_for
from support_vllm import ENGINES, MODEL, Expected

GROUPS = ("offload", "offload-deprecated", "nixl", "kvtap")
KINDS = ("vllm:nixl_transfer", "vllm:kv_offload_load", "vllm:kv_offload_store")
TRANSFERS = 61  # of each kind, engine and batch; no quantile of them is at the edge of a bucket
EDGE_S = 0.001  # the window begins before its first sample, so that it is in by any rule


def spread(generator, least, most):
    """Log-uniform, so that all buckets get some."""
    return int(least * (most / least) ** generator.random())


def record_transfer(worker, expected, tap, kind, generator, number):
    """Every tenth fails, each batch's of a class to the same peer. Returns: its bytes, or 0."""
    ended = number // 10 + 1 if number % 10 == 9 else 0
    duration = spread(generator, 1e5, 8e9)
    times = {"duration": duration, "submit": duration // generator.randint(3, 20),
             "queue": duration // generator.randint(3, 20)}
    fields = {"bytes": spread(generator, 1e3, 1e10), "descriptors": spread(generator, 1, 1e5),
              "ended": ended}
    labels = {"peer": "10.0.0.1" if number % 3 else "10.0.0.2"}
    worker.do("transfer", tap, kind, **labels, **times, **fields)
    times["device"] = duration - times["submit"] - times["queue"]
    fields.update({key: ns / 1e9 for key, ns in times.items()}, one=1,
                  throughput=fields["bytes"] * 1e9 // duration)
    expected.transfer(kind, ENGINES[tap], labels, fields)
    return 0 if ended else fields["bytes"]


def record_batch(worker, expected, generator):
    """Returns: by kind, the bytes of each transfer that did not fail."""
    sizes = {kind: [] for kind in KINDS}
    for tap, engine in enumerate(ENGINES):
        for kind in KINDS:
            for number in range(TRANSFERS):
                if size := record_transfer(worker, expected, tap, kind, generator, number):
                    sizes[kind].append(size)
        for name in ("vllm:nixl_num_failed_notifications", "vllm:nixl_num_kv_expired_reqs"):
            amount = generator.randint(1, 9)
            worker.do("add", tap, name, value=amount)
            expected.update(name, engine, {}, amount)
    return sizes


class Answers:
    """What PromQL has to make of samples before and after, so many seconds apart."""

    def __init__(self, before, after, seconds):
        self.before, self.after, self.seconds = before, after, seconds

    def rate(self, name, **where):
        """A counter can't have begun before it was 0, so it is extended by less if it began late."""
        vector = {}
        for (sample, labels), value in self.after.items():
            if sample != name or any(dict(labels)[key] not in values
                                     for key, values in where.items()):
                continue
            first = self.before[sample, labels]
            edge = min(EDGE_S, self.seconds * first / (value - first)) if value > first else 0
            vector[labels] = ((value - first) * (self.seconds + edge) / self.seconds
                              / (self.seconds + EDGE_S))
        return vector

    def now(self, name):
        return {labels: value for (sample, labels), value in self.after.items() if sample == name}


def total(vector, *by):
    """sum by (...)"""
    sums = {}
    for labels, value in vector.items():
        key = frozenset(item for item in labels if item[0] in by)
        sums[key] = sums.get(key, 0) + value
    return sums


def ratio(left, right):
    return {labels: left[labels] / right[labels] for labels in left}


def quantile(share, vector):
    """histogram_quantile over buckets, for each set of the other labels"""
    series = {}
    for labels, value in vector.items():
        others = frozenset(item for item in labels if item[0] != "le")
        series.setdefault(others, []).append((float(dict(labels)["le"]), value))
    return {labels: quantile_of(share, sorted(buckets)) for labels, buckets in series.items()}


def quantile_of(share, buckets):
    rank = share * buckets[-1][1]
    lower, below = 0, 0
    for bound, count in buckets:
        if count >= rank:
            break
        lower, below = bound, count
    return lower if bound == math.inf else lower + (bound - lower) * (rank - below) / (count - below)


def questions(answers):
    """(query, answer); W is the window."""
    rate, both = answers.rate, ("GPU_to_CPU",)
    seconds, size = "vllm:nixl_xfer_time_seconds", "vllm:nixl_bytes_transferred"
    yield f"sum(rate({size}_sum[W])) by (engine)", total(rate(size + "_sum"), "engine")
    yield f"rate({size}_sum[W]) / rate({seconds}_sum[W])", \
        ratio(rate(size + "_sum"), rate(seconds + "_sum"))
    yield f"sum(rate({size}_sum[W])) / sum(rate({size}_count[W]))", \
        ratio(total(rate(size + "_sum")), total(rate(size + "_count")))
    for name in (seconds, "vllm:nixl_post_time_seconds", size, "vllm:nixl_num_descriptors"):
        yield f"rate({name}_sum[W]) / rate({name}_count[W])", \
            ratio(rate(name + "_sum"), rate(name + "_count"))
        for share in (0.5, 0.9, 0.95, 0.99):
            yield f"histogram_quantile({share}, sum by (le) (rate({name}_bucket[W])))", \
                quantile(share, total(rate(name + "_bucket"), "le"))
            yield f"histogram_quantile({share}, rate({name}_bucket[W]))", \
                quantile(share, rate(name + "_bucket"))
    for name in ("failed_transfers", "failed_notifications", "kv_expired_reqs"):
        name = f"vllm:nixl_num_{name}_total"
        yield name, answers.now(name)
        yield f"rate({name}[W])", rate(name)
        yield f"sum by (model_name) (increase({name}[W]))", \
            {labels: value * (answers.seconds + EDGE_S)
             for labels, value in total(rate(name), "model_name").items()}
    yield 'sum(rate(vllm:kv_offload_total_bytes_total{transfer_type=~"GPU_to_.*"}[W]))', \
        total(rate("vllm:kv_offload_total_bytes_total", transfer_type=both))
    yield "sum by (transfer_type) (rate(vllm:kv_offload_total_bytes_total[W])) / " \
        "sum by (transfer_type) (rate(vllm:kv_offload_total_time_total[W]))", \
        ratio(total(rate("vllm:kv_offload_total_bytes_total"), "transfer_type"),
              total(rate("vllm:kv_offload_total_time_total"), "transfer_type"))
    yield "histogram_quantile(0.9, sum by (le, transfer_type) (rate(vllm:kv_offload_size_bucket[W])))", \
        quantile(0.9, total(rate("vllm:kv_offload_size_bucket"), "le", "transfer_type"))
    for way in ("load", "store"):
        name = f"vllm:kv_offload_{way}"
        yield f"rate({name}_bytes_total[W]) / rate({name}_time_total[W])", \
            ratio(rate(name + "_bytes_total"), rate(name + "_time_total"))
        yield f"histogram_quantile(0.9, sum by (le) (rate({name}_size_bucket[W])))", \
            quantile(0.9, total(rate(name + "_size_bucket"), "le"))
        yield f"sum(rate({name}_size_count[W]))", total(rate(name + "_size_count"))


def own_questions(answers):
    """The README's, of the group kvtap."""
    rate, name = answers.rate, "kvtap_transfer_"
    yield f"histogram_quantile(0.1, sum by (le, peer) " \
        f"(rate({name}throughput_bytes_per_second_bucket[W])))", \
        quantile(0.1, total(rate(name + "throughput_bytes_per_second_bucket"), "le", "peer"))
    yield f"sum by (connector, direction) (rate({name}queue_seconds_sum[W])) / " \
        f"sum by (connector, direction) (rate({name}duration_seconds_sum[W]))", \
        ratio(total(rate(name + "queue_seconds_sum"), "connector", "direction"),
              total(rate(name + "duration_seconds_sum"), "connector", "direction"))
    yield f"sum by (connector, class) (rate({name}failures_total[W]))", \
        total(rate(name + "failures_total"), "connector", "class")


def check_in_readme(queries):
    """However its lines are broken."""
    with open("README.md", encoding="utf-8") as readme:
        text = " ".join(readme.read().split())
    for query in queries:
        if query.replace("[W]", "[5m]") not in text:
            raise Failed(f"not in README.md: {query}")


def check(prometheus, query, expected, at):
    found = {frozenset(item for item in labels if item[0] not in ("job", "instance", "__name__")):
             value for labels, value in prometheus.query(query, at).items()}
    if set(found) != set(expected) or not expected or any(
            not math.isclose(found[labels], expected[labels], rel_tol=1e-9) for labels in found):
        raise Failed(f"{query} at {at}:\nfound    {found}\nrecorded {expected}")


def check_near_recorded(prometheus, window, at, sizes):
    """What PromQL takes for a quantile is in the bucket that the recorded one is in."""
    for kind, name in (("vllm:nixl_transfer", "vllm:nixl_bytes_transferred"),
                       ("vllm:kv_offload_load", "vllm:kv_offload_load_size"),
                       ("vllm:kv_offload_store", "vllm:kv_offload_store_size")):
        exact = sorted(sizes[kind])[math.ceil(0.5 * len(sizes[kind])) - 1]
        found, = prometheus.query(
            f"histogram_quantile(0.5, sum by (le) (rate({name}_bucket[{window}])))", at).values()
        bounds = sorted({float(dict(labels)["le"]) for labels in
                         prometheus.query(f"sum by (le) ({name}_bucket)", at)})
        if [bound >= exact for bound in bounds] != [bound >= found for bound in bounds]:
            raise Failed(f"{name}: median {found}, recorded {exact}")


def main():
    folder = sys.argv[1]
    generator = random.Random(4)
    expected = Expected(GROUPS)
    with Exporter(folder) as exporter, Worker(folder) as worker, \
            Prometheus(folder, exporter.address) as prometheus:
        for tap, engine in enumerate(ENGINES):
            worker.do("open", tap, model=MODEL, engine=engine, groups=",".join(GROUPS))
        record_batch(worker, expected, generator)
        before = expected.samples()
        start = wait_for("a scrape of the first batch", prometheus.scraped_after, time.time())
        sizes = record_batch(worker, expected, generator)
        after = expected.samples()
        end = wait_for("a scrape of the second batch", prometheus.scraped_after, time.time())
        seconds = round(end - start, 3)  # Prometheus' times are ms; of this size floats are 0.2 us apart
        window = f"{round((seconds + EDGE_S) * 1000)}ms"
        asked = 0
        answers = Answers(before, after, seconds)
        check_in_readme(query for query, _ in own_questions(answers))
        for query, answer in chain(questions(answers), own_questions(answers)):
            check(prometheus, query.replace("W", window), answer, end)
            asked += 1
        check_near_recorded(prometheus, window, end, sizes)
        series, = prometheus.query('count({__name__=~"vllm:.*|kvtap_transfer_.*"})', end).values()
        if series != len(after):
            raise Failed(f"{series:.0f} series, {len(after)} expected")
    print(f"{asked} queries over {window}, {len(after)} series")


try:
    main()
except Failed as failure:
    print(failure)
    sys.exit(1)
