# SPDX-License-Identifier: Apache-2.0
"""
peer_client_python.py - client_python: two counters and a histogram for each transfer

    peer_client_python.py FOLDER in_process
    peer_client_python.py FOLDER multiprocess    values are in files below FOLDER, as with
                                                 several API servers

held: the children were looked up before. labels: .labels() at each transfer.
"""

import os
import sys

import peer

folder, mode = sys.argv[1:]
if mode == "multiprocess":  # before the import, which looks at it
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.path.join(folder, "client_python")
    os.makedirs(os.environ["PROMETHEUS_MULTIPROC_DIR"], exist_ok=True)
try:
    import importlib.metadata

    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    peer.missing("python3-prometheus-client")

BURST = 128
BOUNDS = (1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6)
VALUES = ("llama", "0")

registry = CollectorRegistry()


def declare(metric, name, text, **more):
    return metric(name, text, ("model_name", "engine"), registry=registry, **more)


family_bytes = declare(
    Counter, "vllm:kv_offload_load_bytes", "Total bytes loaded from offload storage to GPU."
)
family_time = declare(
    Counter,
    "vllm:kv_offload_load_time",
    "Total load time from offload storage to GPU, in seconds.",
)
family_size = declare(
    Histogram,
    "vllm:kv_offload_load_size",
    "Histogram of KV offload load operation size, in bytes.",
    buckets=BOUNDS,
)
child_bytes = family_bytes.labels(*VALUES)
child_time = family_time.labels(*VALUES)
child_size = family_size.labels(*VALUES)


def record_held(size, seconds):
    child_bytes.inc(size)
    child_time.inc(seconds)
    child_size.observe(size)


def record_labels(size, seconds):
    family_bytes.labels(*VALUES).inc(size)
    family_time.labels(*VALUES).inc(seconds)
    family_size.labels(*VALUES).observe(size)


def arrived():
    """From the page, as a scrape would see it; no bytes unless counter and histogram agree."""
    shown = registry
    if mode == "multiprocess":
        shown = CollectorRegistry()
        MultiProcessCollector(shown)
    page = generate_latest(shown).decode()
    families = text_string_to_metric_families(page)
    value = {sample.name: sample.value for family in families for sample in family.samples}
    size = value["vllm:kv_offload_load_bytes_total"]
    agree = size == value["vllm:kv_offload_load_size_sum"]
    return value["vllm:kv_offload_load_size_count"], size if agree else 0


peer.serve(
    importlib.metadata.version("prometheus_client"),
    {
        "held": peer.Way.of_transfers(BURST, record_held),
        "labels": peer.Way.of_transfers(BURST, record_labels),
    },
    arrived,
)
