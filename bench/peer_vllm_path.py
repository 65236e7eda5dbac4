# SPDX-License-Identifier: Apache-2.0
"""
peer_vllm_path.py - what a transfer's figures go through in vLLM, from the worker to prometheus_client

    peer_vllm_path.py FOLDER    with a socket below FOLDER

The steps of the offload connector, rebuilt from what its classes do; the classes have vLLM's names.
A way is the number of transfers that a rank reports in an engine step. Each step of the path is
timed by itself over several engine steps; two ranks report. README.md says what is not rebuilt.
"""

import os
import pickle
import sys
import time
from dataclasses import dataclass, field

import peer

folder = sys.argv[1]
try:
    import importlib.metadata

    import msgpack
    import zmq
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
    from prometheus_client.parser import text_string_to_metric_families
except ImportError as error:
    packages = {"msgpack": "python3-msgpack", "zmq": "python3-zmq"}
    peer.missing(packages.get(error.name, "python3-prometheus-client"))

RANKS = 2
TRANSFERS = 1024  # in a burst, about
BYTES = "vllm:kv_offload_load_bytes"
TIME = "vllm:kv_offload_load_time"
SIZE = "vllm:kv_offload_load_size"
BOUNDS = (1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6)

# ---- in the worker ----


@dataclass
class DirectionalTransferStats:
    bytes: int = 0
    time: float = 0.0
    sizes: list = field(default_factory=list)

    def record(self, size, seconds):
        self.bytes += size
        self.time += seconds
        self.sizes.append(size)

    def aggregate(self, other):
        return DirectionalTransferStats(
            self.bytes + other.bytes, self.time + other.time, self.sizes + other.sizes
        )


@dataclass
class TransferStats:
    load: DirectionalTransferStats = field(default_factory=DirectionalTransferStats)
    store: DirectionalTransferStats = field(default_factory=DirectionalTransferStats)


@dataclass
class OffloadingWorkerMetadata:
    completed_jobs: dict = field(default_factory=dict)
    transfer_stats: TransferStats = field(default_factory=TransferStats)

    def aggregate(self, other):
        jobs = dict(self.completed_jobs)
        for job, count in other.completed_jobs.items():
            jobs[job] = jobs.get(job, 0) + count
        mine, others = self.transfer_stats, other.transfer_stats
        load, store = mine.load.aggregate(others.load), mine.store.aggregate(others.store)
        return OffloadingWorkerMetadata(jobs, TransferStats(load, store))


@dataclass
class KVConnectorOutput:
    finished_sending: set = None
    finished_recving: set = None
    kv_connector_stats: object = None
    kv_connector_worker_meta: OffloadingWorkerMetadata = None


# ---- in the scheduler, and again in the API server ----


class OffloadingConnectorStats:
    def __init__(self, data=None):
        self.data = data or {}
        if "data" not in self.data:
            self.data = {"types": {}, "data": {}}

    def increase_counter(self, name, value=1, labels=()):
        self.data["types"].setdefault(name, "counter")
        values = self.data["data"].setdefault(name, {})
        values[labels] = values.get(labels, 0) + value

    def observe_histogram(self, name, value, labels=()):
        self.data["types"].setdefault(name, "histogram")
        self.data["data"].setdefault(name, {}).setdefault(labels, []).append(value)

    def aggregate(self, other):
        for name, values in other.data["data"].items():
            kind = other.data["types"].get(name)
            assert kind is not None, f"Unknown offloading stats key: {name}"
            self.data["types"].setdefault(name, kind)
            mine = self.data["data"].setdefault(name, {})
            for labels, value in values.items():
                if kind == "counter":
                    mine[labels] = mine.get(labels, 0) + value
                elif labels in mine:
                    mine[labels].extend(value)
                else:
                    mine[labels] = list(value)
        return self


def scheduler_stats(meta):
    stats = OffloadingConnectorStats()
    load = meta.transfer_stats.load
    stats.increase_counter(BYTES, load.bytes)
    stats.increase_counter(TIME, load.time)
    for size in load.sizes:
        stats.observe_histogram(SIZE, size)
    return stats.data


# ---- in the API server ----


class OffloadPromMetrics:
    """Each value also goes into the deprecated family of its name, as in vLLM."""

    deprecated = {
        BYTES: "vllm:kv_offload_total_bytes",
        TIME: "vllm:kv_offload_total_time",
        SIZE: "vllm:kv_offload_size",
    }

    def __init__(self):
        self.registry = CollectorRegistry()
        self.family = {}
        self.child = {}
        self.mirror = {}
        for name, old in self.deprecated.items():
            metric, more = (Histogram, {"buckets": BOUNDS}) if name == SIZE else (Counter, {})
            labels = ["model_name", "engine"]
            more["registry"] = self.registry
            self.family[name] = metric(name, name, labels, **more)
            mirror = metric(old, old, labels + ["transfer_type"], **more)
            self.mirror[name] = mirror.labels("llama", "0", "CPU_to_GPU")

    def child_of(self, engine, name, labels):
        key = (engine, name, labels)
        if key not in self.child:
            self.child[key] = self.family[name].labels("llama", str(engine), *labels)
        return self.child[key]

    def observe(self, data, engine=0):
        for name, values in data["data"].items():
            kind = data["types"].get(name)
            assert kind is not None and name in self.family
            for labels, value in values.items():
                child = self.child_of(engine, name, labels)
                mirror = self.mirror[name]
                if kind == "counter":
                    child.inc(value)
                    mirror.inc(value)
                    continue
                for each in value:
                    child.observe(each)
                    mirror.observe(each)


# ---- the path ----


class Path:
    def __init__(self):
        context = zmq.Context()
        address = f"ipc://{folder}/vllm_path"
        self.pull = context.socket(zmq.PULL)
        self.pull.bind(address)
        self.push = context.socket(zmq.PUSH)
        self.push.connect(address)
        self.metrics = OffloadPromMetrics()

    def record(self, transfers):
        meta = OffloadingWorkerMetadata()
        load = meta.transfer_stats.load
        for size, seconds in transfers:
            load.record(size, seconds)
        return KVConnectorOutput(kv_connector_worker_meta=meta)

    def pickle(self, outputs):
        return [pickle.dumps(output, protocol=5) for output in outputs]

    def unpickle(self, replies):
        return [pickle.loads(reply) for reply in replies]

    def merge(self, outputs):
        meta = outputs[0].kv_connector_worker_meta
        for output in outputs[1:]:
            meta = meta.aggregate(output.kv_connector_worker_meta)
        return meta

    def encode(self, data):
        return msgpack.packb({"kv_connector_stats": data})

    def decode(self, message):
        stats = msgpack.unpackb(message, use_list=False, strict_map_key=False)
        return stats["kv_connector_stats"]

    def log(self, data):
        self.interval = OffloadingConnectorStats().aggregate(OffloadingConnectorStats(data))
        return data

    def way(self, count):
        """count transfers a rank and engine step; the path's steps in the order of bench_peers."""
        engine_steps = max(2, TRANSFERS // (count * RANKS))
        transfers = [(peer.transfer_bytes(i), peer.transfer_seconds(i)) for i in range(RANKS * count)]
        ranks = [transfers[rank * count : (rank + 1) * count] for rank in range(RANKS)]
        steps = (
            lambda transfers: [self.record(rank) for rank in transfers],
            self.pickle,
            self.unpickle,
            self.merge,
            scheduler_stats,
            self.encode,
            self.push.send,
            lambda sent: self.pull.recv(),
            self.decode,
            self.log,
            self.metrics.observe,
        )
        burst = engine_steps * len(transfers)

        def measure():
            items = [ranks] * engine_steps
            took = []
            for step in steps:
                began = time.perf_counter_ns()
                items = [step(item) for item in items]
                took.append((time.perf_counter_ns() - began) / burst)
            return took

        return peer.Way(burst, measure, list(range(len(transfers))) * engine_steps)

    def arrived(self):
        page = generate_latest(self.metrics.registry).decode()
        families = text_string_to_metric_families(page)
        value = {sample.name: sample.value for family in families for sample in family.samples}
        size = value[BYTES + "_total"]
        agree = size == value["vllm:kv_offload_total_bytes_total"] == value[SIZE + "_sum"]
        return value[SIZE + "_count"], size if agree else 0


packages = ("prometheus_client", "msgpack", "pyzmq")
versions = ",".join(f"{name}-{importlib.metadata.version(name)}" for name in packages)
path = Path()
peer.serve(versions, {str(count): path.way(count) for count in (1, 16, 256)}, path.arrived)
